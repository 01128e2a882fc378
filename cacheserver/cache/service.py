"""The path of one request: look up, decide, admit, fill, settle.

Rule: no step of ours can fail a request. A store, an index or a record that fails is a miss and is
counted; only Claude's failure, or the caller's, is an error.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from functools import partial

from cacheserver.cache.answer import Answer, Events, Settlement
from cacheserver.cache.filled import Filled
from cacheserver.cache.freshness import bar_of, fresh, in_shadow, servable_stale, unasked
from cacheserver.cache.miss.admission import MissAdmission
from cacheserver.cache.miss.answer_store import AnswerStore
from cacheserver.cache.miss.fill import LONG_AGO, Fill, FillPorts
from cacheserver.cache.miss.flight_reader import FlightReader, with_reason
from cacheserver.cache.miss.questions_elsewhere import Question
from cacheserver.cache.miss.shared_calls import SharedCalls
from cacheserver.cache.miss.similar_calls import SimilarCalls
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
    Verifier,
)
from cacheserver.cache.request import Request
from cacheserver.cache.settlement import Settler, priced
from cacheserver.cache.stored_answer import StoredAnswers
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.errors import NotCached, StoreError, UpstreamError
from cacheserver.core.single_flight import EventLog, SingleFlight
from cacheserver.core.types import Bypass, Candidate, Decision, Entry, Hit, Miss, Query
from cacheserver.matching.verification_outcome import decided, unsure
from cacheserver.storage import deadline


class CacheService:
    """Answers queries, from the cache if that is safe."""

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
        stored: StoredAnswers,
        verifier: Verifier,
        shared_calls: SharedCalls,
        similar_calls: SimilarCalls,
        grace_s: float = 30.0,
    ) -> None:
        self._stored = stored
        self._decider = decider
        self._learner = learner
        self._verifier = verifier
        self._shared_calls = shared_calls
        self._similar_calls = similar_calls
        self._verifying = Counter[str]()  # requests under way, by the key of their call
        self._metrics = metrics
        self._clock = clock
        self._settler = settler
        self._admission = MissAdmission(limits=limits, budgets=budgets, settler=settler)
        self._flights = SingleFlight[Filled](grace_s=grace_s, stopped=metrics.abandoned)
        self.answer_store = AnswerStore(
            entries=entries,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            call_planner=call_planner,
            validation=validation,
        )
        self._fill_ports = FillPorts(
            stored=stored,
            claude=claude,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            call_planner=call_planner,
            validation=validation,
            answer_store=self.answer_store,
        )

    async def answer(self, query: Query) -> Answer:
        """Answer one request; a stream as soon as its first event is known.

        Raises `UpstreamError` if Claude must be asked and fails, `NotCached` if the caller forbids
        asking it, `OverBudget` and `RateLimited` if the tenant's rules do. All carry the `x-cache*`
        headers in `headers`.
        """
        request = Request.begin(query, self._clock())
        with self._settler.settle_on_error(request):
            decision = await self.look_up(query)
            if isinstance(decision, Miss) and await self._similar_calls.wait(query, decision):
                decision = await self.look_up(query)
        if query.tenant.shadow and isinstance(decision, Hit):
            decision = in_shadow(decision)
        match decision:
            case Hit(candidate=Candidate(entry=entry)):
                return await self._serve_stored(request, decision, entry)
            case Miss() if query.controls.only and not self.may_verify(query, decision):
                raise await self._refuse(request, decision)
            case Miss() | Bypass():
                with self._similar_calls.asking(query, decision) as question:
                    return await self._answer_miss(request, decision, question)
        raise AssertionError("a look-up finds an entry, a reason to ask, or a reason not to share")

    async def _answer_miss(
        self, request: Request, decision: Miss | Bypass, question: Question | None
    ) -> Answer:
        request.decision = decision
        key = request.call_key
        with self._settler.settle_on_error(request):
            await self._admit(request, joins=key in self._verifying)
            verified = await self._verify(request, key)
        match verified:
            case Hit(candidate=Candidate(entry=entry)):
                return await self._serve_stored(request, verified, entry)
        if isinstance(decision, Miss) and request.query.controls.only:
            self._admission.release(request)
            raise await self._refuse(request, decision)
        with self._settler.settle_on_error(request):  # the other may have left
            await self._admit(request, joins=False)
        return await self._fill(request, question)

    async def look_up(self, query: Query) -> Decision:
        """Return the stored answer that may be served, or why there is none. Raises nothing."""
        if query.bypass is not None:
            return Bypass(query.bypass)
        if not query.controls.read:
            return Miss("refresh")
        bar = bar_of(query.tenant, query.controls.namespace, query.label_scope)
        similar = query.text is not None and not bar.exact_only
        together = similar and not self._stored.expects(query)
        try:
            entry = None if together else await self._stored.find(query)
        except StoreError:
            self._metrics.swallowed("get")
            return Miss("degraded")
        if entry is not None and fresh(entry, query.controls, self._clock()):
            return Hit(Candidate(entry, similarity=1.0), "exact", "identical")
        if not similar:
            return Miss(query.exact_only or "exact-only")
        # Runs as soon as this waits for the embedder, which needs no turn of the event loop.
        asyncio.get_running_loop().call_soon(self._decider.prepare, query)
        try:
            near = await self._stored.find_near(query, bar.top_k, exact=together)
        except StoreError:
            self._metrics.swallowed("near")
            return Miss("degraded")
        if near.exact is not None and fresh(near.exact, query.controls, self._clock()):
            return Hit(Candidate(near.exact, similarity=1.0), "exact", "identical")
        if near.skipped is not None:
            return Miss(near.skipped, vector=near.vector)
        for one in near.candidates:  # the same question, stored between the two look-ups
            same = one.entry.fingerprint == query.fingerprint
            if same and fresh(one.entry, query.controls, self._clock()):
                return Hit(Candidate(one.entry, similarity=1.0), "exact", "identical")
        decision = await self._decider.decide(query, near.candidates, bar, near.beside)
        return replace(decision, vector=near.vector) if isinstance(decision, Miss) else decision

    async def drain(self, patience_s: float) -> None:
        """Wait for the calls to Claude under way; stop those that take longer than that."""
        await self._flights.drain(patience_s)

    async def _admit(self, request: Request, *, joins: bool) -> None:
        """Admit a miss; one that `joins` what another does spends nothing more."""
        if not (joins or request.admitted or self._flights.under_way(request.call_key)):
            await self._admission.admit(request)
            request.admitted = True

    async def _verify(self, request: Request, key: str) -> Hit | None:
        """Have a model asked whether a stored answer serves; None if none does, or nobody knows.

        A request that can join another's call asks nothing.
        """
        query, decision = request.query, request.decision
        if isinstance(decision, Bypass) or not self.may_verify(query, decision):
            return None
        if self._flights.under_way(request.call_key):
            return None
        self._verifying[key] += 1
        try:
            outcome = await self.verify(request, decision)
        except BaseException:
            self._admission.release(request)
            raise
        finally:
            self._verifying[key] -= 1
            if not self._verifying[key]:
                del self._verifying[key]
        if isinstance(outcome, Miss):
            request.decision = outcome
            return None
        self._admission.release(request)
        return outcome

    def may_verify(self, query: Query, decision: Miss) -> bool:
        """Return whether a model might be asked about this miss. Cheap."""
        return unsure(query, decision) and self._verifier.considers(query, decision)

    async def verify(
        self, request: Request, decision: Miss, *, batched: bool = False
    ) -> Hit | Miss:
        """Return the decision after verification; the same if nothing is asked. Raises nothing.

        `batched`: the miss would be asked in a batch.
        """
        query = request.query
        bar = bar_of(query.tenant, query.controls.namespace, query.label_scope)
        found = await self._decider.plausible(query, decision, bar)
        if found is None:
            return decision
        verified = request.verified = await self._verifier.verify(
            query, decision, found, batched=batched
        )
        if verified is None:
            return decision
        outcome = decided(decision, found, verified)
        match outcome:
            case Hit(candidate=Candidate(entry=entry)) if not await self.still_stored(query, entry):
                # It expired or was purged while the model was asked.
                request.verified = replace(verified, verdict="gone", served=None)
                return decided(decision, found, request.verified)
        return outcome

    async def still_stored(self, query: Query, entry: Entry) -> bool:
        """Return whether an answer that was found may still be served. Raises nothing."""
        try:
            return await self._stored.holds(entry) and fresh(entry, query.controls, self._clock())
        except StoreError:
            self._metrics.swallowed("verify-store")
            return False

    async def _fill(self, request: Request, question: Question | None = None) -> Answer:
        """Have Claude asked, or wait for a call that another request makes.

        `question`: that similar ones wait for.
        """
        with self._join(request, question) as reader:
            try:
                return await reader.answer()
            except UpstreamError as error:
                return await self._serve_stale(reader, error)

    def _join(self, request: Request, question: Question | None) -> FlightReader:
        flight, led = self._flights.join(request.call_key, lambda log: self._run_fill(request, log))
        if led:
            self._admission.release_after(flight.task, request)
            if question is not None:
                self._similar_calls.end_with(flight.task, question)
        else:
            self._admission.release(request)
        return FlightReader(request, flight, led=led, flights=self._flights, settler=self._settler)

    async def _run_fill(self, request: Request, log: EventLog) -> Filled:
        deadline.share()
        query, decision = request.query, request.decision
        began = self._clock()
        async with self._shared_calls.turn(request) as turn:
            shared = turn.waited or turn.lease is not None
            fill = Fill(
                self._fill_ports,
                query,
                decision,
                log,
                looked_at=LONG_AGO if shared else request.started_at,
                storing=partial(self._settler.settle_ahead, request),
            )
            filled = await fill.run()
        if turn.waited:
            filled = filled.landed_elsewhere()
        if filled.paid:
            self._verifier.filled(query, self._clock() - began)
        if isinstance(decision, Miss) and filled.paid and filled.entry is not None:
            self._learner.missed(query, decision, filled.entry)
        return filled

    async def _serve_stored(
        self, request: Request, hit: Hit, entry: Entry, *, failed: UpstreamError | None = None
    ) -> Answer:
        """Answer from a stored entry. `failed`: the request's own call, which may be billed."""
        served = self._stored.serve_stored(request.query, hit, entry, now=request.started_at)
        settlement = served.settlement
        if failed is not None:
            settlement = settlement.with_lost(failed)
        headers = self._settler.settle(request, settlement)
        await self._settler.recorded(request)
        body, events = sse.with_id(served.message, sse.message_id()), None
        if request.query.stream:
            events = Events(_iterate(sse.replay(json_text.loads(body))))
        return Answer(request.id, priced(request, settlement), headers, body, events)

    async def _serve_stale(self, reader: FlightReader, error: UpstreamError) -> Answer:
        """Serve an expired entry if the tenant allows it; else raise Claude's error."""
        request = reader.request
        if error.ours and isinstance(request.decision, Miss):
            try:
                entry = await self._stored.find(request.query)
            except StoreError:
                self._metrics.swallowed("stale")
                entry = None
            tenant, controls = request.query.tenant, request.query.controls
            if entry is not None and servable_stale(entry, tenant, controls, self._clock()):
                hit = Hit(Candidate(entry, similarity=1.0), "stale", "upstream-failed")
                failed = error if reader.led else None
                return await self._serve_stored(request, hit, entry, failed=failed)
        decision = with_reason(request.decision, error)
        settlement = Settlement(decision, failed=True, cost=0, saved=0, status=error.status)
        if reader.led:  # a request that joined the call is billed nothing
            settlement = settlement.with_lost(error)
        headers = self._settler.settle(request, settlement)
        await self._settler.recorded(request)
        raise error.with_headers(headers) from error

    async def _refuse(self, request: Request, decision: Miss) -> NotCached:
        decision, message = unasked(decision)
        settlement = Settlement(decision, cost=0, saved=0, status=404)
        headers = self._settler.settle(request, settlement)
        await self._settler.recorded(request)
        return NotCached(message, headers={**headers, "x-should-retry": "false"})


async def _iterate(events: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    for event in events:
        yield event
