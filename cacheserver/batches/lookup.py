"""Looks up the items of jobs: a hit ends its item, the others wait for an ask.

An ask is one call to Claude that any number of items wait for. Items share one if their requests
have the same key, or if the decider would serve one of them the other's answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cacheserver.batches import call_codec, results, schedule
from cacheserver.batches.context import BatchContext, CallPlanner, Decider
from cacheserver.batches.jobs import Job
from cacheserver.batches.near_duplicates import Leaders
from cacheserver.batches.results import ItemResult
from cacheserver.batches.work_queue import DIRECT, Waiter, pool_of
from cacheserver.budgets import rules as budget
from cacheserver.cache import cacheability
from cacheserver.cache.ask_key import call_key
from cacheserver.cache.budget_verdict import Verdict
from cacheserver.cache.freshness import in_shadow
from cacheserver.cache.request import Request
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Bypass, Candidate, Decision, Hit, Miss, Query, Tenant

_SLICE = 8  # items looked up together: their round trips overlap, and requests get in between
_ROUND = 1_000  # items of one job before the next job's turn: some seconds


@dataclass(frozen=True, slots=True)
class _Item:
    """An item of a job to look up."""

    job: Job
    tenant: Tenant
    waiter: Waiter
    custom_id: str
    raw: bytes


class CacheLookup:
    """Looks up the items of open jobs, in turns."""

    def __init__(self, context: BatchContext, decider: Decider, call_planner: CallPlanner) -> None:
        self._context = context
        self._call_planner = call_planner
        self._leaders = Leaders(decider, context.scale)

    async def run(self) -> bool:
        """Look up a round of items of each open job. True if some are left."""
        context = self._context
        left = False
        for id in await context.work.open_jobs():
            job = await context.jobs.find(id)
            if job is None or job.cursor >= job.total or job.status == "ended":
                await context.work.drop_open(id)
                self._leaders.forget(id)
                continue
            if job.status == "canceling":
                continue  # items that were not looked up are cancelled
            left |= bool(await context.attempt("batch-sort", self._round(job)))
        return left

    async def _round(self, job: Job) -> bool:
        context = self._context
        tenant = await context.tenants.get(job.tenant)
        end = min(job.total, job.cursor + _ROUND)
        for start in range(job.cursor, end, _SLICE):
            places = range(start, min(start + _SLICE, end))
            items = await context.jobs.items(job.id, places)
            there = [(p, *item) for p, item in zip(places, items, strict=True) if item is not None]
            found = await asyncio.gather(*(self._look(job, tenant, raw) for _, _, raw in there))
            for (place, custom_id, raw), (query, decision) in zip(there, found, strict=True):
                item = _Item(job, tenant, Waiter(job.id, place, "same"), custom_id, raw)
                if not await self._place(item, query, decision):
                    return False  # no room in a budget now: looked up again later
        if end == job.total:
            await context.work.drop_open(job.id)
            self._leaders.forget(job.id)
        return end < job.total

    async def _look(
        self, job: Job, tenant: Tenant, raw: bytes
    ) -> tuple[Query | None, Decision | BadRequest]:
        context = self._context
        try:
            query = context.read(job, tenant, raw)
        except BadRequest as error:
            return None, error
        if job.kind == "batch" and (bypass := _passed_on(query)) is not None:
            return query, bypass
        decision = await context.service.look_up(query)
        if tenant.shadow and isinstance(decision, Hit):
            return query, in_shadow(decision)
        return query, decision

    async def _place(
        self, item: _Item, query: Query | None, decision: Decision | BadRequest
    ) -> bool:
        """End an item, or have it wait for an ask. False: it must be looked up again."""
        context = self._context
        if query is None or isinstance(decision, BadRequest):
            result = results.errored("invalid_request_error", str(decision))
            unread = Request(results.unreadable(item.job, item.tenant, item.raw), context.clock())
            line = results.unanswered(
                *(item.waiter, item.custom_id, unread, "errored", result),
                decision=Bypass("refused"),
            )
            await self._end(line)
            return True
        match decision:
            case Hit(candidate=Candidate() as candidate):
                await self._serve(item, query, decision, candidate)
            case Miss() if query.controls.only:
                request = Request(query, context.clock())
                await self._end(results.refused(item.waiter, item.custom_id, request, decision))
            case Miss() | Bypass():
                return await self._wait(item, query, decision)
        return True

    async def _end(self, line: ItemResult, event: str | None = None, *, moves: bool = True) -> None:
        """End an item that waits for nothing. `moves`: the look-up goes on behind it."""
        context, cursor = self._context, line.waiter.item + 1 if moves else None
        if await context.work.finish_item(context.encode(line), context.clock(), cursor=cursor):
            context.record(line, event)

    async def _serve(self, item: _Item, query: Query, hit: Hit, candidate: Candidate) -> None:
        """End an item with a stored answer."""
        now = self._context.clock()
        served = self._context.stored.serve_stored(query, hit, candidate.entry, now=now)
        line = ItemResult(
            *(item.waiter, item.custom_id, Request(query, now)),
            *("succeeded", results.succeeded(served.message), served.settlement),
        )
        await self._end(line, "hits")

    async def _wait(
        self, item: _Item, query: Query, decision: Miss | Bypass, *, moves: bool = True
    ) -> bool:
        """Have an item wait for an ask: a new one, or one that is there already.

        False: a budget has no room for it now, but may have later. `moves`: as in `_end`.
        """
        context, now = self._context, self._context.clock()
        cursor = item.waiter.item + 1 if moves else None
        pool, due, late = self._when(item, query, now)
        join = partial(context.work.join, due=due, late=late, cursor=cursor)
        shared = isinstance(decision, Miss)
        key = call_key(query, decision, own=item.waiter.hold)
        vector = decision.vector if isinstance(decision, Miss) else None
        if vector is not None and decision.reason != "shadow" and moves:
            leader = await self._leaders.find(item.job.id, query, vector, now)
            if leader is not None and leader != key:
                like = Waiter(item.job.id, item.waiter.item, "near")
                if await join(like, leader, pool="", share={}, ask={}):
                    return True
        share = {"tenant": item.job.tenant, "headers": dict(query.headers)}
        join = partial(join, pool=pool or pool_of(share), share=share)
        if pool != DIRECT and budget.wanted(query.tenant.budgets, query.key_id):
            # An item that joins an existing ask spends nothing more.
            if shared and await join(item.waiter, key, ask={}):
                self._joined(item, query, vector, key, pool, moves=moves)
                return True
            admitted = await context.budgets.hold(
                query, item.waiter.hold, now, token=context.work.token
            )
            if isinstance(admitted, Verdict):
                return await self._refuse(item, query, decision, admitted, late, moves=moves)
            if admitted is not None and admitted.cheapest:
                query = replace(query, cheapest=True)
                key = call_key(query, decision, own=item.waiter.hold)  # a different ask
        await join(item.waiter, key, ask=await self._ask(query, decision, vector, now))
        self._joined(item, query, vector, key, pool, moves=moves)
        return True

    def _when(self, item: _Item, query: Query, now: float) -> tuple[str, float, float]:
        """The pool (empty: by its kind), when the ask is sent, and when it is too late."""
        job, rules = item.job, item.tenant.batching
        if job.kind == "batch":
            return "", now, job.created_at + schedule.EXPIRES_S
        way = schedule.choose(
            wait=job.wait,
            deadline=job.deadline,
            now=now,
            rules=rules,
            controls=job.controls,
            headroom=self._context.headroom.least(now),
            batchable=cacheability.batchable(query.body),
        )
        late = schedule.give_up_at(now, job.deadline, rules)
        if way == "direct":
            return DIRECT, now, late
        return "", schedule.flush_at(now, job.deadline, rules), late

    async def _refuse(
        self,
        item: _Item,
        query: Query,
        decision: Miss | Bypass,
        verdict: Verdict,
        late: float,
        *,
        moves: bool,
    ) -> bool:
        """End an item that a budget refuses; False if the budget may have room in time.

        Calls under way are reserved at their maximum cost, and most of that is freed again.
        """
        now = self._context.clock()
        late = min(late, item.job.created_at + item.tenant.batching.max_wait_s)
        if moves and verdict.full is not None and verdict.full.held and now < late:
            return False
        line = results.refused(
            *(item.waiter, item.custom_id, Request(query, now), decision), verdict=verdict
        )
        await self._end(line, moves=moves)
        return True

    def _joined(
        self, item: _Item, query: Query, vector: Any, key: str, pool: str, *, moves: bool
    ) -> None:
        if vector is not None and moves:
            self._leaders.add(item.job.id, query, vector, key)
        self._context.count(item.job.tenant, "direct" if pool == DIRECT else "items")

    async def _ask(
        self, query: Query, decision: Decision, vector: Any, now: float
    ) -> Mapping[str, str | bytes | int]:
        planned = await self._call_planner.prepare(query, vector, now)
        kind = "miss" if isinstance(decision, Miss) else "bypass"
        found: dict[str, str | bytes | int] = {
            "kind": kind,
            "reason": decision.reason,
            "asked": call_codec.encode(planned),
            "size": len(planned.body) + 200,  # its custom id and what JSON puts around it
        }
        if query.cheapest:
            found["cheapest"] = 1
        # The stored item may hold marks of a declared question, which Claude must not see.
        if planned.body != query.raw or query.controls.declared is not None:
            found["body"] = planned.body
        return found

    async def ask_again(self, job: Job, waiter: Waiter, custom_id: str, query: Query) -> None:
        """Give an item its own ask: the similar one it waited for has no answer for it."""
        own = Waiter(waiter.job, waiter.item, "same")
        item = _Item(job, query.tenant, own, custom_id, query.raw)
        await self._wait(item, query, Miss("near-failed"), moves=False)


def _passed_on(query: Query) -> Bypass | None:
    """The reason why an item of a batch is passed on to Claude unchanged and not stored."""
    if not query.tenant.batching.enabled or "batching" in query.controls.off:
        return Bypass("batching-off")
    if not cacheability.batchable(query.body):
        return Bypass("not-batchable")  # Claude's error says why
    return None
