"""What became of an ask, told to all who waited for it: kept once, billed once, a line for each.

Rule: first the answer is stored, then the items end and their rows are kept, in one step, then it
is counted. A server that dies before that step finds the ask still there and does it again, one
that dies behind it finds the rows; nobody is told twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cacheserver.batches import context as desks
from cacheserver.batches import joined_asks as alike
from cacheserver.batches import results as lines
from cacheserver.batches.context import BatchContext, Storer
from cacheserver.batches.jobs import Job
from cacheserver.batches.lookup import CacheLookup
from cacheserver.batches.results import Line
from cacheserver.batches.work_queue import Waiter
from cacheserver.budgets import rules
from cacheserver.cache import cacheability, same_ask
from cacheserver.cache.answer import Answer, Settlement, Ticket
from cacheserver.cache.budget_verdict import NOTHING, Account, Amount, tokens
from cacheserver.cache.fill import Filled
from cacheserver.cache.freshness import bar_of, fresh, in_shadow
from cacheserver.cache.settlement import coalesced
from cacheserver.cache.stored_answer import bare
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Bypass, Decision, Hit, Miss, Nanodollars, Query


@dataclass(frozen=True, slots=True)
class Item:
    """An item that waits, and what it asks."""

    waiter: Waiter
    custom_id: str
    job: Job
    query: Query


class Collector:
    """Tells results."""

    def __init__(self, desk: BatchContext, keeper: Storer, sorter: CacheLookup) -> None:
        self._desk = desk
        self._keeper = keeper
        self._sorter = sorter

    async def items(self, key: str) -> tuple[int, list[Item]]:
        """How many wait for an ask, and those of them that have not ended, the first first."""
        desk = self._desk
        (waiters,) = await desk.work.waiters([key])
        found: list[Item] = []
        for waiter in waiters:
            (item,) = await desk.jobs.items(waiter.job, [waiter.item])
            job = None if item is None else await desk.jobs.find(waiter.job)
            if item is None or job is None:
                continue
            tenant = await desk.tenants.get(job.tenant)
            try:
                query = desk.read(job, tenant, item[1])
            except BadRequest:  # its tenant's settings changed; it was a query once
                desk.metrics.swallowed("batch-read")
                continue
            if waiter.kind == "near" and key in _keys(query):
                # It would wait for this very ask if it were asked for itself.
                waiter = replace(waiter, kind="same")
            found.append(Item(waiter, item[0], job, query))
        return len(waiters), found

    async def message(self, key: str, message: Mapping[str, Any], asked_at: float) -> None:
        """Claude answered an ask in a batch."""
        desk = self._desk
        (ask,) = await desk.work.asks([key], "kind", "reason", "asked", "cheapest")
        if "asked" not in ask:
            return
        asked, decision = desks.unpacked(ask["asked"]), _decision(ask)
        shared = isinstance(decision, Miss)
        filled: Filled | None = None
        near: Miss | None = None
        while True:
            waiting, items = await self.items(key)
            same = [item for item in items if item.waiter.kind == "same"]
            if filled is None and same:
                # As it was asked: what stood in for the model asked for is not kept as its answer.
                query = replace(same[0].query, cheapest="cheapest" in ask)
                near = await self._near(query, decision, message)
                filled = await self._keeper.keep(
                    query, message, asked_at, asked=asked, shared=shared
                )
            told: list[Line] = []
            if filled is not None:
                told = [self._line(item, filled, decision, item is same[0]) for item in same]
                told += [
                    line
                    for item in items
                    if item.waiter.kind == "near"
                    and (line := await self._like(item, alike.batched(filled))) is not None
                ]
            if await self._tell(key, waiting, told, filled=filled):
                if near is not None and filled is not None and filled.entry is not None and told:
                    desk.learner.missed(told[0].query, near, filled.entry)
                return

    async def _near(
        self, query: Query, decision: Decision, message: Mapping[str, Any]
    ) -> Miss | None:
        """Find what a fresh answer is held against: what comes near before it is stored itself.

        None: nothing is learned from it. What came near when the item was looked up is not kept
        for the hours a batch takes.
        """
        desk, tenant = self._desk, query.tenant
        if not isinstance(decision, Miss) or query.text is None:
            return None
        bar = bar_of(tenant, query.controls.namespace, query.scope)
        by_target = bar.similarity is None and bar.target is not None
        if not (by_target or tenant.shadow or tenant.corroborate):
            return None
        if cacheability.made_up(message) and not tenant.shadow:
            return None
        match await desk.service.look(query):
            case Miss() as missed:
                return missed
            case Hit() as hit if tenant.shadow:
                return in_shadow(hit)
            case Hit(kind="semantic") as hit:  # came in meanwhile
                return replace(in_shadow(hit), reason=decision.reason)
        return None

    async def failed(
        self,
        key: str,
        end: str,
        result: bytes,
        *,
        counted: Ticket | None = None,
        decision: Miss | None = None,
        billed: bool = False,
    ) -> None:
        """An ask brought no answer: `end` is `errored`, `expired` or `canceled`.

        `counted`: the ticket of the first who waited, where the service has counted it. `decision`:
        why Claude was not asked, where that is so. `billed`: it may be, though nothing came; the
        first who waited has the bounds in its row.
        """
        desk = self._desk
        (ask,) = await desk.work.asks([key], "kind", "reason", "asked", "body")
        why = decision or lines.GIVEN_UP.get(end) or _decision(ask)
        while True:
            waiting, items = await self.items(key)
            told: list[Line] = []
            for item in items:
                if item.waiter.kind == "near":
                    await self._sorter.again(item.job, item.waiter, item.custom_id, item.query)
                    continue
                ticket = counted if counted is not None and not told else Ticket(desk.clock())
                line = lines.unanswered(
                    *(item.waiter, item.custom_id, item.query, end, result),
                    decision=why,
                    ticket=ticket,
                )
                line = replace(line, counted=ticket is counted)
                if billed and not told:
                    line = replace(line, settlement=_lost(line.settlement, item, ask))
                told.append(line if decision is None else replace(line, outcome=None))
            now, ends = desk.clock(), [desk.told(line) for line in told]
            spent, accounts = _most(told, now)
            state = await desk.work.tell(key, waiting, ends, now, spent=spent, accounts=accounts)
            if state:
                break
        for line in told if state == 1 else ():
            desk.ended(line)

    async def answered(self, key: str, answer: Answer) -> None:
        """The service answered an ask directly, and has counted it for the first who waited."""
        message = sse.without_id(json_text.loads(answer.body))
        settlement = answer.settlement
        while True:
            waiting, items = await self.items(key)
            told: list[Line] = []
            for item in items:
                if item.waiter.kind == "near":
                    continue
                if told:
                    free = alike.free(settlement, settlement.cost)
                    told.append(self._shown(item, message, coalesced(None), free))
                else:
                    line = self._shown(item, message, answer.decision, settlement)
                    ticket = replace(line.ticket, id=answer.decision_id)
                    told.append(replace(line, ticket=ticket, counted=True))
            for item in items:
                if item.waiter.kind == "near":
                    like = await self._like(item, alike.brought(message, answer))
                    told += [] if like is None else [like]
            if await self._tell(key, waiting, told):
                return

    def _line(self, item: Item, filled: Filled, decision: Decision, led: bool) -> Line:
        """The line of an item that asked just this; the first of them pays."""
        settlement = Settlement(
            model=filled.model,
            usage=filled.usage,
            cost=filled.cost,
            saved=self._batch_saving(filled),
            prices=filled.prices,
            stored=None if filled.entry is None else filled.entry.id,
            unstored=filled.unstored,
            ttl_s=filled.ttl_s or None,
            asked=filled.asked,
            call=filled.call,
            lost=filled.lost,
            heard=filled.heard,
            way=_way(item),
        )
        if not led:
            decision, settlement = coalesced(filled.entry), alike.free(settlement, filled.cost)
        return self._shown(item, filled.message, decision, settlement)

    async def _like(self, item: Item, found: alike.SharedAnswer) -> Line | None:
        """The line of an item that asked alike; None: it is asked for itself."""
        entry, settlement = found.entry, found.settlement
        stale = entry is not None and not fresh(entry, item.query.controls, self._desk.clock())
        if stale or not found.given_on:
            await self._sorter.again(item.job, item.waiter, item.custom_id, item.query)
            return None
        free = alike.free(settlement, settlement.cost)
        return self._shown(item, bare(found.message), coalesced(entry), free)

    def _shown(self, item: Item, bare: bytes, decision: Decision, settlement: Settlement) -> Line:
        result, ticket = lines.succeeded(bare), Ticket(self._desk.clock())
        return Line(
            *(item.waiter, item.custom_id, item.query, "succeeded", result),
            *(decision, settlement, ticket),
        )

    async def _tell(
        self,
        key: str,
        waiting: int,
        told: list[Line],
        *,
        filled: Filled | None = None,
    ) -> bool:
        """End the items and count them. False: others joined them.

        What `filled` cost is booked in the same step.
        """
        desk, now = self._desk, self._desk.clock()
        spent, accounts = NOTHING, list[Account]()
        if filled is not None and filled.call is not None and told:
            payer = told[0].query
            spent = Amount(filled.cost or 0, tokens(filled.usage))
            tenant = payer.tenant
            accounts = rules.accounts(tenant.name, payer.key_id, tenant.budgets, now)
        ends = [desk.told(line) for line in told]
        state = await desk.work.tell(key, waiting, ends, now, spent=spent, accounts=accounts)
        if state != 1:
            return state != 0
        for line in told:
            paid = isinstance(line.decision, Miss | Bypass)
            desk.ended(line)
            if paid and not line.counted and line.settlement.usage is not None:
                desk.metrics.tokens(line.settlement.usage)
            if not paid:
                desk.count(line.query.tenant.name, "deduped")
        return True

    def _batch_saving(self, filled: Filled) -> Nanodollars | None:
        """What the same tokens would have cost at once, less what they did."""
        usage = replace(filled.usage, service_tier="standard")
        full = self._desk.pricer.cost(filled.model, usage, self._desk.clock())
        return None if full is None or filled.cost is None else full - filled.cost


def _lost(settlement: Settlement, item: Item, ask: Mapping[str, bytes]) -> Settlement:
    """The same for who is billed for an answer that never came."""
    asked = None
    if "asked" in ask:
        asked = replace(desks.unpacked(ask["asked"]), body=ask.get("body", item.query.raw))
    return replace(settlement, cost=None, asked=asked, lost=1, way=_way(item))


def _most(told: Sequence[Line], now: float) -> tuple[Amount, list[Account]]:
    """The most that is to be booked of items without an answer, and where."""
    payer = told[0] if told else None
    row = None if payer is None else payer.ticket.row
    if payer is None or row is None or row.unknown is None:
        return NOTHING, []
    query, tenant = payer.query, payer.query.tenant
    accounts = rules.accounts(tenant.name, query.key_id, tenant.budgets, now)
    return rules.of_row(row), accounts


def _way(item: Item) -> Literal["batch", "queued"]:
    return "queued" if item.job.kind == "query" else "batch"


def _keys(query: Query) -> tuple[str, str]:
    """The asks that a query may wait for as itself: its own, and the one of a spent budget."""
    return same_ask.key(query), same_ask.key(replace(query, cheapest=True))


def _decision(ask: Mapping[str, bytes]) -> Miss | Bypass:
    """Why an ask was made; as a look-up in which nothing was found where it is gone."""
    reason = ask.get("reason", b"empty").decode()
    return Bypass(reason) if ask.get("kind") == b"bypass" else Miss(reason)
