"""Slots for calls in flight and calls that wait, shared fairly between tenants.

A tenant may hold seven times the free slots (dynamic thresholds, Choudhury and Hahne, IEEE/ACM
Transactions on Networking 6(2), 1998): alone 56 of 64, and less the more others hold. The last
slot is for a tenant that holds none. Waiting tenants take turns. Background work waits after
callers' and leaves them slots.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cacheserver.core.errors import Overloaded

_TIMES = 7  # what a tenant may hold, over what is free
_RESERVED = 8  # background work leaves an eighth of the slots free, at least one of several
_BACKGROUND = 4  # and holds a quarter of them, at least one


def fits(held: int, *, used: int, limit: int) -> bool:
    """Return whether a tenant that holds `held` of the `used` places may take another."""
    free = limit - used
    if held == 0:
        return free > 0
    return free > 1 and held < _TIMES * free


@dataclass(slots=True)
class _Work:
    """Slots held and calls that wait, of callers or of background work, by tenant."""

    held: Counter[str] = field(default_factory=Counter)
    queues: dict[str, deque[asyncio.Future[None]]] = field(default_factory=dict)  # in turn
    waiting: int = 0

    def drop(self, tenant: str, place: asyncio.Future[None]) -> None:
        queue = self.queues[tenant]
        queue.remove(place)
        self.waiting -= 1
        if not queue:
            del self.queues[tenant]


class Slots:
    """A bound on the calls in flight, on those that wait, and on how long they wait."""

    def __init__(self, *, limit: int, max_waiting: int, max_wait_s: float) -> None:
        self.limit = limit
        self.max_wait_s = max_wait_s
        self.max_waiting = max_waiting
        self._callers, self._background = _Work(), _Work()
        self._reserve = min(limit - 1, max(1, limit // _RESERVED))
        self._background_limit = max(1, limit // _BACKGROUND)

    @property
    def in_flight(self) -> int:
        return self._callers.held.total() + self._background.held.total()

    @property
    def waiting(self) -> int:
        return self._callers.waiting + self._background.waiting

    @property
    def full(self) -> bool:
        """Return whether every caller is turned away."""
        return self.in_flight >= self.limit and self._callers.waiting >= self.max_waiting

    @asynccontextmanager
    async def hold(self, tenant: str, *, background: bool = False) -> AsyncIterator[None]:
        """Hold a slot. Raises `Overloaded`."""
        await self.take(tenant, background=background, within_s=self.max_wait_s)
        try:
            yield
        finally:
            self.release(tenant, background=background)

    async def take(self, tenant: str, *, background: bool, within_s: float) -> None:
        """Return once a slot is held, to be released by `release`.

        Raises `Overloaded` if too many wait already, or none was free for `within_s`.
        """
        work = self._background if background else self._callers
        if tenant not in work.queues and self._free(work, tenant):
            work.held[tenant] += 1
            return
        queue = work.queues.get(tenant, deque())
        if not fits(len(queue), used=work.waiting, limit=self.max_waiting):
            raise Overloaded("queue-full")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        work.queues.setdefault(tenant, queue).append(place)
        work.waiting += 1
        try:
            async with asyncio.timeout(within_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():  # given a slot at the same moment
                self.release(tenant, background=background)
            else:
                work.drop(tenant, place)
            if isinstance(error, TimeoutError):
                raise Overloaded("queue-wait") from None
            raise

    def release(self, tenant: str, *, background: bool) -> None:
        """Release a slot, and pass it to the next tenant in turn."""
        work = self._background if background else self._callers
        work.held[tenant] -= 1
        if not work.held[tenant]:
            del work.held[tenant]  # tenants come and go; so do own keys
        while self._give(self._callers) or self._give(self._background):
            pass

    def _give(self, work: _Work) -> bool:
        """Give a free slot to the first tenant in turn that may have it."""
        for tenant, queue in work.queues.items():
            if not self._free(work, tenant):
                continue
            place = next((one for one in queue if not one.done()), None)
            if place is None:
                continue  # all of them are leaving
            work.drop(tenant, place)
            if tenant in work.queues:
                work.queues[tenant] = work.queues.pop(tenant)  # behind the others
            work.held[tenant] += 1
            place.set_result(None)
            return True
        return False

    def _free(self, work: _Work, tenant: str) -> bool:
        used = self.in_flight
        if work is self._background and (
            self.limit - used <= self._reserve or work.held.total() >= self._background_limit
        ):
            return False
        return fits(work.held[tenant], used=used, limit=self.limit)
