"""A fill: one miss, from the second look-up to the stored answer. Runs once for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from cacheserver.cache.answer import lever_headers
from cacheserver.cache.filled import Filled
from cacheserver.cache.freshness import fresh
from cacheserver.cache.miss import stream_errors
from cacheserver.cache.miss.answer_store import AnswerStore
from cacheserver.cache.miss.stream_limit import Meter
from cacheserver.cache.ports import CallPlanner, Claude, Escalation, Metrics, Pricer
from cacheserver.cache.stored_answer import StoredAnswers
from cacheserver.claude import sse
from cacheserver.claude.upstream import Call, Reply, StreamReply
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.core.single_flight import EventLog, Unfinished
from cacheserver.core.types import Bypass, Entry, Miss, PlannedCall, Query, Usage
from cacheserver.core.usage import usage_of

LONG_AGO: Final = 0.0  # Unix seconds


@dataclass(frozen=True, slots=True)
class FillPorts:
    """The parts that every fill works with."""

    stored: StoredAnswers
    claude: Claude
    pricer: Pricer
    metrics: Metrics
    clock: Callable[[], float]
    call_planner: CallPlanner
    validation: Escalation
    answer_store: AnswerStore


class Fill:
    """Asks Claude for one miss, and stores the answer if it may be.

    The events of a stream go to `log` as they come. After a `Bypass` nothing is looked up again or
    stored.
    """

    def __init__(
        self,
        ports: FillPorts,
        query: Query,
        decision: Miss | Bypass,
        log: EventLog,
        *,
        looked_at: float,
        storing: Callable[[Filled], None],
    ) -> None:
        """`looked_at` is when the look-up began that brought the decision, Unix seconds.

        `LONG_AGO`: another server may have stored the answer since, so it is looked up again.

        `storing` is called before an answer is stored, with the result if it will be.
        """
        self._ports = ports
        self._query = query
        self._decision = decision
        self._log = log
        self._looked_at = looked_at
        self._storing = storing
        self._asked_at = 0.0
        self._planned: PlannedCall

    async def run(self) -> Filled:
        """Return Claude's answer, or the stored one if there is one by now.

        Raises `UpstreamError`.
        """
        ports, query, decision = self._ports, self._query, self._decision
        if (entry := await self._look_up_again()) is not None:
            self._log.open({})
            return Filled.from_entry(entry)
        self._asked_at = ports.clock()
        vector = decision.vector if isinstance(decision, Miss) else None
        self._planned = await ports.call_planner.prepare(query, vector, self._asked_at)
        held_back = query.stream and ports.validation.holds_back(query, self._planned)
        if held_back:
            body = json_text.dumps({**json_text.loads(self._planned.body), "stream": False})
            self._planned = replace(self._planned, body=body)
        planned = self._planned
        try:
            if query.stream and not held_back:
                filled = await self._stream()
            else:
                filled = await self._whole()
                self._log.open(_for_stream(filled.headers) if query.stream else filled.headers)
        except UpstreamError as error:
            error.planned = planned
            ports.metrics.upstream(error.status, ports.clock() - self._asked_at)
            raise
        ports.metrics.upstream(200, ports.clock() - self._asked_at)
        ports.metrics.tokens(filled.usage)
        return filled

    async def _look_up_again(self) -> Entry | None:
        """An entry that another fill stored between the caller's look-up and this one."""
        query, decision = self._query, self._decision
        if isinstance(decision, Bypass) or decision.reason == "shadow" or not query.controls.read:
            return None
        store, looked = self._ports.answer_store, decision.reason != "degraded"
        if looked and not store.may_be_stored(query.fingerprint, self._looked_at):
            return None
        try:
            entry = await self._ports.stored.find(query)
        except StoreError:
            self._ports.metrics.swallowed("look-again")
            return None
        if entry is None or not fresh(entry, query.controls, self._ports.clock()):
            return None
        return entry

    async def _whole(self) -> Filled:
        """Ask for a message; if it fails validation, ask the next tier."""
        ports, query = self._ports, self._query
        call = self._call(self._planned)
        try:
            async with ports.call_planner.turn(query, self._planned):
                reply = await ports.claude.create(call)
            self._log.received = False  # it may not be the last one
        except asyncio.CancelledError:
            self._log.unfinished = Unfinished(self._planned, call.tries.unanswered)
            raise
        message = _parse(reply.body)
        why = ports.validation.verdict(query, self._planned, message)
        if why is not None and not query.cheapest:  # the tier above is what the budget forbids
            message, reply = await self._escalate(message, reply, why)
        self._log.received = True
        return await self._store(message, reply)

    async def _escalate(
        self, message: Mapping[str, Any], reply: Reply, why: str
    ) -> tuple[Mapping[str, Any], Reply]:
        """Ask the next tier if there is one. If it fails, the first answer is served."""
        ports, query, asked_at = self._ports, self._query, self._asked_at
        higher = ports.validation.escalate(query, self._planned, message, why, asked_at)
        if higher is None:
            return message, reply
        call, usage = self._call(higher), usage_of(message)
        try:
            better = await ports.claude.create(call)
        except UpstreamError as error:
            ports.metrics.swallowed("escalate")
            return message, replace(reply, lost=reply.lost + error.lost)
        except asyncio.CancelledError:  # the first answer is billed, and nobody gets it
            lost = 1 + reply.lost + call.tries.unanswered
            self._log.unfinished = Unfinished(self._planned, lost, usage)
            raise
        ports.call_planner.learn(query, self._planned, message, usage, asked_at)
        ports.metrics.tokens(usage)
        ports.validation.replaced(query, message, asked_at)
        self._planned = higher
        return _parse(better.body), replace(better, lost=reply.lost + better.lost)

    async def _stream(self) -> Filled:
        """Ask for a stream, and log its events but the last: it is stored before that leaves."""
        ports, log = self._ports, self._log
        fold, meter, cut = sse.Fold(), self._meter(), False
        call = self._call(self._planned)
        try:
            async with AsyncExitStack() as stack:
                async with ports.call_planner.turn(self._query, self._planned):
                    reply = await stack.enter_async_context(ports.claude.stream(call))
                if reply.whole is not None:
                    return await self._stream_without_events(reply, reply.whole)
                log.open({**reply.headers, **lever_headers(self._planned)})
                try:
                    async for raw in reply.events():
                        if (event := sse.decode(raw)) is not None:
                            fold.feed(event)
                        if fold.complete:
                            break  # logged once stored: who sees the end can ask again and hit
                        log.write(raw)
                        if event is not None and meter is not None and meter.over(event):
                            cut = True
                            break
                except UpstreamError as error:
                    raise stream_errors.unfinished(error, reply, fold) from error
                log.received = fold.complete or cut
        except asyncio.CancelledError:
            heard = usage_of(fold.message) if fold.message else None
            log.unfinished = Unfinished(self._planned, call.tries.unanswered, heard)
            raise
        if fold.error is not None:  # Claude's own event, already in the log
            log.error_sent = True
            raise stream_errors.unfinished(stream_errors.error_event(fold.error), reply, fold)
        if cut and meter is not None:
            return await self._cut_short(fold, meter)
        if not fold.message or not (fold.complete or fold.broken):
            raise stream_errors.unfinished(stream_errors.ended_early(), reply, fold)
        doubt = None if fold.complete else fold.broken or "incomplete"
        filled = await self._store(fold.message, reply, doubt=doubt)
        if fold.complete:
            log.write(raw)
        return filled

    async def _stream_without_events(self, reply: StreamReply, body: bytes) -> Filled:
        """Take a message that came whole though a stream was asked for; readers replay it.

        Raises `UpstreamError` for any other body.
        """
        message = _parse(body)
        if message.get("type") != "message":
            raise stream_errors.no_message(message, body, reply)
        filled = await self._store(message, reply)
        self._log.open(_for_stream(filled.headers))
        return filled

    def _meter(self) -> Meter | None:
        """The meter of a stream's price, if the tenant set a limit."""
        usd = self._query.tenant.lengths.stream_usd
        if usd is None or "output-cap" in self._query.controls.off:
            return None
        model, pricer, asked_at = self._planned.route.model, self._ports.pricer, self._asked_at
        return Meter(
            round(usd * 1_000_000_000),
            lambda tokens: pricer.cost(model, Usage(output_tokens=tokens), asked_at),
        )

    async def _cut_short(self, fold: sse.Fold, meter: Meter) -> Filled:
        """End a stream that passed the tenant's limit, as `max_tokens` would have."""
        for event in meter.ending(dict(fold.message)):
            fold.feed(event)
        filled = await self._ports.answer_store.store(
            self._query,
            fold.message,
            self._asked_at,
            planned=self._planned,
            shared=False,
            doubt="cost-cap",
        )
        for raw in meter.events({}):
            self._log.write(raw)
        heard = replace(filled.usage, output_tokens=1)
        return replace(
            filled,
            unstored="cost-cap",
            whole=True,
            estimated=True,
            call=None,
            lost=filled.lost + 1,
            heard=heard,
        )

    async def _store(
        self,
        message: Mapping[str, Any],
        reply: Reply | StreamReply,
        *,
        doubt: str | None = None,
    ) -> Filled:
        return await self._ports.answer_store.store(
            self._query,
            message,
            self._asked_at,
            planned=self._planned,
            reply=reply,
            shared=isinstance(self._decision, Miss),
            doubt=doubt,
            embed=self._decision.reason not in ("embedder", "no-model"),
            storing=self._storing,
        )

    def _call(self, planned: PlannedCall) -> Call:
        query = self._query
        return Call(
            planned.body,
            query.headers,
            query.credential,
            tenant=query.tenant.name,
            background=query.background,
            arrived=self._arrived,
        )

    def _arrived(self) -> None:
        self._log.received = True


def _for_stream(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a whole answer, for the stream that is made of it."""
    return {name: value for name, value in headers.items() if name != "content-type"}


def _parse(body: bytes) -> Mapping[str, Any]:
    """Parse Claude's message; empty, and so never stored, if the body is not a JSON object."""
    try:
        message = json_text.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
