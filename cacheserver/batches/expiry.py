"""Early ends: cancelled jobs, and asks whose deadline has passed."""

from __future__ import annotations

from cacheserver.batches import call_codec, results
from cacheserver.batches.collect import Collector
from cacheserver.batches.context import BatchContext
from cacheserver.batches.jobs import Job
from cacheserver.batches.results import ItemResult
from cacheserver.batches.submit import Submitter
from cacheserver.batches.work_queue import DIRECT, UpstreamBatch, Waiter
from cacheserver.cache.request import Request
from cacheserver.core.types import Tenant
from cacheserver.matching.verification_outcome import Verified


class Expirer:
    """Ends items of cancelled jobs and of asks that are too late.

    A batch that Claude has is cancelled there only if nobody else waits for it; otherwise its
    answers are paid for in any case, and are reported.
    """

    def __init__(self, context: BatchContext, submitter: Submitter, collector: Collector) -> None:
        self._context = context
        self._submitter = submitter
        self._collector = collector

    async def cancel(self) -> None:
        """Cancel the items of ending jobs that can be cancelled now."""
        context = self._context
        for id in await context.work.cancelling():
            job = await context.jobs.find(id)
            if job is None or job.status == "ended":
                await context.work.drop_cancelling(id)
                continue
            await self._cancel(job)

    async def late(self) -> None:
        """Call Claude directly for asks that are too late, or expire them."""
        context = self._context
        for key in await context.work.late(context.clock()):
            (ask,) = await context.work.asks([key], "ship")
            _, items = await self._collector.items(key)
            if "ship" in ask:
                batch = await context.work.batch(ask["ship"].decode())
                # Claude expires the items of a batch itself, a day after it got them.
                if batch is not None and any(item.job.kind == "query" for item in items):
                    if batch.state != "sent":
                        continue  # Claude may not have it yet; `Submitter` looks for it
                    await self._submitter.cancel(batch)
                await context.work.in_time(key)
            elif items and all(item.job.kind == "batch" for item in items):
                await self._collector.take_failure(key, "expired", results.EXPIRED)
            elif items:
                await context.work.requeue(key, DIRECT, context.clock(), {})
                context.count(items[0].job.tenant, "late")
            else:
                await context.work.in_time(key)

    async def _cancel(self, job: Job) -> None:
        context = self._context
        tenant = await context.tenants.get(job.tenant)
        waiting = await context.work.asks_of(job.id)
        for item in range(job.cursor, job.total):
            if item not in waiting:
                await self._end(job, tenant, item)
        nonces: set[str] = set()
        for item, key in waiting.items():
            (ask,) = await context.work.asks([key], "ship")
            if "ship" in ask:
                nonces.add(ask["ship"].decode())
                continue
            (waiters,) = await context.work.waiters([key])
            for waiter in waiters:
                if (waiter.job, waiter.item) == (job.id, item):
                    await self._leave(job, tenant, waiter, key)
        for nonce in nonces:
            batch = await context.work.batch(nonce)
            if batch is not None and not batch.cancelled and await self._unwanted(batch):
                await self._submitter.cancel(batch)

    async def _end(self, job: Job, tenant: Tenant, item: int) -> None:
        line = await self._canceled(job, tenant, Waiter(job.id, item, "same"))
        if line is not None:
            context = self._context
            if await context.work.finish_item(
                context.encode(line), context.clock(), cursor=item + 1
            ):
                context.record(line)

    async def _leave(self, job: Job, tenant: Tenant, waiter: Waiter, key: str) -> None:
        field = call_codec.verified_field(waiter.hold)
        (ask,) = await self._context.work.asks([key], "verified", field)
        verified = call_codec.decode_verified(waiter.hold, ask)
        line = await self._canceled(job, tenant, waiter, verified)
        if line is not None:
            context = self._context
            if await context.work.leave(context.encode(line), key, context.clock()):
                context.record(line)

    async def _canceled(
        self, job: Job, tenant: Tenant, waiter: Waiter, verified: Verified | None = None
    ) -> ItemResult | None:
        """The result of a cancelled item; None if it has ended."""
        context = self._context
        (found,) = await context.jobs.items(job.id, [waiter.item])
        if found is None:
            return None
        custom_id, raw = found
        query = context.read_any(job, tenant, raw)
        request = Request(query, context.clock(), verified=verified)
        return results.unanswered(
            *(waiter, custom_id, request, "canceled", results.CANCELED),
            decision=results.GIVEN_UP["canceled"],
        )

    async def _unwanted(self, batch: UpstreamBatch) -> bool:
        """Return whether only cancelled jobs wait for a batch."""
        context = self._context
        cancelling = set(await context.work.cancelling())
        for waiters in await context.work.waiters(await context.work.load(batch.nonce)):
            if any(waiter.job not in cancelling for waiter in waiters):
                return False
        return True
