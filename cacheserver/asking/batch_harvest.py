"""What became of an ask, told to all who waited for it: kept once, billed once, a line for each.

Rule: first the answer is stored, then the items end, in one step, then it is counted. A server
that dies in between finds the ask still there and does it again; nobody is told twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cacheserver import jsontext
from cacheserver.answer import Answer, Settlement, Ticket
from cacheserver.asking import batch_desk as desks
from cacheserver.asking.batch_desk import Desk, Keeper
from cacheserver.asking.batch_sort import Sorter
from cacheserver.errors import BadRequest
from cacheserver.fill import Filled
from cacheserver.policy import admission
from cacheserver.settling import coalesced
from cacheserver.stores.jobs import Job
from cacheserver.stores.jobwork import Told, Waiter
from cacheserver.types import Bypass, Decision, Miss, Nanodollars, Query


@dataclass(frozen=True, slots=True)
class Item:
    """An item that waits, and what it asks."""

    waiter: Waiter
    custom_id: str
    job: Job
    query: Query


@dataclass(frozen=True, slots=True)
class _Line:
    """An item's end, and how it is counted once it has been told."""

    told: Told
    item: Item
    ticket: Ticket
    decision: Decision
    settlement: Settlement


class Harvester:
    """Tells results."""

    def __init__(self, desk: Desk, keeper: Keeper, sorter: Sorter) -> None:
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
                found.append(Item(waiter, item[0], job, desk.read(job, tenant, item[1])))
            except BadRequest:  # its tenant's settings changed; it was a query once
                desk.metrics.swallowed("batch-read")
        return len(waiters), found

    async def message(self, key: str, message: Mapping[str, Any], asked_at: float) -> None:
        """Claude answered an ask in a batch."""
        desk = self._desk
        (ask,) = await desk.work.asks([key], "kind", "reason", "asked")
        if "asked" not in ask:
            return
        asked = desks.unpacked(ask["asked"])
        shared, reason = ask["kind"] == b"miss", ask["reason"].decode()
        filled: Filled | None = None
        while True:
            waiting, items = await self.items(key)
            same = [item for item in items if item.waiter.kind == "same"]
            if filled is None and same:
                filled = await self._keeper.keep(
                    same[0].query, message, asked_at, asked=asked, shared=shared
                )
            lines: list[_Line] = []
            if filled is not None:
                decision: Decision = Miss(reason) if shared else Bypass(reason)
                lines = [
                    self._line(item, filled, decision, item is same[0])
                    for item in items
                    if item.waiter.kind == "same"
                ]
                lines += [
                    line
                    for item in items
                    if item.waiter.kind == "near"
                    and (line := await self._like(item, filled)) is not None
                ]
            if await self._tell(key, waiting, lines):
                return

    async def failed(self, key: str, end: str, result: bytes) -> None:
        """An ask brought no answer: `end` is `errored`, `expired` or `canceled`."""
        desk = self._desk
        while True:
            waiting, items = await self.items(key)
            told = []
            for item in items:
                if item.waiter.kind == "near":
                    await self._sorter.again(item.job, item.waiter, item.query)
                else:
                    told.append(desks.told(item.waiter, item.custom_id, end, result))
            state = await desk.work.tell(key, waiting, told, desk.clock())
            if state:
                break
        if state == 1:
            for each in told:
                desk.count(_tenant(items, each), end)

    async def answered(self, key: str, answer: Answer) -> None:
        """The service answered an ask directly, and has counted it for the first who waited."""
        desk = self._desk
        message = jsontext.loads(answer.body)
        bare = jsontext.dumps({k: v for k, v in message.items() if k != "id"})
        while True:
            waiting, items = await self.items(key)
            lines = []
            for at, item in enumerate(items):
                first = at == 0
                lines.append(
                    _Line(
                        desks.told(
                            item.waiter,
                            item.custom_id,
                            "succeeded",
                            desks.succeeded(bare),
                            ticket=(ticket := Ticket(desk.clock())),
                            decision=(decision := answer.decision if first else coalesced(None)),
                            settlement=(
                                settlement := answer.settlement
                                if first
                                else _free(answer.settlement, answer.settlement.cost)
                            ),
                        ),
                        item,
                        ticket,
                        decision,
                        settlement,
                    )
                )
            if await self._tell(key, waiting, lines, counted=1):
                return

    def _line(self, item: Item, filled: Filled, decision: Decision, led: bool) -> _Line:
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
            way="queued" if item.job.kind == "query" else "batch",
        )
        if not led:
            decision, settlement = coalesced(filled.entry), _free(settlement, filled.cost)
        return self._shown(item, filled.message, decision, settlement)

    async def _like(self, item: Item, filled: Filled) -> _Line | None:
        """The line of an item that asked alike. What may not be stored may not be given on."""
        if filled.entry is None:
            await self._sorter.again(item.job, item.waiter, item.query)
            return None
        message = jsontext.loads(filled.message)
        bare = jsontext.dumps(admission.without_thinking(message))
        paid = Settlement(model=filled.model, usage=filled.usage, ttl_s=filled.ttl_s or None)
        return self._shown(item, bare, coalesced(filled.entry), _free(paid, filled.cost))

    def _shown(self, item: Item, bare: bytes, decision: Decision, settlement: Settlement) -> _Line:
        ticket = Ticket(self._desk.clock())
        told = desks.told(
            item.waiter,
            item.custom_id,
            "succeeded",
            desks.succeeded(bare),
            ticket=ticket,
            decision=decision,
            settlement=settlement,
        )
        return _Line(told, item, ticket, decision, settlement)

    async def _tell(self, key: str, waiting: int, lines: list[_Line], *, counted: int = 0) -> bool:
        """End the items and count them, but for the first `counted`. False: others joined them."""
        desk = self._desk
        state = await desk.work.tell(key, waiting, [line.told for line in lines], desk.clock())
        if state == 1:
            for at, line in enumerate(lines):
                if at >= counted:
                    desk.settler.settle(
                        line.item.query, line.ticket, line.decision, line.settlement
                    )
                if isinstance(line.decision, Miss | Bypass):
                    if line.settlement.usage is not None and at >= counted:
                        desk.metrics.tokens(line.settlement.usage)
                else:
                    desk.count(line.item.job.tenant, "deduped")
                desk.count(line.item.job.tenant, "succeeded")
        return state != 0

    def _batch_saving(self, filled: Filled) -> Nanodollars | None:
        """What the same tokens would have cost at once, less what they did."""
        usage = replace(filled.usage, service_tier="standard")
        full = self._desk.pricer.cost(filled.model, usage, self._desk.clock())
        return None if full is None or filled.cost is None else full - filled.cost


def _free(settlement: Settlement, saved: Nanodollars | None) -> Settlement:
    """What it means for one who paid nothing: the call stands on the first one's row only."""
    return replace(
        settlement,
        cost=0,
        saved=saved,
        prices=None,
        stored=None,
        unstored=None,
        asked=None,
        call=None,
        lost=0,
        heard=None,
    )


def _tenant(items: list[Item], told: Told) -> str:
    return next(item.job.tenant for item in items if item.waiter == told.waiter)
