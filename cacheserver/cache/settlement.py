"""The end of a request: counted once, recorded for a day, described in headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeAlias

from cacheserver.cache import answer as answers
from cacheserver.cache.answer import Settlement
from cacheserver.cache.filled import Filled
from cacheserver.cache.freshness import bar_of
from cacheserver.cache.ports import Ledger, Metrics, Pricer
from cacheserver.cache.request import Request
from cacheserver.cache.store import decision_record
from cacheserver.core.ledger_row import GONE, Row
from cacheserver.core.types import Candidate, Decision, Entry, Hit, Nanodollars, Query
from cacheserver.storage.stored_row import Details

# Called for each request that has ended: the query, when, what was paid.
Watch: TypeAlias = Callable[[Query, float, Nanodollars | None], object]


class Recorder(Protocol):
    """Makes the ledger's row of a request that has ended. Raises nothing."""

    def row(self, request: Request, settlement: Settlement) -> Row: ...


class Settler:
    """Settles requests. `settle` is synchronous: nothing can come between its steps.

    The row of an answer that is stored is written beside it (`settle_ahead`): a caller waits for
    both at once.
    """

    def __init__(
        self,
        *,
        pricer: Pricer,
        metrics: Metrics,
        clock: Callable[[], float],
        recorder: Recorder,
        ledger: Ledger,
        evidence_id: str,
        watch: Watch = lambda *_: None,
    ) -> None:
        self._pricer = pricer
        self._metrics = metrics
        self._clock = clock
        self._watch = watch
        self._recorder = recorder
        self._ledger = ledger
        self._evidence_id = evidence_id

    def row(self, request: Request, settlement: Settlement) -> Row:
        """Make the row that `settle` enters; in a batch, before the request is settled."""
        request.row = self._recorder.row(request, settlement)
        return request.row

    def settle(self, request: Request, settlement: Settlement) -> dict[str, str]:
        """Count a request, record it, and return the headers that describe it."""
        request.settled = True
        if request.ahead is not None:
            return self._confirm(request, settlement, request.ahead)
        return self._settle(request, settlement)

    def settle_ahead(self, request: Request, filled: Filled) -> None:
        """Count and record a request before its answer is stored, as if it was.

        `settle` follows when it is known whether it was.
        """
        if not request.settled:
            request.ahead = self._settle(request, paid(request.decision, filled))

    def _confirm(
        self, request: Request, settlement: Settlement, ahead: dict[str, str]
    ) -> dict[str, str]:
        """Return the headers of a request that was settled ahead; mend the record if need be."""
        if settlement.stored is not None:
            return ahead
        settlement, now = priced(request, settlement), self._clock()
        assert request.row is not None  # it was settled
        details = self._details(request, settlement, now)
        request.recorded = self._ledger.replace(request.row, details)
        return answers.headers(request, settlement, now)

    def _settle(self, request: Request, settlement: Settlement) -> dict[str, str]:
        now = self._clock()
        row = request.row or self.row(request, settlement)
        settlement = priced(request, settlement)
        if row.unpriced:
            self._metrics.unpriced()
        request.recorded = self._ledger.append(row, self._details(request, settlement, now))
        self._metrics.settled(row.outcome, row.reason, now - request.started_at)
        self._metrics.money(settlement.total_cost or 0, settlement.net_saved or 0)
        self._watch(request.query, now, None if settlement.failed else settlement.total_cost)
        return answers.headers(request, settlement, now)

    def _details(self, request: Request, settlement: Settlement, now: float) -> Details:
        query, bar = request.query, None
        if query.text is not None:
            bar = bar_of(query.tenant, query.controls.namespace, query.label_scope)
        return decision_record.encode(
            request, settlement, bar=bar, now=now, embedder=self._evidence_id
        )

    @contextmanager
    def settle_on_error(self, request: Request) -> Iterator[None]:
        """Settle a request that fails in this context, before Claude is asked.

        Usually its caller has left.
        """
        try:
            yield
        except BaseException as error:
            if not request.settled:
                gone = isinstance(error, asyncio.CancelledError)
                settlement = Settlement(
                    request.decision,
                    failed=True,
                    cost=0,
                    saved=0,
                    status=GONE if gone else 500,
                    unstored="hung-up" if gone else "failed",
                )
                self.settle(request, settlement)
            raise

    async def recorded(self, request: Request) -> None:
        """Wait until the request's row is in the ledger; not if Redis is away."""
        if request.recorded is not None:
            await self._ledger.written(request.recorded)

    def headers(self, request: Request, settlement: Settlement) -> dict[str, str]:
        """The headers of a stream, which leave before it is settled."""
        return answers.headers(request, priced(request, settlement), self._clock())

    def account(self, decision: Decision, filled: Filled, *, led: bool) -> Settlement:
        """The settlement of one of the requests that waited for a fill. Only the leader pays.

        Nobody does here if the call was another server's.
        """
        usage, ttl_s = filled.usage, filled.ttl_s or None
        if filled.entry is not None and not (filled.paid or filled.elsewhere):
            hit = Hit(Candidate(filled.entry, similarity=1.0), "exact", "landed")
            saved = self._pricer.cost(filled.model, usage, self._clock())
            return Settlement(
                hit, model=filled.model, usage=usage, ttl_s=ttl_s, cost=0, saved=saved
            )
        if not led or filled.elsewhere:
            return Settlement(
                coalesced(filled.entry),
                model=filled.model,
                usage=usage,
                ttl_s=ttl_s,
                cost=0,
                saved=filled.cost,
                billed=filled.billed,
            )
        return paid(decision, filled)


def priced(request: Request, settlement: Settlement) -> Settlement:
    """The settlement with the cost of the request's own verification, and its row's saving."""
    if request.verified is not None:
        settlement = replace(settlement, verification=request.verified.cost)
    row = request.row
    if row is not None and settlement.saved is not None and settlement.saved != row.net:
        settlement = replace(settlement, saved=row.net)
    return settlement


def paid(decision: Decision, filled: Filled, *, saved: Nanodollars | None = 0) -> Settlement:
    """The settlement of the request that Claude was asked for, at a connection or in a batch."""
    return Settlement(
        decision,
        model=filled.model,
        usage=filled.usage,
        cost=filled.cost,
        saved=saved,
        prices=filled.prices,
        stored=None if filled.entry is None else filled.entry.id,
        unstored=filled.unstored,
        ttl_s=filled.ttl_s or None,
        planned=filled.planned,
        estimated=filled.estimated,
        call=filled.call,
        lost=filled.lost,
        heard=filled.heard,
        billed=filled.billed,
    )


def coalesced(entry: Entry | None) -> Hit:
    """A hit on what another caller's fill brings; None if it is not stored, or not yet."""
    candidate = None if entry is None else Candidate(entry, similarity=1.0)
    return Hit(candidate, "coalesced", "under-way")
