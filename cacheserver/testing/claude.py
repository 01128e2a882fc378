"""Simulated Claude of a test: its address, its answers, its failures, and what it was asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cacheserver.client.loop_thread import LoopThread
from cacheserver.simulated import Fault, Simulated, SimulatedSettings, serve_simulated
from cacheserver.simulated.directives import MESSAGES, last_text
from cacheserver.testing.answers import Answered, AnswerFunction, Answers

_NANODOLLARS = 1_000_000_000  # in a dollar


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that arrived. Secrets in its headers are masked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any  # the JSON; None if there was none

    @property
    def text(self) -> str:
        """The last text of the user; "" if there is none."""
        try:
            return last_text(self.body)
        except (KeyError, TypeError, AttributeError):
            return ""


class SimulatedClaude:
    """Simulated Claude that runs in a thread, for synchronous and asynchronous tests alike."""

    def __init__(self, url: str, simulated: Simulated, answers: Answers, loop: LoopThread) -> None:
        self.base_url = url  # for `Anthropic(base_url=...)` and `ANTHROPIC_BASE_URL`
        self._simulated = simulated
        self._answers = answers
        self._loop = loop

    def answer(
        self,
        answer: Answered | AnswerFunction,
        *,
        to: str | re.Pattern[str] | None = None,
    ) -> None:
        """Answer with a text, JSON, a `Reply`, or what a function of the request's body returns.

        `to` is the last user text that it is for, or a pattern found in it; everything by default.
        The latest answer that fits is given. A function that returns None leaves it to the others.
        """
        self._loop.call(lambda: self._answers.add(answer, to))

    def fail(
        self,
        status: int = 529,
        *,
        times: int = 1,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        path: str = MESSAGES,
    ) -> None:
        """Answer the next `times` requests for `path` with an error."""
        self._fault(
            Fault(
                "error",
                status=status,
                retry_after_s=retry_after_s,
                should_retry=should_retry,
                times=times,
                path=path,
            )
        )

    def cut(self, *, after_events: int = 0, times: int = 1) -> None:
        """Lose the connection after so many events of a stream; at once where nothing streams."""
        self._fault(Fault("cut", after_events=after_events, times=times))

    def hang(self, *, after_events: int = 0, times: int = 1) -> None:
        """Say nothing more after so many events, until the caller gives up."""
        self._fault(Fault("hang", after_events=after_events, times=times))

    def slow(self, delay_s: float, *, times: int = 1) -> None:
        """Answer so much later."""
        self._fault(Fault("slow", delay_s=delay_s, times=times))

    @property
    def requests(self) -> Sequence[Asked]:
        """All that arrived, the oldest first."""
        received = self._loop.call(lambda: list(self._simulated.requests))
        return [Asked(one.method, one.path, one.headers, one.body) for one in received]

    @property
    def questions(self) -> Sequence[str]:
        """The last user text of each request for a message, the oldest first."""
        return [one.text for one in self.requests if one.path == MESSAGES]

    @property
    def cost_usd(self) -> Decimal:
        """The sum that Claude would have charged, by its list prices."""
        lines = self._loop.call(lambda: list(self._simulated.invoice))
        return Decimal(sum(line.nanodollars for line in lines)) / _NANODOLLARS

    def reset(self) -> None:
        """Forget answers, failures, requests, batches and cached prompts."""

        def forget() -> None:
            self._answers.clear()
            self._simulated.reset()

        self._loop.call(forget)

    def _fault(self, fault: Fault) -> None:
        self._loop.call(lambda: self._simulated.faults.add(fault))


@contextmanager
def simulated_claude(
    *, ttft_s: float = 0.0, tokens_per_s: float | None = None, batch_s: float = 0.0
) -> Iterator[SimulatedClaude]:
    """Run a simulated Claude on a free port of 127.0.0.1, until the block ends.

    `ttft_s` is the time until an answer begins, `batch_s` until a batch has ended. What a function
    of `answer` raised is raised at the end of the block.
    """
    answers, loop = Answers(), LoopThread("simulated Claude")
    settings = SimulatedSettings(
        ttft_s=ttft_s, tokens_per_s=tokens_per_s, batch_s=batch_s, direct=answers.choose
    )
    simulated, stack = Simulated(settings), AsyncExitStack()
    try:
        url = loop.run(stack.enter_async_context(serve_simulated(simulated)))
        try:
            yield SimulatedClaude(url, simulated, answers, loop)
        except Exception as failed:
            if answers.errors:  # the cause of it, most likely
                raise answers.errors[0] from failed
            raise
        finally:
            loop.run(stack.aclose())
    finally:
        loop.close()
    if answers.errors:
        raise answers.errors[0]
