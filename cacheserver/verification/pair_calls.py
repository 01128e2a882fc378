"""Calls to a verifying model about labelled pairs, with the server's own prompt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cacheserver.cache.ports import Pricer
from cacheserver.claude import retry
from cacheserver.claude.calls import Call, Reply
from cacheserver.core import json_text
from cacheserver.core.errors import SettingsError, UpstreamError
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.verification import prompt
from cacheserver.verification.labelled_pairs import LabelledPair
from cacheserver.verification.measurement import Measured, Verdict

_STORED_BEFORE_S = 3_600.0  # the answer's age in the prompt
_TENANT = "verify-model"
_SAMPLE = 200  # characters of Claude's error that are shown


class Claude(Protocol):
    async def create(self, call: Call) -> Reply: ...


@dataclass(frozen=True, slots=True)
class PairCalls:
    """Parts and limits of the calls about pairs. `most_tokens`: a longer call is not made."""

    claude: Claude
    pricer: Pricer
    model: str
    most_tokens: int
    at_once: int
    timer: Callable[[], float]  # seconds, from any start
    now: float  # Unix seconds

    def body(self, pair: LabelledPair) -> dict[str, Any]:
        """Return the request about a pair."""
        stored = prompt.Stored(pair.question_a, pair.answer, self.now - _STORED_BEFORE_S)
        task = {"system": pair.system} if pair.system else {}
        return prompt.body_of(pair.question_b, task, [stored], model=self.model, now=self.now)

    def costs(self, pairs: Sequence[LabelledPair]) -> tuple[int, Nanodollars, Nanodollars]:
        """Return the number of calls, and their expected and greatest cost.

        Raises `SettingsError` if the model has no price.
        """
        count = expected = most = 0
        for pair in pairs:
            body = self.body(pair)
            if self._long(body):
                continue
            count += 1
            usual = self._cost(prompt.tokens_expected(body), prompt.USUAL_TOKENS)
            expected += usual
            most += max(usual, self._cost(prompt.tokens_at_most(body), prompt.MAX_TOKENS))
        return count, expected, most

    async def ask(self, pairs: Sequence[LabelledPair]) -> AsyncIterator[tuple[Measured, bool]]:
        """Yield each pair's reply as it comes, and whether a simulated model gave it.

        Raises `SettingsError` if Claude refuses the calls as such: its key, or the model.
        """
        room = asyncio.Semaphore(self.at_once)

        async def one(pair: LabelledPair) -> tuple[Measured, bool]:
            async with room:
                return await self._asked(pair)

        tasks = [asyncio.create_task(one(pair)) for pair in pairs]
        try:
            for ended in asyncio.as_completed(tasks):
                yield await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _asked(self, pair: LabelledPair) -> tuple[Measured, bool]:
        body = self.body(pair)
        if self._long(body):
            return Measured(pair.serves, pair.group, "long"), False
        written = json_text.dumps(body)
        began = self.timer()
        try:
            reply = await self.claude.create(_call(written, retries=0))
            seconds: float | None = self.timer() - began
        except UpstreamError as error:
            _refuse(error)
            seconds = None  # its time would be that of two calls
            try:
                reply = await self.claude.create(_call(written, retries=None))
            except UpstreamError as again:
                _refuse(again)
                return Measured(pair.serves, pair.group, "failed"), False
        simulated = reply.headers.get("x-upstream") == "simulated"
        try:
            message = json_text.loads(reply.body)
        except ValueError:
            message = None
        bill = None
        if isinstance(message, dict) and isinstance(message.get("usage"), dict):
            bill = self.pricer.bill(message, self.now)
        if not isinstance(message, dict) or bill is None:
            return Measured(pair.serves, pair.group, "failed"), simulated
        answered: Verdict = "no" if prompt.choice(message, 1) is None else "yes"
        one = Measured(pair.serves, pair.group, answered, seconds=seconds, cost=bill.cost)
        return one, simulated

    def _long(self, body: Mapping[str, Any]) -> bool:
        return prompt.tokens_at_most(body) > self.most_tokens

    def _cost(self, tokens: int, output: int) -> Nanodollars:
        cost = self.pricer.cost(self.model, Usage(tokens, output), self.now)
        if cost is None:
            raise SettingsError(f"`--model`: `{self.model}` has no price; see `CACHESERVER_PRICES`")
        return cost


def _call(body: bytes, *, retries: int | None) -> Call:
    return Call(body, {}, tenant=_TENANT, retries=retries)


def _refuse(error: UpstreamError) -> None:
    """Raise `SettingsError` for an error that every other call would meet too."""
    # By its status alone: the header of a call that was retried forbids another try.
    if error.worded is None and not retry.retryable(error.status, {}):
        shown = error.body[:_SAMPLE].decode(errors="replace")
        raise SettingsError(f"Claude answers {error.status}: {shown}") from error
    if error.worded is not None and error.status == 401:
        raise SettingsError("`ANTHROPIC_API_KEY`: no key for Claude") from error
