"""The one path of a request, top to bottom: look, decide, ask Claude once, settle.

Rule: no step of ours can fail a request. A store, an index or a journal that fails is a miss and
a count; only Claude's failure, or the caller's, is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from functools import partial

from cacheserver.cache import same_ask
from cacheserver.cache.answer import Answer, Events, Settlement, Ticket
from cacheserver.cache.budget_verdict import Reservation, Verdict, tokens
from cacheserver.cache.cacheability import has_content
from cacheserver.cache.fill import Filled, Filler
from cacheserver.cache.freshness import bar_of, fresh, in_shadow, servable_stale, unasked
from cacheserver.cache.ports import (
    Budgets,
    CallPlanner,
    Claude,
    Decider,
    Entries,
    Escalation,
    Learner,
    Metrics,
    Pricer,
    RateLimits,
)
from cacheserver.cache.settlement import Settler, coalesced, failing
from cacheserver.cache.stored_answer import HitServer
from cacheserver.claude import sse
from cacheserver.core import json_text, request_context
from cacheserver.core.errors import (
    CallerError,
    NotCached,
    RateLimited,
    StoreError,
    UpstreamError,
)
from cacheserver.core.single_flight import EventLog, Flight, SingleFlight
from cacheserver.core.types import Bypass, Candidate, Decision, Entry, Hit, Miss, Query
from cacheserver.storage import patience

_LAST = b"event: message_stop"


class CacheService:
    """Answers queries, from the cache where that is safe."""

    def __init__(
        self,
        *,
        entries: Entries,
        claude: Claude,
        pricer: Pricer,
        metrics: Metrics,
        clock: Callable[[], float],
        settler: Settler,
        call_planner: CallPlanner,
        budgets: Budgets,
        limits: RateLimits,
        validation: Escalation,
        decider: Decider,
        learner: Learner,
        hits: HitServer,
        grace_s: float = 30.0,
    ) -> None:
        self._budgets = budgets
        self._limits = limits
        self._decider = decider
        self._learner = learner
        self._hits = hits
        self._entries = entries
        self._metrics = metrics
        self._clock = clock
        self._flights = SingleFlight[Filled](grace_s=grace_s, stopped=metrics.abandoned)
        self._settler = settler
        self.filler = Filler(
            entries=entries,
            claude=claude,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            call_planner=call_planner,
            validation=validation,
        )

    async def answer(self, query: Query) -> Answer:
        """Answer one request; a streaming one as soon as its first event is known.

        Raises `UpstreamError` if Claude must be asked and fails, `NotCached` if the caller would
        not have it asked, `OverBudget` if they may not spend more, `RateLimited` if they ask too
        fast. All carry the `x-cache*` headers in `headers`.
        """
        ticket = Ticket.taken(self._clock())
        with self._settler.told(query, ticket, Miss("hung-up")):
            decision = await self.look(query)
        if query.tenant.shadow and isinstance(decision, Hit):
            decision = in_shadow(decision)
        match decision:
            case Hit(candidate=Candidate(entry=entry)):
                answer = self._serve(query, ticket, decision, entry)
                await self._settler.written(ticket)
                return answer
            case Miss() if query.controls.only:
                refusal = self._refuse(query, ticket, decision)
                await self._settler.written(ticket)
                raise refusal
            case Miss() | Bypass():
                with self._settler.told(query, ticket, decision):
                    query = await self._afford(query, ticket, decision)
                return await self._ask(query, ticket, decision)
        raise AssertionError("a look-up finds an entry, a reason to ask, or a reason not to share")

    async def _afford(self, query: Query, ticket: Ticket, decision: Miss | Bypass) -> Query:
        """The query as limits and budgets let it be asked; `_ask` frees what it holds.

        Raises `RateLimited`, `NotCached` and `OverBudget`.
        """
        if isinstance(decision, Miss) and self._flights.under_way(same_ask.key(query)):
            return query  # another's call answers it, and nothing more is spent
        try:
            await self._limits.miss(query, ticket.id)
        except RateLimited as limited:
            reason = limited.headers["x-cache-reason"]
            settlement = Settlement(cost=0, saved=0, status=limited.status)
            refused = replace(decision, reason=reason)
            headers = self._settler.settle(query, ticket, refused, settlement)
            await self._settler.written(ticket)
            raise RateLimited(limited.message, headers={**headers, **limited.headers}) from None
        try:
            match await self._budgets.admit(query, ticket.id, ticket.started_at):
                case Reservation(cheapest=True):
                    return replace(query, cheapest=True)
                case Verdict() as verdict:
                    refusal = self._over_budget(query, ticket, decision, verdict)
                    await self._settler.written(ticket)
                    raise refusal
        except BaseException:
            self._limits.ended(ticket.id)
            raise
        return query

    async def drain(self, patience_s: float) -> None:
        """Wait for the calls to Claude under way; stop those that take longer than that."""
        await self._flights.drain(patience_s)

    async def look(self, query: Query) -> Decision:
        """What is stored that may be served, or why nothing is. Raises nothing, asks nobody."""
        if query.bypass is not None:
            return Bypass(query.bypass)
        if not query.controls.read:
            return Miss("refresh")
        try:
            entry = await self._entries.get(query.fingerprint)
        except StoreError:
            self._metrics.swallowed("get")
            return Miss("degraded")
        if entry is not None and not has_content(entry.message):
            entry = None
        if entry is not None and fresh(entry, query.controls, self._clock()):
            return Hit(Candidate(entry, similarity=1.0), "exact", "identical")
        if query.text is None:
            return Miss(query.exact_only or "exact-only")
        bar = bar_of(query.tenant, query.controls.namespace, query.scope)
        if bar.exact_only:
            return Miss("exact-only")
        try:
            near = await self._entries.near(query, bar.top_k)
        except StoreError:
            self._metrics.swallowed("near")
            return Miss("degraded")
        if near.skipped is not None:
            return Miss(near.skipped, vector=near.vector)
        answers = [one for one in near.candidates if has_content(one.entry.message)]
        for one in answers:  # the very same, whose answer has landed between the two looks
            same = one.entry.fingerprint == query.fingerprint
            if same and fresh(one.entry, query.controls, self._clock()):
                return Hit(Candidate(one.entry, similarity=1.0), "exact", "identical")
        decision = await self._decider.decide(query, answers, bar)
        return replace(decision, vector=near.vector) if isinstance(decision, Miss) else decision

    async def _ask(self, query: Query, ticket: Ticket, decision: Miss | Bypass) -> Answer:
        """Ask Claude, or join who is asking already."""
        shared = isinstance(decision, Miss)
        flight, led = self._flights.join(
            same_ask.key(query) if shared else ticket.id,
            lambda tape: self._fill(query, decision, tape),
        )
        if led:
            flight.task.add_done_callback(lambda call: self._limits.ended(ticket.id, _used(call)))
        else:
            self._limits.ended(ticket.id)
        if query.stream:
            return await self._follow(query, ticket, decision, flight, led=led)
        try:
            filled = _for(await flight.result(), led=led)
        except UpstreamError as error:
            return await self._fall_back(query, ticket, decision, error, led=led)
        else:
            known, settlement = self._settler.account(decision, filled, led=led)
            headers = self._settler.settle(query, ticket, known, settlement)
            await self._settler.written(ticket)
            own = led and filled.raw is not None
            body = filled.raw if own else sse.with_id(filled.message, sse.message_id())
            return Answer(
                decision_id=ticket.id,
                decision=known,
                settlement=settlement,
                headers={**(filled.headers if led else {}), **headers},
                body=body or b"",
            )
        finally:
            self._depart(query, ticket, decision, flight, led=led)

    async def _fill(self, query: Query, decision: Miss | Bypass, tape: EventLog) -> Filled:
        patience.share_deadline()
        again = not (isinstance(decision, Miss) and decision.reason == "shadow")
        shared = isinstance(decision, Miss)
        vector = decision.vector if isinstance(decision, Miss) else None
        filled = await self.filler.fill(query, tape, shared=shared, again=again, vector=vector)
        if isinstance(decision, Miss) and filled.paid and filled.entry is not None:
            self._learner.missed(query, decision, filled.entry)
        return filled

    async def _follow(
        self,
        query: Query,
        ticket: Ticket,
        decision: Miss | Bypass,
        flight: Flight[Filled],
        *,
        led: bool,
    ) -> Answer:
        """A streamed answer. Headers leave first, so they say what is known by then."""
        try:
            await flight.opened()
        except UpstreamError as error:
            try:
                return await self._fall_back(query, ticket, decision, error, led=led)
            finally:
                self._depart(query, ticket, decision, flight, led=led)
        except BaseException:  # cancelled, or what nobody foresaw: settled here, told further up
            self._depart(query, ticket, decision, flight, led=led)
            raise
        known: Decision = decision
        settlement = Settlement()
        if flight.task.done() and flight.task.exception() is None:
            known, settlement = self._settler.account(decision, flight.task.result(), led=led)
        elif not led:
            known, settlement = coalesced(None), Settlement(cost=0)
        headers = self._settler.known(ticket, known, settlement)
        return Answer(
            decision_id=ticket.id,
            decision=known,
            settlement=settlement,
            headers={**(flight.tape.headers or {} if led else {}), **headers},
            events=Events(
                self._relay(query, ticket, decision, flight, led=led),
                unread=partial(self._depart, query, ticket, decision, flight, led=led),
            ),
        )

    async def _relay(
        self,
        query: Query,
        ticket: Ticket,
        decision: Miss | Bypass,
        flight: Flight[Filled],
        *,
        led: bool,
    ) -> AsyncGenerator[bytes, None]:
        patience.share_deadline()  # responses are streamed by a task of their own
        try:
            async for event in flight.events():
                if event.startswith(_LAST) and flight.task.done():
                    await self._settle_end(query, ticket, decision, flight, led=led)
                yield event if led else _renamed(event)
            if not flight.tape.events:
                filled = _for(await flight.result(), led=led)
                message = json_text.loads(sse.with_id(filled.message, sse.message_id()))
                await self._settle_end(query, ticket, decision, flight, led=led)
                for event in sse.replay(message):
                    yield event
        except UpstreamError as error:  # counted when this reader departs
            if error.worded is not None and not flight.tape.error_sent:
                yield sse.error(*error.worded, request_context.request_id())
        finally:
            self._depart(query, ticket, decision, flight, led=led)

    async def _settle_end(
        self,
        query: Query,
        ticket: Ticket,
        decision: Miss | Bypass,
        flight: Flight[Filled],
        *,
        led: bool,
    ) -> None:
        """Settle a stream whose end is known, before its last event leaves."""
        if not ticket.settled:
            self._settler.settle_late(query, ticket, decision, flight, led=led)
        await self._settler.written(ticket)

    def _serve(
        self,
        query: Query,
        ticket: Ticket,
        decision: Hit,
        entry: Entry,
        *,
        failed: UpstreamError | None = None,
    ) -> Answer:
        """Answer from a stored entry."""
        served = self._hits.serve(query, decision, entry=entry, now=ticket.started_at)
        settlement = served.settlement
        if failed is not None:  # stale: the call that failed may be billed all the same
            settlement = replace(
                settlement, asked=failed.asked, lost=failed.lost, heard=failed.heard
            )
        headers = self._settler.settle(query, ticket, decision, settlement)
        body = sse.with_id(served.message, sse.message_id())
        events = Events(_iterate(sse.replay(json_text.loads(body)))) if query.stream else None
        return Answer(ticket.id, decision, settlement, headers, body, events)

    async def _fall_back(
        self,
        query: Query,
        ticket: Ticket,
        decision: Miss | Bypass,
        error: UpstreamError,
        *,
        led: bool,
    ) -> Answer:
        """Serve what is past its deadline where the tenant allows it; else raise Claude's error."""
        if error.ours and isinstance(decision, Miss):
            try:
                entry = await self._entries.get(query.fingerprint)
            except StoreError:
                self._metrics.swallowed("stale")
                entry = None
            now = self._clock()
            if entry is not None and not has_content(entry.message):
                entry = None
            if entry is not None and servable_stale(entry, query.tenant, query.controls, now):
                stale = Hit(Candidate(entry, similarity=1.0), "stale", "upstream-failed")
                answer = self._serve(query, ticket, stale, entry, failed=error if led else None)
                await self._settler.written(ticket)
                return answer
        settlement = Settlement(status=error.status)
        decision = failing(decision, error)
        if led:  # who waited for it is billed nothing
            settlement = replace(settlement, asked=error.asked, lost=error.lost, heard=error.heard)
        headers = self._settler.settle(query, ticket, decision, settlement, outcome="failed")
        await self._settler.written(ticket)
        raise error.with_headers(headers) from error

    def _refuse(self, query: Query, ticket: Ticket, decision: Miss) -> NotCached:
        decision, message = unasked(decision)
        headers = self._settler.settle(
            query, ticket, decision, Settlement(cost=0, saved=0, status=404)
        )
        return NotCached(message, headers={**headers, "x-should-retry": "false"})

    def _over_budget(
        self, query: Query, ticket: Ticket, decision: Miss | Bypass, verdict: Verdict
    ) -> CallerError:
        kind = verdict.refusal
        near = decision if isinstance(decision, Miss) else Miss("budget")
        refused = replace(near, reason="budget")
        settlement = Settlement(cost=0, saved=0, status=kind.status)
        headers = self._settler.settle(query, ticket, refused, settlement)
        return kind(verdict.message, headers={**headers, **verdict.headers})

    def _depart(
        self,
        query: Query,
        ticket: Ticket,
        decision: Miss | Bypass,
        flight: Flight[Filled],
        *,
        led: bool,
    ) -> None:
        """A reader leaves its flight: at the end, or hanging up before.

        An unfinished fill goes on for its other readers, and for the cache; not where nothing
        may be stored, nor on a caller's own key once they are gone.
        """
        abandon = isinstance(decision, Bypass) or query.credential is not None
        self._flights.leave(flight, abandon=abandon)
        if not ticket.settled:
            end = partial(self._settler.settle_late, query, ticket, decision, flight, led=led)
            if led and not flight.task.done():
                flight.task.add_done_callback(lambda _: end())
            else:
                end()


def _used(call: asyncio.Task[Filled]) -> int | None:
    """The tokens that a call took; None where nobody told."""
    if call.cancelled():
        return None
    match call.exception():
        case None:
            filled = call.result()
            return tokens(filled.usage) if filled.paid else 0
        case UpstreamError(lost=0):
            return 0
    return None


def _for(filled: Filled, *, led: bool) -> Filled:
    """What a caller may be given of a fill: of what is no whole message there are no copies."""
    if led or filled.whole:
        return filled
    raise UpstreamError.shaped(502, "api_error", "Claude's answer to another caller was no message")


def _renamed(event: bytes) -> bytes:
    """The opening event with an id of its own: two answers never share one."""
    if not event.startswith(b"event: message_start"):
        return event
    opening = sse.decode(event)
    if opening is None:
        return event
    message = {**opening["message"], "id": sse.message_id()}
    return sse.encode({**opening, "message": message})


async def _iterate(events: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    for event in events:
        yield event
