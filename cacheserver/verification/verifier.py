"""Verifier: decides whether and how to ask, asks, and weighs the reply.

Rule: a yes serves only if its posterior reaches the floor and the mean of expected errors stays
within the target. Whatever fails is a miss with its reason.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cacheserver.cache.freshness import bar_of
from cacheserver.cache.ports import Metrics
from cacheserver.core import json_text, thinking
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import SingleFlight
from cacheserver.core.types import Candidate, Entry, Miss, Query
from cacheserver.matching.verification import (
    UNMEASURED,
    Askable,
    ErrorRates,
    askable,
)
from cacheserver.matching.verification_outcome import Plausible, Verdict, Verified
from cacheserver.verification import prompt, worth
from cacheserver.verification.audited import AuditedVerdicts
from cacheserver.verification.error_means import ErrorMeans, Scope, scope_of
from cacheserver.verification.model_call import ModelCall, Reply, SharedReply
from cacheserver.verification.monitor import Mode, Monitor
from cacheserver.verification.pace import Paces
from cacheserver.verification.verdicts import Verdicts, verdict_digest

logger = logging.getLogger(__name__)

_SHORT = 16  # output tokens of an answer that is a class, not a text
_BATCH = 0.5  # of the price: what an answer costs in a batch
_ALIKE = 5  # neighbours needed to see a classifier
_UNMEASURED_AUDITS = 0.3  # share of the yeses that are audited until the rates are measured


@dataclass(frozen=True, slots=True)
class VerifierOptions:
    """Options of the verifier."""

    model: str
    timeout_s: float
    most_tokens: int  # input of a call
    stated: ErrorRates = UNMEASURED  # until they are measured
    audit_share: float = 0.05  # of the yeses, once the rates are measured


@dataclass(frozen=True, slots=True)
class _Question:
    """One call: the body, and the candidates in the order of their numbers."""

    body: Mapping[str, Any]
    options: tuple[Askable, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class _Standing:
    """The worth of a yes here: the error rates, and the errors expected of hits so far."""

    rates: ErrorRates
    scope: Scope  # of the expected errors


class Verifier:
    """Implements `cache.ports.Verifier`."""

    def __init__(
        self,
        *,
        options: VerifierOptions,
        call: ModelCall,
        verdicts: Verdicts,
        audited: AuditedVerdicts,
        monitor: Monitor,
        background: BackgroundWork,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.paces = Paces()
        self.options = options
        self._call = call
        self._verdicts = verdicts
        self._audited = audited
        self._monitor = monitor
        self._background = background
        self._metrics = metrics
        self._clock = clock
        self._asking = SingleFlight[SharedReply](grace_s=0)
        self._errors = ErrorMeans()

    def considers(self, query: Query, decision: Miss) -> bool:
        """Return whether it might ask about this miss. Cheap."""
        rules = query.tenant.verify
        if rules.mode == "off" or "verify" in query.controls.off or not self._call.cap:
            return False
        if query.controls.only and not rules.only_if_cached:
            return False
        if query.credential is not None and not rules.caller_keys:
            return False
        return not _classifies(decision.neighbours)

    async def verify(
        self, query: Query, decision: Miss, found: Plausible, *, batched: bool
    ) -> Verified | None:
        """Ask, now or in the background; None if it is not worth it. Raises nothing."""
        try:
            return await self._verify(query, decision, found, batched=batched)
        except StoreError:
            self._metrics.swallowed("verify-store")
        except Exception as error:  # our own failure: no request fails of it
            self._metrics.swallowed("verify")
            logger.error("a verification failed: %s", type(error).__name__)
        return self._result("failed", "inline", ())

    async def _verify(
        self, query: Query, decision: Miss, found: Plausible, *, batched: bool
    ) -> Verified | None:
        state = await self._audited.state(query.tenant.configured_name)
        if state.off:
            return None
        rates = self._audited.rates(state, self.options.stated)
        standing = _Standing(rates, scope_of(query, state))
        options = self._admitted(found, standing)
        # Before anything is made of the task, such as the digest of a verdict.
        if not options or self._is_too_long(query.text, prompt.task_of(query.body)):
            return None
        candidates = {c.entry.id: c for c in decision.neighbours}
        entries = [candidates[one.id].entry for one in options]
        known = await self._verdicts.recall(query, entries)
        served = next((one for one in options if known.get(one.id)), None)
        if served is not None and query.tenant.shadow:
            after = served.posterior
            return self._result("background", "remembered", options, posterior=after)
        if served is not None:
            return self._served(served, options, standing, mode="remembered")
        left = [one for one in options if one.id not in known][: prompt.MOST]
        if not left:
            return self._result("no", "remembered", options)
        return await self._ask(query, left, candidates, standing, batched=batched)

    async def _ask(
        self,
        query: Query,
        options: Sequence[Askable],
        candidates: Mapping[str, Candidate],
        standing: _Standing,
        *,
        batched: bool,
    ) -> Verified | None:
        question = self._question(query, options, candidates)
        if question is None:
            return None
        pace, mode = self.paces.of(query.tenant.name), query.tenant.verify.mode
        answer_s = pace.answer(query.model)
        waiting = not (batched or query.background)
        limit_s = self.options.timeout_s
        if waiting:
            limit_s = min(limit_s, answer_s / 2)
        # An answer that is stored serves the next asker by itself: then only an operator who wants
        # verdicts for their own sake has the background pay.
        repeated = mode == "background" or query.controls.ttl_s == 0
        saving = min(self._call.replaced(query, entry) for entry in question.entries)
        stakes = worth.Stakes(
            price=self._call.expected(question.body),
            saving=round(saving * (_BATCH if batched else 1)),
            call_s=pace.call_s,
            answer_s=answer_s if waiting else math.inf,
            limit_s=limit_s,
            repeats=pace.repeats if repeated else 0.0,
        )
        way = worth.way(mode, _chance(question.options, standing.rates), stakes)
        if way is None:
            pace.note_untried()
            return None
        if way == "background" or query.tenant.shadow:
            return self._in_background(query, question)
        return await self._inline(query, question, standing, limit_s, background=not waiting)

    async def _inline(
        self,
        query: Query,
        question: _Question,
        standing: _Standing,
        timeout_s: float,
        *,
        background: bool,
    ) -> Verified:
        began = self._clock()
        flight, led = self._asking.join(
            _flight_key(query, question, self.options.model),
            lambda _: self._asked(query, question, background=background),
        )
        cost, reply = 0, Reply("slow")
        try:
            async with asyncio.timeout(timeout_s):
                shared = await flight.result()
            cost, reply = shared.charge(), shared.reply
        except TimeoutError:
            pass
        finally:
            self._asking.leave(flight, abandon=True)
        seconds = self._clock() - began
        if led and not background and reply.verdict in ("yes", "no", "slow"):
            self.paces.of(query.tenant.name).note_call(seconds)
        if reply.index is not None:
            chosen = question.options[reply.index]
            return self._served(chosen, question.options, standing, cost=cost, seconds=seconds)
        return self._result(reply.verdict, "inline", question.options, cost=cost, seconds=seconds)

    async def _asked(self, query: Query, question: _Question, *, background: bool) -> SharedReply:
        """Ask, and remember the verdicts. Raises nothing but cancellation."""
        reply = await self._call.ask(
            query, question.body, len(question.entries), background=background
        )
        if reply.verdict not in ("yes", "no"):
            return SharedReply(reply)
        now, tenant = self._clock(), query.tenant.configured_name
        try:
            if self._monitor.drifted(tenant, yes=reply.verdict == "yes"):
                await self._audited.note_drift(tenant)
            for index, entry in enumerate(question.entries):
                if reply.index is None or index == reply.index:
                    # Of a yes, the others were not refused: one number was asked for.
                    await self._verdicts.remember(query, entry, yes=index == reply.index, now=now)
        except StoreError:
            self._metrics.swallowed("verify-store")
        return SharedReply(reply)

    def _in_background(self, query: Query, question: _Question) -> Verified:
        async def ask() -> None:
            began = self._clock()
            flight, led = self._asking.join(
                _flight_key(query, question, self.options.model),
                lambda _: self._asked(query, question, background=True),
            )
            try:
                reply = (await flight.result()).reply
            except asyncio.CancelledError:  # the server stops
                self._monitor.ended("dropped", "background")
                raise
            finally:
                self._asking.leave(flight, abandon=True)
            self._monitor.ended(reply.verdict, "background")
            if led and reply.verdict in ("yes", "no"):
                self.paces.of(query.tenant.name).note_call(self._clock() - began)

        if not self._background.do(ask):
            return self._result("dropped", "background", question.options)
        asked = tuple(one.id for one in question.options)
        return Verified("background", asked, self.options.model)

    def _question(
        self, query: Query, options: Sequence[Askable], candidates: Mapping[str, Candidate]
    ) -> _Question | None:
        """The call about these candidates; None if there is nothing to ask, or it does not fit."""
        entries = [candidates[one.id].entry for one in options]
        task = prompt.task_of(query.body)
        shown = [
            (one, entry, text)
            for one, entry in zip(options, entries, strict=True)
            if (text := _text_of(entry))
        ]
        if not shown or query.text is None:
            return None
        stored = [
            prompt.Stored(entry.text or "", answer, entry.created_at) for _, entry, answer in shown
        ]
        if self._is_too_long(query.text, task, *((one.question, one.answer) for one in stored)):
            return None
        body = prompt.body_of(
            query.text,
            task,
            stored,
            model=self.options.model,
            now=self._clock(),
        )
        if prompt.tokens_at_most(body) > self.options.most_tokens:
            return None
        return _Question(
            body, tuple(one for one, _, _ in shown), tuple(entry for _, entry, _ in shown)
        )

    def _is_too_long(self, *parts: Any) -> bool:
        return prompt.exceeds(parts, self.options.most_tokens)

    def _admitted(self, found: Plausible, standing: _Standing) -> list[Askable]:
        """The candidates that a yes would serve, the most probable first."""
        errors = self._errors.of(standing.scope)
        options = askable(
            found.candidates, floor=found.floor, rates=standing.rates, cold_start=found.cold_start
        )
        return [one for one in options if errors.admits(one.posterior, found.target)]

    def _served(
        self,
        chosen: Askable,
        options: Sequence[Askable],
        standing: _Standing,
        *,
        mode: Mode = "inline",
        cost: int = 0,
        seconds: float = 0.0,
    ) -> Verified:
        errors = self._errors.of(standing.scope)
        self._errors.note(standing.scope, errors.after(chosen.posterior))
        share = self.options.audit_share if standing.rates.measured else _UNMEASURED_AUDITS
        return self._result(
            "yes",
            mode,
            options,
            served=chosen.id,
            posterior=chosen.posterior,
            audit_share=share,
            cost=cost,
            seconds=seconds,
        )

    def _result(
        self, verdict: Verdict, mode: Mode, options: Sequence[Askable], **found: Any
    ) -> Verified:
        self._monitor.ended(verdict, mode, found.get("seconds"))
        asked, remembered = tuple(one.id for one in options), mode == "remembered"
        return Verified(verdict, asked, self.options.model, remembered=remembered, **found)

    async def observe(
        self, query: Query, candidate: Candidate, *, right: bool, weight: float, served: bool
    ) -> None:
        """Count a verdict that a fresh answer has confirmed or refuted. Raises `StoreError`."""
        known = await self._verdicts.recall(query, [candidate.entry])
        verdict = known.get(candidate.entry.id)
        if verdict is None:
            return
        tenant = query.tenant.configured_name
        if served and verdict and candidate.probability is not None:
            scope = scope_of(query, await self._audited.state(tenant))
            errors = self._errors.of(scope).audited(candidate.probability, right=right)
            self._errors.note(scope, errors)
        bar = bar_of(query.tenant, query.controls.namespace, query.label_scope)
        target = bar.target if served else None
        await self._audited.add(tenant, yes=verdict, right=right, weight=weight, target=target)
        if verdict != right:
            await self._verdicts.forget(query, candidate.entry)

    def filled(self, query: Query, seconds: float) -> None:
        """Note how long Claude's own answer took."""
        self.paces.of(query.tenant.name).note_answer(query.model, seconds)


def _classifies(neighbours: Sequence[Candidate]) -> bool:
    """Return whether the scope's answers are a few classes: a call costs as much as the answer."""
    if len(neighbours) < _ALIKE:
        return False
    if any(c.entry.usage.output_tokens > _SHORT for c in neighbours):
        return False
    return len({c.group or c.entry.id for c in neighbours}) <= len(neighbours) // 2


def _chance(options: Sequence[Askable], rates: ErrorRates) -> float:
    """The chance of a yes that is right; each option is of another answer group."""
    return min(1.0, sum(one.probability for one in options)) * rates.sensitivity


def _flight_key(query: Query, question: _Question, model: str) -> str:
    digests = [verdict_digest(query, entry, model) for entry in question.entries]
    return ":".join([query.tenant.name, query.credential or "", *digests])


def _text_of(entry: Entry) -> str:
    """The text of a stored answer; "" if it has any other content but thinking."""
    blocks = thinking.strip(json_text.loads(entry.message)["content"])
    if any(block.get("type") != "text" or block.get("citations") for block in blocks):
        return ""
    return "".join(block["text"] for block in blocks)
