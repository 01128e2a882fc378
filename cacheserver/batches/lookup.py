"""Looks up the items of jobs: a hit ends its item, the others wait for an ask.

An ask is one call to Claude that any number of items wait for. Items share one if their requests
have the same key, or if the decider would serve one of them the other's answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cacheserver.batches import call_codec, results, schedule
from cacheserver.batches.context import BatchContext, CallPlanner, Decider
from cacheserver.batches.jobs import Job
from cacheserver.batches.near_duplicates import Leaders
from cacheserver.batches.results import ItemResult, way_of
from cacheserver.batches.work_queue import DIRECT, Waiter, pool_of
from cacheserver.budgets import rules as budget
from cacheserver.cache import cacheability
from cacheserver.cache.ask_key import call_key
from cacheserver.cache.budget_verdict import Verdict
from cacheserver.cache.freshness import in_shadow
from cacheserver.cache.request import Request
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Bypass, Candidate, Decision, Hit, Miss, Query, Tenant
from cacheserver.matching.verification_outcome import Verified

_SLICE = 8  # items looked up together: their round trips overlap, and requests get in between
_ROUND = 1_000  # items of one job before the next job's turn: some seconds
_ROUND_S = 5.0  # the same with verifications, which take a second each slice


@dataclass(frozen=True, slots=True)
class _Item:
    """An item of a job to look up."""

    job: Job
    tenant: Tenant
    waiter: Waiter
    custom_id: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """An item after its look-up. `decision` is an error if the item is no valid request."""

    item: _Item
    request: Request
    decision: Decision | BadRequest


class CacheLookup:
    """Looks up the items of open jobs, in turns."""

    def __init__(self, context: BatchContext, decider: Decider, call_planner: CallPlanner) -> None:
        self._context = context
        self._call_planner = call_planner
        self._leaders = Leaders(decider, context.scale)
        # What was paid for items that have no place yet, by job and item: a budget has no room for
        # one of their slice, or the store failed.
        self._paid: dict[str, dict[int, Verified]] = {}

    async def run(self) -> bool:
        """Look up a round of items of each open job. True if some are left."""
        context = self._context
        left = False
        for id in await context.work.open_jobs():
            job = await context.jobs.find(id)
            if job is None or job.cursor >= job.total or job.status == "ended":
                await context.work.drop_open(id)
                self._forget(id)
                continue
            if job.status == "canceling":
                continue  # items that were not looked up are cancelled
            left |= bool(await context.attempt("batch-sort", self._round(job)))
        return left

    async def _round(self, job: Job) -> bool:
        context = self._context
        tenant = await context.tenants.get(job.tenant)
        end, began = min(job.total, job.cursor + _ROUND), time.monotonic()
        for start in range(job.cursor, end, _SLICE):
            if time.monotonic() - began > _ROUND_S:
                return True
            places = range(start, min(start + _SLICE, end))
            items = [
                _Item(job, tenant, Waiter(job.id, place, "same"), *found)
                for place, found in zip(
                    places, await context.jobs.items(job.id, places), strict=True
                )
                if found is not None
            ]
            looked_up = await asyncio.gather(*map(self._look, items))
            for found in await self._verified(looked_up):
                if not await self._place(found):
                    return False  # no room in a budget now: looked up again later
                self._paid.get(job.id, {}).pop(found.item.waiter.item, None)
        if end == job.total:
            await context.work.drop_open(job.id)
            self._forget(job.id)
        return end < job.total

    def _forget(self, job: str) -> None:
        self._leaders.forget(job)
        self._paid.pop(job, None)

    async def _look(self, item: _Item) -> _LookedUp:
        context, job = self._context, item.job
        try:
            query = context.read(job, item.tenant, item.raw)
        except BadRequest as error:
            unread = results.unreadable(job, item.tenant, item.raw)
            return _LookedUp(item, Request(unread, context.clock()), error)
        request = Request(query, context.clock())
        if job.kind == "batch" and (bypass := _passed_on(query)) is not None:
            return _LookedUp(item, request, bypass)
        decision = await context.service.look_up(query)
        if item.tenant.shadow and isinstance(decision, Hit):
            decision = in_shadow(decision)
        return _LookedUp(item, request, decision)

    async def _verified(self, looked_up: Sequence[_LookedUp]) -> list[_LookedUp]:
        """Return the items of a slice after verification, with what is to be said of it."""
        after = await self._verify(looked_up)
        if any(found.request.verified is not None for found in after):
            # It takes seconds: what was found may have been purged since.
            after = list(await asyncio.gather(*map(self._still, after)))
        for found in after:
            paid, number = self._paid.setdefault(found.item.job.id, {}), found.item.waiter.item
            verified = _joined(paid.get(number), found.request.verified)
            found.request.verified = verified
            if verified is not None and verified.cost:
                paid[number] = verified
        return after

    async def _still(self, found: _LookedUp) -> _LookedUp:
        """Return the item, looked up again if its answer is stored no more."""
        match found.decision:
            case Hit(candidate=Candidate(entry=entry)) if not (
                await self._context.service.still_stored(found.request.query, entry)
            ):
                again = await self._look(found.item)
                again.request.verified = _joined(found.request.verified, None)
                return again
        return found

    async def _verify(self, looked_up: Sequence[_LookedUp]) -> list[_LookedUp]:
        """Have a model asked about misses. Of equal items the first one asks, and pays."""
        groups: dict[str, list[_LookedUp]] = {}
        for found in looked_up:
            key = own = found.item.waiter.hold
            if isinstance(found.decision, Miss):
                key = call_key(found.request.query, found.decision, own=own)
            groups.setdefault(key, []).append(found)

        async def verify(equal: list[_LookedUp]) -> list[_LookedUp]:
            first, *others = equal
            first = await self._verify_one(first)
            if isinstance(first.decision, Hit):  # remembered: the others need no call
                others = [await self._verify_one(other) for other in others]
            return [first, *others]

        verified = await asyncio.gather(*map(verify, groups.values()))
        return sorted(
            (found for equal in verified for found in equal),
            key=lambda found: found.item.waiter.item,
        )

    async def _verify_one(self, found: _LookedUp) -> _LookedUp:
        query, decision = found.request.query, found.decision
        if not isinstance(decision, Miss):
            return found
        if not await self._may_verify(found.item, query, decision):
            return found
        after = await self._context.service.verify(found.request, decision, batched=True)
        return replace(found, decision=after)

    async def _may_verify(self, item: _Item, query: Query, decision: Miss) -> bool:
        """Return whether a model may be asked about a miss, before it waits for an ask.

        Not if it will be answered directly (that request has a verification of its own), if it can
        wait for an ask that is there, or if a budget would refuse it.
        """
        context, now = self._context, self._context.clock()
        if not context.service.may_verify(query, decision):
            return False
        if not query.controls.only:
            if self._when(item, query, now)[0] == DIRECT:
                return False
            if (await context.work.asks([call_key(query, decision, own="")], "kind"))[0]:
                return False
            vector, id = decision.vector, item.job.id
            if vector is not None and await self._leaders.find(id, query, vector, now):
                return False
        return await context.budgets.has_room(query.tenant, query.key_id, now)

    async def _place(self, found: _LookedUp) -> bool:
        """End an item, or have it wait for an ask. False: it must be looked up again."""
        item, request, query = found.item, found.request, found.request.query
        match found.decision:
            case BadRequest() as error:
                line = results.unanswered(
                    *(item.waiter, item.custom_id, request, "errored"),
                    results.errored("invalid_request_error", str(error)),
                    decision=Bypass("refused"),
                )
                await self._end(line)
            case Hit(candidate=Candidate() as candidate) as hit:
                await self._serve(item, request, hit, candidate)
            case Miss() as miss if query.controls.only:
                await self._end(results.refused(item.waiter, item.custom_id, request, miss))
            case Miss() | Bypass() as decision:
                return await self._wait(item, request, decision)
        return True

    async def _end(self, line: ItemResult, event: str | None = None, *, moves: bool = True) -> None:
        """End an item that waits for nothing. `moves`: the look-up goes on behind it."""
        context, cursor = self._context, line.waiter.item + 1 if moves else None
        if await context.work.finish_item(context.encode(line), context.clock(), cursor=cursor):
            context.record(line, event)

    async def _serve(self, item: _Item, request: Request, hit: Hit, candidate: Candidate) -> None:
        """End an item with a stored answer."""
        now = self._context.clock()
        served = self._context.stored.serve_stored(request.query, hit, candidate.entry, now=now)
        direct = self._when(item, request.query, now)[0] == DIRECT
        settlement = replace(served.settlement, way="direct" if direct else way_of(item.job))
        line = ItemResult(
            *(item.waiter, item.custom_id, request),
            *("succeeded", results.succeeded(served.message), settlement),
        )
        await self._end(line, "hits")

    async def _wait(
        self, item: _Item, request: Request, decision: Miss | Bypass, *, moves: bool = True
    ) -> bool:
        """Have an item wait for an ask: a new one, or one that is there already.

        False: a budget has no room for it now, but may have later. `moves`: as in `_end`.
        """
        context, now, query = self._context, self._context.clock(), request.query
        cursor = item.waiter.item + 1 if moves else None
        pool, due, late = self._when(item, query, now)
        verified = b""
        if request.verified is not None:
            verified = call_codec.encode_verified(request.verified)
        join = partial(context.work.join, due=due, late=late, cursor=cursor, verified=verified)
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
                query, item.waiter.hold, now, token=context.work.fence
            )
            if isinstance(admitted, Verdict):
                return await self._refuse(item, request, decision, admitted, late, moves=moves)
            if admitted is not None and admitted.cheapest:
                query = replace(query, cheapest=True)
                key = call_key(query, decision, own=item.waiter.hold)  # a different ask
        ask = await self._ask(query, decision, vector, now)
        await join(item.waiter, key, ask=ask)
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
        request: Request,
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
        line = results.refused(*(item.waiter, item.custom_id, request, decision), verdict=verdict)
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
    ) -> dict[str, str | bytes | int]:
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

    async def ask_again(
        self, job: Job, waiter: Waiter, custom_id: str, query: Query, verified: Verified | None
    ) -> None:
        """Give an item its own ask: the similar one it waited for has no answer for it."""
        own = Waiter(waiter.job, waiter.item, "same")
        item = _Item(job, query.tenant, own, custom_id, query.raw)
        request = Request(query, self._context.clock(), verified=verified)
        await self._wait(item, request, Miss("near-failed"), moves=False)


def _joined(before: Verified | None, now: Verified | None) -> Verified | None:
    """Return one outcome of an item's verifications, with the cost of both."""
    if before is None or now is None:
        if before is not None and before.served is not None:
            return replace(before, verdict="gone", served=None)
        return now or before
    return replace(now, cost=now.cost + before.cost)


def _passed_on(query: Query) -> Bypass | None:
    """The reason why an item of a batch is passed on to Claude unchanged and not stored."""
    if not query.tenant.batching.enabled or "batching" in query.controls.off:
        return Bypass("batching-off")
    if not cacheability.batchable(query.body):
        return Bypass("not-batchable")  # Claude's error says why
    return None
