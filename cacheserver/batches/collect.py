"""What became of an ask, told to all who waited for it: kept once, billed once, a line for each.

Rule: first the answer is stored, then the items end and their rows are kept, in one step, then it
is counted. A server that dies before that step finds the ask still there and does it again, one
that dies behind it finds the rows; nobody is told twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cacheserver.batches import call_codec, joined_asks, results
from cacheserver.batches.context import AnswerStore, BatchContext
from cacheserver.batches.jobs import Job
from cacheserver.batches.lookup import CacheLookup
from cacheserver.batches.results import ItemResult
from cacheserver.batches.work_queue import Waiter
from cacheserver.budgets import rules
from cacheserver.cache import cacheability
from cacheserver.cache.answer import Answer, Settlement
from cacheserver.cache.ask_key import ask_key
from cacheserver.cache.budget_verdict import NOTHING, Account, Amount, tokens
from cacheserver.cache.filled import Filled
from cacheserver.cache.freshness import bar_of, fresh, in_shadow
from cacheserver.cache.request import Request
from cacheserver.cache.settlement import paid
from cacheserver.cache.stored_answer import for_similar
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

    def __init__(
        self, context: BatchContext, answer_store: AnswerStore, lookup: CacheLookup
    ) -> None:
        self._context = context
        self._answer_store = answer_store
        self._lookup = lookup

    async def items(self, key: str) -> tuple[int, list[Item]]:
        """How many wait for an ask, and those of them that have not ended, the first first."""
        context = self._context
        (waiters,) = await context.work.waiters([key])
        found: list[Item] = []
        for waiter in waiters:
            (item,) = await context.jobs.items(waiter.job, [waiter.item])
            job = None if item is None else await context.jobs.find(waiter.job)
            if item is None or job is None:
                continue
            tenant = await context.tenants.get(job.tenant)
            try:
                query = context.read(job, tenant, item[1])
            except BadRequest:  # its tenant's settings changed; it was a query once
                context.metrics.swallowed("batch-read")
                continue
            if waiter.kind == "near" and key in _keys(query):
                # It would wait for this very ask if it were asked for itself.
                waiter = replace(waiter, kind="same")
            found.append(Item(waiter, item[0], job, query))
        return len(waiters), found

    async def take_message(self, key: str, message: Mapping[str, Any], asked_at: float) -> None:
        """Claude answered an ask in a batch."""
        context = self._context
        (ask,) = await context.work.asks([key], "kind", "reason", "asked", "cheapest")
        if "asked" not in ask:
            return
        planned, decision = call_codec.decode(ask["asked"]), _decision(ask)
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
                filled = await self._answer_store.store(
                    query, message, asked_at, planned=planned, shared=shared
                )
            told: list[ItemResult] = []
            if filled is not None:
                told = [self._result(item, filled, decision, item is same[0]) for item in same]
                told += [
                    line
                    for item in items
                    if item.waiter.kind == "near"
                    and (line := await self._similar(item, joined_asks.from_batch(filled)))
                    is not None
                ]
            if await self._finish(key, waiting, told, filled=filled):
                if near is not None and filled is not None and filled.entry is not None and told:
                    context.learner.missed(told[0].query, near, filled.entry)
                return

    async def _near(
        self, query: Query, decision: Decision, message: Mapping[str, Any]
    ) -> Miss | None:
        """Find what a fresh answer is held against: what comes near before it is stored itself.

        None: nothing is learned from it. What came near when the item was looked up is not kept
        for the hours a batch takes.
        """
        context, tenant = self._context, query.tenant
        if not isinstance(decision, Miss) or query.text is None:
            return None
        bar = bar_of(tenant, query.controls.namespace, query.scope)
        by_target = bar.similarity is None and bar.target is not None
        if not (by_target or tenant.shadow or tenant.corroborate):
            return None
        if cacheability.made_up(message) and not tenant.shadow:
            return None
        match await context.service.look_up(query):
            case Miss() as missed:
                return missed
            case Hit() as hit if tenant.shadow:
                return in_shadow(hit)
            case Hit(kind="semantic") as hit:  # came in meanwhile
                return replace(in_shadow(hit), reason=decision.reason)
        return None

    async def take_failure(
        self,
        key: str,
        end: str,
        result: bytes,
        *,
        counted: str | None = None,
        decision: Miss | None = None,
        billed: bool = False,
    ) -> None:
        """An ask brought no answer: `end` is `errored`, `expired` or `canceled`.

        `counted`: the ticket of the first who waited, where the service has counted it. `decision`:
        why Claude was not asked, where that is so. `billed`: it may be, though nothing came; the
        first who waited has the bounds in its row.
        """
        context = self._context
        (ask,) = await context.work.asks([key], "kind", "reason", "asked", "body")
        why = decision or results.GIVEN_UP.get(end) or _decision(ask)
        while True:
            waiting, items = await self.items(key)
            told: list[ItemResult] = []
            for item in items:
                if item.waiter.kind == "near":
                    await self._lookup.ask_again(item.job, item.waiter, item.custom_id, item.query)
                    continue
                request = Request(item.query, context.clock())
                line = results.unanswered(
                    *(item.waiter, item.custom_id, request, end, result), decision=why
                )
                if counted is not None and not told:
                    request.id, line = counted, replace(line, counted=True)
                settlement = line.settlement
                if billed and not told:
                    settlement = _lost(settlement, item, ask)
                if decision is not None:
                    settlement = replace(settlement, failed=False)
                told.append(replace(line, settlement=settlement))
            now, ends = context.clock(), [context.encode(line) for line in told]
            spent, accounts = _most(told, now)
            state = await context.work.finish(
                key, waiting, ends, now, spent=spent, accounts=accounts
            )
            if state:
                break
        for line in told if state == 1 else ():
            context.record(line)

    async def take_answer(self, key: str, answer: Answer) -> None:
        """The service answered an ask directly, and has counted it for the first who waited."""
        message = sse.without_id(json_text.loads(answer.body))
        settlement = answer.settlement
        while True:
            waiting, items = await self.items(key)
            told: list[ItemResult] = []
            for item in items:
                if item.waiter.kind == "near":
                    continue
                if told:
                    unpaid = joined_asks.unpaid(settlement, None, settlement.cost)
                    told.append(self._succeeded(item, message, unpaid))
                else:
                    line = self._succeeded(item, message, settlement)
                    line.request.id = answer.decision_id
                    told.append(replace(line, counted=True))
            for item in items:
                if item.waiter.kind == "near":
                    similar = await self._similar(item, joined_asks.from_direct(message, answer))
                    told += [] if similar is None else [similar]
            if await self._finish(key, waiting, told):
                return

    def _result(self, item: Item, filled: Filled, decision: Decision, led: bool) -> ItemResult:
        """The result of an item that asked exactly this; the first of them pays."""
        settlement = paid(decision, filled, saved=self._batch_saving(filled))
        settlement = replace(settlement, way=_way(item))
        if not led:
            settlement = joined_asks.unpaid(settlement, filled.entry, filled.cost)
        return self._succeeded(item, filled.message, settlement)

    async def _similar(self, item: Item, found: joined_asks.SharedAnswer) -> ItemResult | None:
        """The result of an item that asked something similar; None: it gets a call of its own."""
        entry, settlement = found.entry, found.settlement
        stale = entry is not None and not fresh(entry, item.query.controls, self._context.clock())
        if stale or not found.shareable:
            await self._lookup.ask_again(item.job, item.waiter, item.custom_id, item.query)
            return None
        unpaid = joined_asks.unpaid(settlement, entry, settlement.cost)
        return self._succeeded(item, for_similar(found.message), unpaid)

    def _succeeded(self, item: Item, message: bytes, settlement: Settlement) -> ItemResult:
        request = Request(item.query, self._context.clock())
        result = results.succeeded(message)
        return ItemResult(item.waiter, item.custom_id, request, "succeeded", result, settlement)

    async def _finish(
        self,
        key: str,
        waiting: int,
        told: list[ItemResult],
        *,
        filled: Filled | None = None,
    ) -> bool:
        """End the items and count them. False: others joined them.

        What `filled` cost is booked in the same step.
        """
        context, now = self._context, self._context.clock()
        spent, accounts = NOTHING, list[Account]()
        if filled is not None and filled.call is not None and told:
            payer = told[0].query
            spent = Amount(filled.cost or 0, tokens(filled.usage))
            tenant = payer.tenant
            accounts = rules.accounts(tenant.name, payer.key_id, tenant.budgets, now)
        ends = [context.encode(line) for line in told]
        state = await context.work.finish(key, waiting, ends, now, spent=spent, accounts=accounts)
        if state != 1:
            return state != 0
        for line in told:
            billed = isinstance(line.settlement.decision, Miss | Bypass)
            context.record(line)
            if billed and not line.counted and line.settlement.usage is not None:
                context.metrics.tokens(line.settlement.usage)
            if not billed:
                context.count(line.query.tenant.name, "deduped")
        return True

    def _batch_saving(self, filled: Filled) -> Nanodollars | None:
        """What the same tokens would have cost at once, less what they did."""
        usage = replace(filled.usage, service_tier="standard")
        full = self._context.pricer.cost(filled.model, usage, self._context.clock())
        return None if full is None or filled.cost is None else full - filled.cost


def _lost(settlement: Settlement, item: Item, ask: Mapping[str, bytes]) -> Settlement:
    """The same for who is billed for an answer that never came."""
    planned = None
    if "asked" in ask:
        planned = replace(call_codec.decode(ask["asked"]), body=ask.get("body", item.query.raw))
    return replace(settlement, cost=None, planned=planned, lost=1, way=_way(item))


def _most(told: Sequence[ItemResult], now: float) -> tuple[Amount, list[Account]]:
    """The most that is to be booked of items without an answer, and where."""
    payer = told[0] if told else None
    row = None if payer is None else payer.request.row
    if payer is None or row is None or row.unknown is None:
        return NOTHING, []
    query, tenant = payer.query, payer.query.tenant
    accounts = rules.accounts(tenant.name, query.key_id, tenant.budgets, now)
    return rules.of_row(row), accounts


def _way(item: Item) -> Literal["batch", "queued"]:
    return "queued" if item.job.kind == "query" else "batch"


def _keys(query: Query) -> tuple[str, str]:
    """The asks that a query may wait for as itself: its own, and the one of a spent budget."""
    return ask_key(query), ask_key(replace(query, cheapest=True))


def _decision(ask: Mapping[str, bytes]) -> Miss | Bypass:
    """Why an ask was made; as a look-up in which nothing was found where it is gone."""
    reason = ask.get("reason", b"empty").decode()
    return Bypass(reason) if ask.get("kind") == b"bypass" else Miss(reason)
