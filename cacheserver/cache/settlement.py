"""The end of a request: counted once, recorded for a day, told in headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeAlias

from cacheserver.cache import answer as answers
from cacheserver.cache import explanation
from cacheserver.cache.answer import Settlement, Ticket
from cacheserver.cache.fill import Filled
from cacheserver.cache.freshness import bar_of
from cacheserver.cache.ports import DecisionLog, Ledger, Metrics, Pricer
from cacheserver.core.errors import UpstreamError
from cacheserver.core.ledger_row import GONE, Row
from cacheserver.core.money import usd
from cacheserver.core.single_flight import Flight, Unfinished
from cacheserver.core.types import Bypass, Candidate, Decision, Entry, Hit, Miss, Nanodollars, Query

# Told of each request that has ended: the query, when, what was paid.
Watch: TypeAlias = Callable[[Query, float, Nanodollars | None], object]


class Recorder(Protocol):
    """Makes the ledger's row of a request that has ended. Raises nothing."""

    def row(
        self,
        query: Query,
        ticket: Ticket,
        decision: Decision,
        settlement: Settlement,
        *,
        outcome: str,
    ) -> Row: ...


class Settler:
    """Settles tickets. Everything here is synchronous: nothing can come between."""

    def __init__(
        self,
        *,
        pricer: Pricer,
        decision_log: DecisionLog,
        metrics: Metrics,
        clock: Callable[[], float],
        recorder: Recorder,
        ledger: Ledger,
        watch: Watch = lambda *_: None,
    ) -> None:
        self._pricer = pricer
        self._journal = decision_log
        self._metrics = metrics
        self._clock = clock
        self._watch = watch
        self._recorder = recorder
        self._ledger = ledger

    def row(
        self,
        query: Query,
        ticket: Ticket,
        decision: Decision,
        settlement: Settlement,
        *,
        outcome: str | None = None,
    ) -> Row:
        """The row that `settle` will enter, made ahead: it is the ticket's from then on."""
        outcome = outcome or answers.kind_of(decision)
        ticket.row = self._recorder.row(query, ticket, decision, settlement, outcome=outcome)
        return ticket.row

    def settle(
        self,
        query: Query,
        ticket: Ticket,
        decision: Decision,
        settlement: Settlement,
        *,
        outcome: str | None = None,
    ) -> dict[str, str]:
        """Count a request, keep its record, and return the headers that tell of it."""
        now = self._clock()
        ticket.settled = True
        outcome = outcome or answers.kind_of(decision)
        row = ticket.row
        if row is None:
            row = self._recorder.row(query, ticket, decision, settlement, outcome=outcome)
        ticket.written = self._ledger.put(row)
        if row.unpriced:
            self._metrics.unpriced()
        if settlement.saved is not None:
            settlement = replace(settlement, saved=row.net)
        bar = None
        if query.text is not None:
            bar = bar_of(query.tenant, query.controls.namespace, query.scope)
        record = explanation.record(
            query, ticket, decision, settlement, outcome=outcome, bar=bar, now=now
        )
        record["saved_by_usd"] = {cause: usd(part) for cause, part in row.saved.items()}
        cost, saved = settlement.cost or 0, settlement.saved or 0
        deltas = {"requests": 1, outcome: 1, "cost_nanodollars": cost, "saved_nanodollars": saved}
        self._journal.record(query.tenant.name, ticket.id, record, deltas)
        self._metrics.settled(outcome, decision.reason, now - ticket.started_at)
        self._metrics.money(cost, saved)
        self._watch(query, now, settlement.cost)
        return answers.headers(ticket, decision, settlement, now)

    @contextmanager
    def told(self, query: Query, ticket: Ticket, decision: Miss | Bypass) -> Iterator[None]:
        """Settle a request that ends within, before Claude is asked, and is not settled by then.

        `decision` is as far as it came. Mostly its caller has left.
        """
        try:
            yield
        except BaseException as error:
            if not ticket.settled:
                ended = Settlement(cost=0, saved=0, status=500, unstored="failed")
                if isinstance(error, asyncio.CancelledError):
                    ended = replace(ended, status=GONE, unstored="hung-up")
                self.settle(query, ticket, decision, ended, outcome="failed")
            raise

    async def written(self, ticket: Ticket) -> None:
        """Return once the request's row is in the ledger; at once where Redis is away."""
        if ticket.written is not None:
            await self._ledger.written(ticket.written)

    def known(self, ticket: Ticket, decision: Decision, settlement: Settlement) -> dict[str, str]:
        """The headers of a stream, which leave before it is settled."""
        return answers.headers(ticket, decision, settlement, self._clock())

    def account(
        self, decision: Miss | Bypass, filled: Filled, *, led: bool
    ) -> tuple[Decision, Settlement]:
        """What a finished fill means for one of those who waited for it."""
        ended = Settlement(model=filled.model, usage=filled.usage, ttl_s=filled.ttl_s or None)
        if filled.entry is not None and not filled.paid:
            hit = Hit(Candidate(filled.entry, similarity=1.0), "exact", "landed")
            saved = self._pricer.cost(filled.model, filled.usage, self._clock())
            return hit, replace(ended, cost=0, saved=saved)
        if not led:
            return coalesced(filled.entry), replace(ended, cost=0, saved=filled.cost)
        return decision, replace(
            ended,
            cost=filled.cost,
            saved=0,
            prices=filled.prices,
            stored=None if filled.entry is None else filled.entry.id,
            unstored=filled.unstored,
            asked=filled.asked,
            estimated=filled.estimated,
            call=filled.call,
            lost=filled.lost,
            heard=filled.heard,
        )

    def settle_late(
        self,
        query: Query,
        ticket: Ticket,
        decision: Miss | Bypass,
        flight: Flight[Filled],
        *,
        led: bool,
    ) -> None:
        """Settle a stream at its end, or a request whose caller is gone."""
        task = flight.task
        if not task.done():  # a follower that hung up early
            self.settle(query, ticket, coalesced(None), Settlement(cost=0))
        elif task.cancelled() or task.exception() is not None:
            error = None if task.cancelled() else task.exception()
            known: UpstreamError | Unfinished | None = flight.tape.unfinished
            if error is None:
                failed = Settlement(status=GONE, unstored="hung-up")
            elif isinstance(error, UpstreamError):
                known = error
                failed = Settlement(status=error.status, unstored="failed")
                decision = failing(decision, error)
            else:
                failed = Settlement(status=500, unstored="failed", lost=1 if led else 0)
            if known is not None and led:
                failed = replace(failed, asked=known.asked, lost=known.lost, heard=known.heard)
            self.settle(query, ticket, decision, failed, outcome="failed")
        else:
            served, settlement = self.account(decision, task.result(), led=led)
            self.settle(query, ticket, served, settlement)


def failing(decision: Miss | Bypass, error: UpstreamError) -> Miss | Bypass:
    """The decision of a request that failed: with why Claude was not asked, where it was not."""
    return decision if error.reason is None else replace(decision, reason=error.reason)


def coalesced(entry: Entry | None) -> Hit:
    """A hit on what another caller's fill brings; None where it is not stored, or not yet."""
    candidate = None if entry is None else Candidate(entry, similarity=1.0)
    return Hit(candidate, "coalesced", "under-way")
