"""Queued work, from the moment it is taken to the line that answers it.

One server of those that share a Redis does the work, in rounds, while it holds the lease; all of
them take jobs and show them. A round that fails is counted, and the next one goes on from what is
in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from cacheserver.batches.collect import Collector
from cacheserver.batches.context import BatchContext, CallPlanner, Decider, Storer
from cacheserver.batches.direct import Direct
from cacheserver.batches.eligibility import Series
from cacheserver.batches.expiry import Expirer
from cacheserver.batches.jobs import Job, Jobs, NoRoom
from cacheserver.batches.lookup import CacheLookup
from cacheserver.batches.submit import Claude, Submitter
from cacheserver.batches.webhook import Webhooks
from cacheserver.cache.answer import Settlement, Ticket
from cacheserver.core import request_context
from cacheserver.core.errors import OverBudget, RateLimited, StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Hit, Miss, Query, Tenant
from cacheserver.webhooks.safe_post import Poster

_FULL_S = 60  # until another try where no room is left: most jobs of ours take minutes


class BatchScheduler:
    """Takes jobs, works on them between `start` and `close`, and tells how far they are."""

    def __init__(
        self,
        desk: BatchContext,
        *,
        decider: Decider,
        call_planner: CallPlanner,
        keeper: Storer,
        claude: Claude,
        ready: Callable[[], Awaitable[object]],  # returns once similarity is asked
        poster: Poster,
        series: Series | None = None,
    ) -> None:
        self.series = Series() if series is None else series
        self._desk = desk
        self._ready = ready
        self._sorter = CacheLookup(desk, decider, call_planner)
        harvester = Collector(desk, keeper, self._sorter)
        self._shipper = Submitter(desk, claude, harvester)
        self._ender = Expirer(desk, self._shipper, harvester)
        self._direct = Direct(desk, harvester)
        self.webhooks = Webhooks(desk, poster)
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def jobs(self) -> Jobs:
        return self._desk.jobs

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._work(), name="batches:work"),
            asyncio.create_task(self._hold(), name="batches:lease"),
        ]

    async def close(self) -> None:
        """Stop; what is under way goes on here or elsewhere after a start."""
        for task in self._tasks:
            await end(task)
        self._tasks = []
        await self._direct.close()
        await self.webhooks.close()
        if self._desk.work.token:
            await self._desk.tried("batch-rows", self._desk.rows.confirm())
        try:
            await self._desk.work.give_back()
        except StoreError:
            self._desk.metrics.swallowed("batch-lease")

    async def afford(self, job: Job, tenant: Tenant) -> None:
        """Raise `OverBudget` where a batch could have nothing asked, and the tenant refuses then.

        One that will only have what is stored spends nothing, and is taken.
        """
        if job.controls.only:
            return
        verdict = await self._desk.budgets.spent_out(tenant, job.key_id, self._desk.clock())
        if verdict is not None:
            self._desk.count(tenant.name, "refused")
            headers = {"x-cache": "miss", "x-cache-reason": "budget", **verdict.headers}
            raise OverBudget(verdict.message, headers=headers)

    async def afford_one(self, query: Query) -> None:
        """The same of one question, which is looked up first: what is stored is free."""
        desk = self._desk
        ticket = Ticket.taken(desk.clock())
        verdict = await desk.budgets.spent_out(query.tenant, query.key_id, ticket.started_at)
        if (
            verdict is None
            or query.controls.only
            or isinstance(await desk.service.look(query), Hit)
        ):
            return
        settlement = Settlement(cost=0, saved=0, status=OverBudget.status)
        headers = desk.settler.settle(query, ticket, Miss("budget"), settlement)
        await desk.settler.written(ticket)
        raise OverBudget(verdict.message, headers={**headers, **verdict.headers})

    async def take(self, job: Job, items: list[tuple[str, bytes]], *, keep_s: int) -> Job:
        """Keep a job; from here on it is answered, whatever happens.

        Raises `StoreError`, and `RateLimited` where there is no room for it.
        """
        seen = request_context.current()
        trace = None if seen is None or seen.trace is None else seen.trace.header
        job = replace(job, created_at=self._desk.clock(), total=len(items), trace=trace)
        try:
            made_room = await self._desk.jobs.create(job, items, keep_s=keep_s)
        except NoRoom:
            message = (
                "the jobs under way leave no room for this one; try again when some have ended"
            )
            raise RateLimited(message, {"retry-after": str(_FULL_S)}) from None
        if made_room:
            self._desk.metrics.dropped("jobs", made_room)
        self._hurry.set()
        return await self._desk.jobs.find(job.id) or job

    async def cancel(self, job: Job) -> bool:
        """Ask for a job's end. False where it has ended."""
        done = await self._desk.jobs.cancel(job.id, self._desk.clock())
        self._hurry.set()
        return done

    async def changed(self) -> None:
        """Return after the next round, or soon: then a job may have come further."""
        changed = self._changed
        try:
            async with asyncio.timeout(self._desk.pace.tick_s):
                await changed.wait()
        except TimeoutError:
            return

    async def _hold(self) -> None:
        """Hold on to the lease, while rounds may take longer than it lasts."""
        desk = self._desk
        while True:
            began = time.monotonic()
            try:
                if await desk.work.take(desk.pace.lease_s):
                    desk.held_until = began + desk.pace.lease_s
            except StoreError:
                desk.metrics.swallowed("batch-lease")
            held = desk.held_until > began
            if held:
                self._hurry.set()
            await asyncio.sleep(desk.pace.lease_s / 3 if held else desk.pace.tick_s)

    async def _work(self) -> None:
        await self._ready()  # while the index is restored, what it would find were sent
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._desk.pace.tick_s):
                    await self._hurry.wait()
            self._hurry.clear()
            if self._desk.work.token:
                await self._round()
            self._changed.set()
            self._changed = asyncio.Event()

    async def _round(self) -> None:
        """Everything that is due, each a step further. What fails holds up nothing else."""
        await self._desk.tried("batch-cancel", self._ender.cancel())
        if await self._desk.tried("batch-sort", self._sorter.sort()):
            self._hurry.set()
        await self._desk.tried("batch-late", self._ender.late())
        await self._desk.tried("batch-pack", self._shipper.pack())
        await self._desk.tried("batch-tend", self._shipper.tend())
        await self._desk.tried("batch-direct", self._direct.start())
        await self._desk.tried("webhook", self.webhooks.start())
        await self._desk.tried("batch-rows", self._desk.rows.confirm())
