"""Results of asks: stored once, billed once, and a result for every item that waits.

Rule: the answer is stored first; then the items end and their rows are stored, in one step; then
they are counted. After a crash before that step the ask is still there and is done again; after a
crash behind it the rows are there. No item ends twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cacheserver.batches import call_codec, joined_asks, results
from cacheserver.batches.context import AnswerStore, BatchContext
from cacheserver.batches.jobs import Job
from cacheserver.batches.lookup import CacheLookup
from cacheserver.batches.results import ItemResult, way_of
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
from cacheserver.matching.verification_outcome import Verified


@dataclass(frozen=True, slots=True)
class Item:
    """A waiting item and its query."""

    waiter: Waiter
    custom_id: str
    job: Job
    query: Query
    verified: Verified | None = None  # what came of asking a model about it, before it waited


class Collector:
    """Takes the results of asks and ends the items that wait for them."""

    def __init__(
        self, context: BatchContext, answer_store: AnswerStore, lookup: CacheLookup
    ) -> None:
        self._context = context
        self._answer_store = answer_store
        self._lookup = lookup

    async def items(self, key: str) -> tuple[int, list[Item]]:
        """The number of waiters of an ask, and those that have not ended, oldest first."""
        context = self._context
        (waiters,) = await context.work.waiters([key])
        fields = ["verified", *(call_codec.verified_field(one.hold) for one in waiters)]
        (ask,) = await context.work.asks([key], *fields)
        found: list[Item] = []
        for waiter in waiters:
            (item,) = await context.jobs.items(waiter.job, [waiter.item])
            job = None if item is None else await context.jobs.find(waiter.job)
            if item is None or job is None:
                continue
            tenant = await context.tenants.get(job.tenant)
            try:
                query = context.read(job, tenant, item[1])
            except BadRequest:  # the tenant's settings changed since it was accepted
                context.metrics.swallowed("batch-read")
                continue
            if waiter.kind == "near" and key in _keys(query):
                # An ask of its own would be this one.
                waiter = replace(waiter, kind="same")
            verified = call_codec.decode_verified(waiter.hold, ask)
            found.append(Item(waiter, item[0], job, query, verified))
        return len(waiters), found

    async def take_message(self, key: str, message: Mapping[str, Any], asked_at: float) -> None:
        """Take Claude's answer to an ask, out of a batch."""
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
                # A cheaper model's answer is not stored as the answer of the model asked for.
                query = replace(same[0].query, cheapest="cheapest" in ask)
                near = await self._near(query, decision, message)
                filled = await self._answer_store.store(
                    query, message, asked_at, planned=planned, shared=shared
                )
            finished: list[ItemResult] = []
            if filled is not None:
                finished = [
                    self._result(item, filled, decision, led=item is same[0]) for item in same
                ]
                finished += [
                    line
                    for item in items
                    if item.waiter.kind == "near"
                    and (line := await self._similar(item, joined_asks.from_batch(filled)))
                    is not None
                ]
            if await self._finish(key, waiting, finished, filled=filled):
                if (
                    near is not None
                    and filled is not None
                    and filled.entry is not None
                    and finished
                ):
                    context.learner.missed(finished[0].query, near, filled.entry)
                return

    async def _near(
        self, query: Query, decision: Decision, message: Mapping[str, Any]
    ) -> Miss | None:
        """Look up the stored answers that a new answer is compared with, before it is stored.

        None: nothing is learned from it. The candidates of the first look-up are not kept for the
        hours that a batch takes.
        """
        context, tenant = self._context, query.tenant
        if not isinstance(decision, Miss) or query.text is None:
            return None
        bar = bar_of(tenant, query.controls.namespace, query.label_scope)
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
            case Hit(kind="semantic") as hit:  # stored meanwhile
                return replace(in_shadow(hit), reason=decision.reason)
        return None

    async def take_failure(
        self,
        key: str,
        end: str,
        result: bytes,
        *,
        counted: str | None = None,
        verification: Nanodollars | None = 0,
        decision: Miss | None = None,
        billed: bool = False,
    ) -> None:
        """End the items of an ask without an answer: `end` is `errored`, `expired` or `canceled`.

        `counted`: the request id of the first item, if the service has counted it; `verification`:
        what that spent on asking a model, None if its call may be billed besides. `decision`: why
        Claude was not asked, if it was not. `billed`: Claude may bill the call all the same; the
        first item's row has the bounds.
        """
        context = self._context
        (ask,) = await context.work.asks([key], "kind", "reason", "asked", "body")
        why = decision or results.GIVEN_UP.get(end) or _decision(ask)
        while True:
            waiting, items = await self.items(key)
            finished: list[ItemResult] = []
            for item in items:
                if item.waiter.kind == "near":
                    await self._ask_again(item)
                    continue
                request = self._request(item)
                line = results.unanswered(
                    *(item.waiter, item.custom_id, request, end, result), decision=why
                )
                if counted is not None and not finished:
                    line = _counted(line, counted, verification)
                settlement = line.settlement
                if billed and not finished:
                    settlement = _lost(settlement, item, ask)
                if decision is not None:
                    settlement = replace(settlement, failed=False)
                finished.append(replace(line, settlement=settlement))
            now, ends = context.clock(), [context.encode(line) for line in finished]
            spent, accounts = _most(finished, now)
            state = await context.work.finish(
                key, waiting, ends, now, spent=spent, accounts=accounts
            )
            if state:
                break
        for line in finished if state == 1 else ():
            context.record(line)

    async def take_answer(self, key: str, answer: Answer, *, verification: Nanodollars = 0) -> None:
        """Take the answer of a direct call, which the service has counted for the first item.

        `verification`: what earlier tries of the call spent on asking a model.
        """
        message = sse.without_id(json_text.loads(answer.body))
        settlement = answer.settlement
        while True:
            waiting, items = await self.items(key)
            finished: list[ItemResult] = []
            for item in items:
                if item.waiter.kind == "near":
                    continue
                if finished:
                    unpaid = joined_asks.unpaid(settlement, None, settlement.cost)
                    finished.append(self._succeeded(item, message, unpaid))
                else:
                    line = self._succeeded(item, message, settlement)
                    finished.append(_counted(line, answer.decision_id, verification))
            for item in items:
                if item.waiter.kind == "near":
                    similar = await self._similar(item, joined_asks.from_direct(message, answer))
                    finished += [] if similar is None else [similar]
            if await self._finish(key, waiting, finished):
                return

    def _result(
        self,
        item: Item,
        filled: Filled,
        decision: Decision,
        *,
        led: bool,
    ) -> ItemResult:
        """The result of an item that asked exactly this; the first of them pays."""
        settlement = replace(paid(decision, filled), way=way_of(item.job))
        if not led:
            settlement = joined_asks.unpaid(settlement, filled.entry, filled.cost)
        message = filled.message
        if not led and item.query.controls.declared is not None:  # another prompt, perhaps
            message = for_similar(message, declared=True)
        return self._succeeded(item, message, settlement)

    async def _similar(self, item: Item, found: joined_asks.SharedAnswer) -> ItemResult | None:
        """The result of an item that asked something similar; None: it gets a call of its own."""
        entry, settlement = found.entry, found.settlement
        stale = entry is not None and not fresh(entry, item.query.controls, self._context.clock())
        if stale or not found.shareable:
            await self._ask_again(item)
            return None
        unpaid = joined_asks.unpaid(settlement, entry, settlement.cost)
        declared = item.query.controls.declared is not None
        message = for_similar(found.message, declared=declared)
        return self._succeeded(item, message, unpaid)

    async def _ask_again(self, item: Item) -> None:
        await self._lookup.ask_again(
            item.job, item.waiter, item.custom_id, item.query, item.verified
        )

    def _request(self, item: Item) -> Request:
        return Request(item.query, self._context.clock(), verified=item.verified)

    def _succeeded(self, item: Item, message: bytes, settlement: Settlement) -> ItemResult:
        request, result = self._request(item), results.succeeded(message)
        return ItemResult(item.waiter, item.custom_id, request, "succeeded", result, settlement)

    async def _finish(
        self,
        key: str,
        waiting: int,
        finished: list[ItemResult],
        *,
        filled: Filled | None = None,
    ) -> bool:
        """End the items and count them. False: more items joined meanwhile.

        The cost of `filled` is booked in the same step.
        """
        context, now = self._context, self._context.clock()
        spent, accounts = NOTHING, list[Account]()
        if filled is not None and filled.call is not None and finished:
            payer = finished[0].query
            spent = Amount(filled.cost or 0, tokens(filled.usage))
            tenant = payer.tenant
            accounts = rules.accounts(tenant.name, payer.key_id, tenant.budgets, now)
        ends = [context.encode(line) for line in finished]
        state = await context.work.finish(key, waiting, ends, now, spent=spent, accounts=accounts)
        if state != 1:
            return state != 0
        for line in finished:
            billed = isinstance(line.settlement.decision, Miss | Bypass)
            context.record(line)
            if billed and not line.counted and line.settlement.usage is not None:
                context.metrics.tokens(line.settlement.usage)
            if not billed:
                context.count(line.query.tenant.name, "deduped")
        return True


def _counted(line: ItemResult, id: str, verification: Nanodollars | None) -> ItemResult:
    """The result of the item whose direct call the service has counted, under its decision.

    `verification`: what other tries of the call spent on asking a model, None if the cost is not
    known. What was spent before the item had to wait is added; all of it is in the ledger.
    """
    request, settlement = line.request, line.settlement
    if verification is None:
        settlement, verification = replace(settlement, cost=None), 0
    if request.verified is not None:
        verification += request.verified.cost
    request.id, request.verified = id, None
    spent = settlement.verification + verification
    return replace(line, counted=True, settlement=replace(settlement, verification=spent))


def _lost(settlement: Settlement, item: Item, ask: Mapping[str, bytes]) -> Settlement:
    """The settlement of the item that may be billed for an answer that never came."""
    planned = None
    if "asked" in ask:
        planned = replace(call_codec.decode(ask["asked"]), body=ask.get("body", item.query.raw))
    return replace(settlement, cost=None, planned=planned, lost=1, way=way_of(item.job))


def _most(finished: Sequence[ItemResult], now: float) -> tuple[Amount, list[Account]]:
    """The upper bound to book for items without an answer, and the accounts it is booked in."""
    payer = finished[0] if finished else None
    row = None if payer is None else payer.request.row
    if payer is None or row is None or row.unknown is None:
        return NOTHING, []
    query, tenant = payer.query, payer.query.tenant
    accounts = rules.accounts(tenant.name, query.key_id, tenant.budgets, now)
    return rules.of_row(row), accounts


def _keys(query: Query) -> tuple[str, str]:
    """The keys of the asks that answer exactly this query: its own, and with a spent budget."""
    return ask_key(query), ask_key(replace(query, cheapest=True))


def _decision(ask: Mapping[str, bytes]) -> Miss | Bypass:
    """The decision behind an ask; a miss for an empty scope if the ask is gone."""
    reason = ask.get("reason", b"empty").decode()
    return Bypass(reason) if ask.get("kind") == b"bypass" else Miss(reason)
