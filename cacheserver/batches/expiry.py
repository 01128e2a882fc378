"""Ends that come early: jobs that were cancelled, asks whose time is over."""

from __future__ import annotations

from cacheserver.batches import results as lines
from cacheserver.batches.collect import Collector
from cacheserver.batches.context import BatchContext
from cacheserver.batches.jobs import Job
from cacheserver.batches.results import Line
from cacheserver.batches.submit import Submitter
from cacheserver.batches.work_queue import DIRECT, Ship, Waiter
from cacheserver.cache.answer import Ticket
from cacheserver.core.types import Tenant


class Expirer:
    """Ends what nobody waits for any more.

    What is at Claude's already is cancelled there only where nobody else waits for that batch;
    else its answer is paid for in any case, comes, and is reported.
    """

    def __init__(self, desk: BatchContext, shipper: Submitter, harvester: Collector) -> None:
        self._desk = desk
        self._shipper = shipper
        self._harvester = harvester

    async def cancel(self) -> None:
        """Take each job that is to be cancelled as far as it goes now."""
        desk = self._desk
        for id in await desk.work.cancelling():
            job = await desk.jobs.find(id)
            if job is None or job.status == "ended":
                await desk.work.drop_cancelling(id)
                continue
            await self._cancel(job)

    async def late(self) -> None:
        """Ask at once, or give up, what has waited too long."""
        desk = self._desk
        for key in await desk.work.late(desk.clock()):
            (ask,) = await desk.work.asks([key], "ship")
            _, items = await self._harvester.items(key)
            if "ship" in ask:
                ship = await desk.work.ship(ask["ship"].decode())
                # Claude gives up a batch's own items itself, a day after it got them.
                if ship is not None and any(item.job.kind == "query" for item in items):
                    if ship.state != "sent":
                        continue  # not known there yet; it is looked for
                    await self._shipper.cancel(ship)
                await desk.work.in_time(key)
            elif items and all(item.job.kind == "batch" for item in items):
                await self._harvester.failed(key, "expired", lines.EXPIRED)
            elif items:
                await desk.work.requeue(key, DIRECT, desk.clock(), {})
                desk.count(items[0].job.tenant, "late")
            else:
                await desk.work.in_time(key)

    async def _cancel(self, job: Job) -> None:
        desk = self._desk
        tenant = await desk.tenants.get(job.tenant)
        waiting = await desk.work.asked_by(job.id)
        for item in range(job.cursor, job.total):
            if item not in waiting:
                await self._end(job, tenant, item)
        nonces: set[str] = set()
        for item, key in waiting.items():
            (ask,) = await desk.work.asks([key], "ship")
            if "ship" in ask:
                nonces.add(ask["ship"].decode())
                continue
            (waiters,) = await desk.work.waiters([key])
            for waiter in waiters:
                if (waiter.job, waiter.item) == (job.id, item):
                    await self._leave(job, tenant, waiter, key)
        for nonce in nonces:
            ship = await desk.work.ship(nonce)
            if ship is not None and not ship.cancelled and await self._unwanted(ship):
                await self._shipper.cancel(ship)

    async def _end(self, job: Job, tenant: Tenant, item: int) -> None:
        line = await self._canceled(job, tenant, Waiter(job.id, item, "same"))
        if line is not None:
            desk = self._desk
            if await desk.work.answer(desk.told(line), desk.clock(), cursor=item + 1):
                desk.ended(line)

    async def _leave(self, job: Job, tenant: Tenant, waiter: Waiter, key: str) -> None:
        line = await self._canceled(job, tenant, waiter)
        if line is not None:
            desk = self._desk
            if await desk.work.leave(desk.told(line), key, desk.clock()):
                desk.ended(line)

    async def _canceled(self, job: Job, tenant: Tenant, waiter: Waiter) -> Line | None:
        """The line of an item that is cancelled; None where it has ended."""
        desk = self._desk
        (found,) = await desk.jobs.items(job.id, [waiter.item])
        if found is None:
            return None
        custom_id, raw = found
        return lines.unanswered(
            *(waiter, custom_id, desk.whose(job, tenant, raw), "canceled", lines.CANCELED),
            decision=lines.GIVEN_UP["canceled"],
            ticket=Ticket(desk.clock()),
        )

    async def _unwanted(self, ship: Ship) -> bool:
        """Whether only cancelled jobs wait for a batch."""
        desk = self._desk
        cancelling = set(await desk.work.cancelling())
        for waiters in await desk.work.waiters(await desk.work.load(ship.nonce)):
            if any(waiter.job not in cancelling for waiter in waiters):
                return False
        return True
