"""Looks the items of a job up, one after the other: hits end there, the rest wait for an ask.

What is asked twice within a batch is asked once: the same request by its key, one that is only
like another where the decider would serve it that one's answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cacheserver import jsontext
from cacheserver.answer import Settlement, Ticket
from cacheserver.asking import batch_desk as desks
from cacheserver.asking.batch_desk import Asker, Decider, Desk
from cacheserver.errors import BadRequest
from cacheserver.policy import admission, batching
from cacheserver.policy.decide import bar_of
from cacheserver.stores.jobs import Job
from cacheserver.stores.jobwork import DIRECT, Waiter
from cacheserver.types import Bypass, Candidate, Decision, Entry, Hit, Miss, Query, Tenant, Usage

_SLICE = 8  # items looked up together: their round trips overlap, and requests get in between
_ROUND = 1_000  # items of one job before others have their turn: some seconds
_LEADERS = 2_000  # texts of a scope that new ones are held against: 3 MB, 0.1 ms
_CLOSE = 0.9  # cosine; no bar that ships is reached below it, and deciding costs a round trip


@dataclass(slots=True)
class _Leaders:
    """What a job asks under one scope: texts, their vectors, and the asks they lead."""

    texts: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)


class Sorter:
    """Takes open jobs in turn."""

    def __init__(self, desk: Desk, decider: Decider, asker: Asker) -> None:
        self._desk = desk
        self._decider = decider
        self._asker = asker
        # Of this process only: after a restart a batch's later items find fewer to be like.
        self._leaders: dict[str, dict[str, _Leaders]] = {}

    async def sort(self) -> bool:
        """Look up a round of each open job. True where some are left."""
        desk = self._desk
        left = False
        for id in await desk.work.open_jobs():
            job = await desk.jobs.find(id)
            if job is None or job.cursor >= job.total or job.status == "ended":
                await desk.work.drop_open(id)
                self._leaders.pop(id, None)
                continue
            if job.status == "canceling":
                continue  # whatever was not looked up is cancelled
            left |= bool(await desk.tried("batch-sort", self._round(job)))
        return left

    async def _round(self, job: Job) -> bool:
        desk = self._desk
        tenant = await desk.tenants.get(job.tenant)
        end = min(job.total, job.cursor + _ROUND)
        for start in range(job.cursor, end, _SLICE):
            places = range(start, min(start + _SLICE, end))
            items = await desk.jobs.items(job.id, places)
            there = [(p, *item) for p, item in zip(places, items, strict=True) if item is not None]
            found = await asyncio.gather(*(self._look(job, tenant, raw) for _, _, raw in there))
            for (place, custom_id, _), (query, decision) in zip(there, found, strict=True):
                await self._place(job, tenant, place, custom_id, query, decision)
        if end == job.total:
            await desk.work.drop_open(job.id)
            self._leaders.pop(job.id, None)
        return end < job.total

    async def _look(
        self, job: Job, tenant: Tenant, raw: bytes
    ) -> tuple[Query | None, Decision | BadRequest]:
        desk = self._desk
        try:
            query = desk.read(job, tenant, raw)
        except BadRequest as error:
            return None, error
        if job.kind == "batch" and (bypass := _passed_on(query)) is not None:
            return query, bypass
        decision = await desk.service.look(query)
        if tenant.shadow and isinstance(decision, Hit):
            return query, Miss("shadow", decision.candidate)
        return query, decision

    async def _place(
        self,
        job: Job,
        tenant: Tenant,
        place: int,
        custom_id: str,
        query: Query | None,
        decision: Decision | BadRequest,
    ) -> None:
        waiter, after = Waiter(job.id, place, "same"), place + 1
        desk = self._desk
        if query is None or isinstance(decision, BadRequest):
            result = desks.errored("invalid_request_error", str(decision))
            told = desks.told(waiter, custom_id, "errored", result)
            await desk.work.answer(told, desk.clock(), cursor=after)
            desk.count(job.tenant, "errored")
            return
        match decision:
            case Hit(candidate=Candidate() as candidate):
                await self._serve(waiter, custom_id, query, decision, candidate, after)
            case Miss() if query.controls.only:
                result = desks.errored(
                    "not_found_error",
                    "no stored answer may be served, and `only-if-cached` forbids asking Claude",
                )
                told = desks.told(waiter, custom_id, "errored", result)
                await desk.work.answer(told, desk.clock(), cursor=after)
            case _:
                await self._wait(job, tenant, waiter, query, decision, after)

    async def _serve(
        self,
        waiter: Waiter,
        custom_id: str,
        query: Query,
        decision: Hit,
        candidate: Candidate,
        after: int,
    ) -> None:
        """End an item with a stored answer, as the service serves one."""
        desk, entry = self._desk, candidate.entry
        message, now = entry.message, desk.clock()
        if decision.kind == "semantic" and b'thinking"' in message:
            message = jsontext.dumps(admission.without_thinking(jsontext.loads(message)))
        settlement = Settlement(
            model=entry.model,
            usage=entry.usage,
            cost=0,
            saved=desk.pricer.cost(entry.model, entry.usage, now),
        )
        ticket, result = Ticket(now), desks.succeeded(message)
        told = desks.told(
            waiter,
            custom_id,
            "succeeded",
            result,
            ticket=ticket,
            decision=decision,
            settlement=settlement,
        )
        if await desk.work.answer(told, now, cursor=after):
            desk.settler.settle(query, ticket, decision, settlement)
            desk.count(query.tenant.name, "hits")

    async def _wait(
        self,
        job: Job,
        tenant: Tenant,
        waiter: Waiter,
        query: Query,
        decision: Decision,
        after: int | None,
    ) -> None:
        """Have an item wait for an ask of its own, or for one that is made anyway."""
        desk, now = self._desk, self._desk.clock()
        choice = batching.choose(
            wait=job.wait,
            deadline=job.deadline,
            now=now,
            rules=tenant.batching,
            controls=job.controls,
            headroom=desk.headroom.least(now),
            batchable=admission.batchable(query.body),
        )
        whole = job.kind == "batch"
        direct = not whole and choice.way == "direct"
        due, late = now, job.created_at + batching.EXPIRES_S
        if not whole:
            late = batching.give_up_at(now, job.deadline, tenant.batching)
            if not direct:
                due = batching.flush_at(now, job.deadline, tenant.batching)
        vector = decision.vector if isinstance(decision, Miss) else None
        if vector is not None and decision.reason != "shadow" and after is not None:
            leader = await self._leader(job, query, vector, now)
            if leader is not None:
                like = Waiter(waiter.job, waiter.item, "near")
                if await desk.work.join(
                    like, leader, pool="", share={}, due=due, late=late, ask={}, cursor=after
                ):
                    return
        shared = isinstance(decision, Miss)
        key = desks.key_of(query) if shared else f"{job.id}.{waiter.item}"
        share = {"tenant": job.tenant, "headers": dict(query.headers)}
        await desk.work.join(
            waiter,
            key,
            pool=DIRECT if direct else desks.pool_of(share),
            share=share,
            due=due,
            late=late,
            ask=await self._ask(query, decision, vector, now),
            cursor=after,
        )
        if vector is not None and after is not None:
            self._lead(job, query, vector, key)
        desk.count(job.tenant, "direct" if direct else "items")

    async def _ask(
        self, query: Query, decision: Decision, vector: Any, now: float
    ) -> Mapping[str, str | bytes | int]:
        asked = await self._asker.prepare(query, vector, now)
        kind = "miss" if isinstance(decision, Miss) else "bypass"
        found: dict[str, str | bytes | int] = {
            "kind": kind,
            "reason": decision.reason,
            "asked": desks.packed(asked),
            "size": len(asked.body) + 200,  # its custom id and what JSON puts around it
        }
        if asked.body != query.raw:
            found["body"] = asked.body
        return found

    async def again(self, job: Job, waiter: Waiter, query: Query) -> None:
        """Have an item that was like another's be asked for itself: the other brought nothing."""
        own = Waiter(waiter.job, waiter.item, "same")
        await self._wait(job, query.tenant, own, query, Miss("near-failed"), None)

    async def _leader(self, job: Job, query: Query, vector: Any, now: float) -> str | None:
        """The ask of this job whose answer will serve this item, too."""
        known = self._leaders.get(job.id, {}).get(query.scope)
        if known is None or query.text is None:
            return None
        cosines = np.asarray(known.vectors) @ np.asarray(vector)
        bar = bar_of(query.tenant, query.controls.namespace, query.scope)
        best = np.argsort(-cosines)[: bar.top_k]
        near = [
            Candidate(_stand_in(query, known.texts[at], at, now), float(cosines[at]))
            for at in map(int, best)
            if cosines[at] >= _CLOSE
        ]
        if not near:
            return None
        decision = await self._decider.decide(query, near, bar)
        if not isinstance(decision, Hit) or decision.candidate is None:
            return None
        return known.keys[int(decision.candidate.entry.id)]

    def _lead(self, job: Job, query: Query, vector: Any, key: str) -> None:
        known = self._leaders.setdefault(job.id, {}).setdefault(query.scope, _Leaders())
        if query.text is not None and len(known.texts) < _LEADERS:
            known.texts.append(query.text)
            known.keys.append(key)
            known.vectors.append(np.asarray(vector))


def _passed_on(query: Query) -> Bypass | None:
    """Why an item of a batch goes to Claude as it came, and its answer is not kept."""
    if not query.tenant.batching.enabled or "batching" in query.controls.off:
        return Bypass("batching-off")
    if not admission.batchable(query.body):
        return Bypass("not-batchable")  # Claude says what is wrong with it
    return None


def _stand_in(query: Query, text: str, place: int, now: float) -> Entry:
    """What the decider reads of an answer that is still to come."""
    return Entry(
        id=f"{place:032d}",
        tenant=query.tenant.name,
        namespace=query.controls.namespace,
        fingerprint="",
        scope=query.scope,
        text=text,
        model=query.model,
        message=b"{}",
        usage=Usage(),
        cost=None,
        tags=(),
        created_at=now,
        expires_at=now + 1,
    )
