"""The scheduler of queued work: it takes jobs and works on them in rounds.

One of the servers that share a Redis does the work while it holds the lease; all of them take jobs
and show them. A step that fails is counted, and the next round goes on from what is in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from cacheserver.batches.collect import Collector
from cacheserver.batches.context import AnswerStore, BatchContext, CallPlanner, Decider
from cacheserver.batches.direct import Direct
from cacheserver.batches.eligibility import Series
from cacheserver.batches.expiry import Expirer
from cacheserver.batches.jobs import Job, Jobs, NoRoom
from cacheserver.batches.lookup import CacheLookup
from cacheserver.batches.submit import Claude, Submitter
from cacheserver.batches.webhook import Webhooks
from cacheserver.cache.answer import Settlement
from cacheserver.cache.request import Request
from cacheserver.core import request_context
from cacheserver.core.errors import OverBudget, RateLimited, StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Hit, Miss, Query, Tenant
from cacheserver.webhooks.safe_post import Poster

_FULL_S = 60  # `retry-after` if there is no room: most jobs take minutes


class BatchScheduler:
    """Takes jobs, and works on them between `start` and `close`."""

    def __init__(
        self,
        context: BatchContext,
        *,
        decider: Decider,
        call_planner: CallPlanner,
        answer_store: AnswerStore,
        claude: Claude,
        ready: Callable[[], Awaitable[object]],  # returns once the index is restored
        poster: Poster,
        series: Series | None = None,
    ) -> None:
        self.series = Series() if series is None else series
        self._context = context
        self._ready = ready
        self._lookup = CacheLookup(context, decider, call_planner)
        collector = Collector(context, answer_store, self._lookup)
        self._submitter = Submitter(context, claude, collector)
        self._expirer = Expirer(context, self._submitter, collector)
        self._direct = Direct(context, collector)
        self.webhooks = Webhooks(context, poster)
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._holds = False  # the lease, as far as is known

    @property
    def jobs(self) -> Jobs:
        return self._context.jobs

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._work(), name="batches:work"),
            asyncio.create_task(self._hold(), name="batches:lease"),
        ]

    async def close(self) -> None:
        """Stop; work under way continues after the next start, here or on another server."""
        for task in self._tasks:
            await end(task)
        self._tasks = []
        await self._direct.close()
        await self.webhooks.close()
        if self._context.work.token:
            await self._context.attempt("batch-rows", self._context.rows.confirm())
        try:
            await self._context.work.give_back()
        except StoreError:
            self._context.metrics.swallowed("batch-lease")

    async def afford(self, job: Job, tenant: Tenant) -> None:
        """Raise `OverBudget` if a spent budget would refuse every call of a batch.

        A batch with `only-if-cached` spends nothing, and is taken.
        """
        if job.controls.only:
            return
        verdict = await self._context.budgets.spent_out(tenant, job.key_id, self._context.clock())
        if verdict is not None:
            self._context.count(tenant.name, "refused")
            headers = {"x-cache": "miss", "x-cache-reason": "budget", **verdict.headers}
            raise OverBudget(verdict.message, headers=headers)

    async def afford_one(self, query: Query) -> None:
        """Raise `OverBudget` as `afford`, for one question that is not stored."""
        context = self._context
        request = Request.begin(query, context.clock())
        verdict = await context.budgets.spent_out(query.tenant, query.key_id, request.started_at)
        if (
            verdict is None
            or query.controls.only
            or isinstance(await context.service.look_up(query), Hit)
        ):
            return
        settlement = Settlement(Miss("budget"), cost=0, saved=0, status=OverBudget.status)
        headers = context.settler.settle(request, settlement)
        await context.settler.recorded(request)
        raise OverBudget(verdict.message, headers={**headers, **verdict.headers})

    async def take(self, job: Job, items: list[tuple[str, bytes]], *, keep_s: int) -> Job:
        """Store a job; from here on it will be answered, whatever happens.

        Raises `StoreError`, and `RateLimited` where there is no room for it.
        """
        seen = request_context.current()
        trace = None if seen is None or seen.trace is None else seen.trace.header
        job = replace(job, created_at=self._context.clock(), total=len(items), trace=trace)
        try:
            made_room = await self._context.jobs.create(job, items, keep_s=keep_s)
        except NoRoom:
            message = (
                "the jobs under way leave no room for this one; try again when some have ended"
            )
            raise RateLimited(message, {"retry-after": str(_FULL_S)}) from None
        if made_room:
            self._context.metrics.dropped("jobs", made_room)
        self._hurry.set()
        return await self._context.jobs.find(job.id) or job

    async def cancel(self, job: Job) -> bool:
        """Request the end of a job. False if it has ended."""
        done = await self._context.jobs.cancel(job.id, self._context.clock())
        self._hurry.set()
        return done

    async def changed(self) -> None:
        """Wait for the end of the next round, `tick_s` at most."""
        changed = self._changed
        try:
            async with asyncio.timeout(self._context.pace.tick_s):
                await changed.wait()
        except TimeoutError:
            return

    async def _hold(self) -> None:
        """Renew the lease: a round may take longer than it lasts."""
        context = self._context
        while True:
            began = time.monotonic()
            try:
                self._holds = await context.work.take(context.pace.lease_s)
                if self._holds:
                    context.held_until = began + context.pace.lease_s
            except StoreError:
                self._holds = False
                context.metrics.swallowed("batch-lease")
            held = context.held_until > began
            if held:
                self._hurry.set()
            await asyncio.sleep(context.pace.lease_s / 3 if held else context.pace.tick_s)

    async def _work(self) -> None:
        await self._ready()  # before the index is restored, hits would be sent to Claude
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._context.pace.tick_s):
                    await self._hurry.wait()
            self._hurry.clear()
            if self._holds:
                await self._round()
            self._changed.set()
            self._changed = asyncio.Event()

    async def _round(self) -> None:
        """Do one step of everything that is due. A failure delays nothing else."""
        await self._context.attempt("batch-cancel", self._expirer.cancel())
        if await self._context.attempt("batch-sort", self._lookup.run()):
            self._hurry.set()
        await self._context.attempt("batch-late", self._expirer.late())
        await self._context.attempt("batch-pack", self._submitter.pack())
        await self._context.attempt("batch-tend", self._submitter.tend())
        await self._context.attempt("batch-direct", self._direct.start())
        await self._context.attempt("webhook", self.webhooks.start())
        await self._context.attempt("batch-rows", self._context.rows.confirm())
