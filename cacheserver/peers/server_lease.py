"""The lease of a server: while it is held, what the server remembers may be trusted.

Rule: a change is in force once each server that holds a lease has applied it. So a server that
hears of no changes lets its lease lapse, and one that takes it anew first drops all that it
remembers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.peers import scripts
from cacheserver.peers.change_stream import NOTHING, ChangeStream, Counts
from cacheserver.peers.clock_check import ClockCheck
from cacheserver.peers.takeover import Takeover
from cacheserver.storage.connection import Connection, run_script

logger = logging.getLogger(__name__)

LEASE_S: Final = 1.0
_TRUSTED: Final = 0.9  # of a lease: the store's clock may run faster than ours
_BEATS: Final = 4  # in the time of a lease


class ServerLease:
    """The lease of this server, renewed by beats."""

    def __init__(
        self,
        redis: Connection,
        stream: ChangeStream,
        swallowed: Counts,
        *,
        prefix: str,
        name: str,
        length_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.live = 1  # servers, as of the last beat
        self.term = 0  # counts how often it was taken anew
        self._redis = redis
        self._stream = stream
        self._swallowed = swallowed
        self._clocks = ClockCheck(swallowed)
        self._prefix = prefix
        self._name = name
        self._length_s = length_s
        self._clock = clock
        self._trusted_until = 0.0
        self._settled_from = 0.0
        self._complete_from = 0.0  # every live server is in the store's list of them
        self._had_others = False  # when the lease was last trusted
        self._is_new = False  # what is remembered must be dropped before the lease is trusted
        self._beat_at = 0.0  # the last renewal that was answered
        self._takeover = Takeover(redis, prefix=prefix, name=name)
        self._beating: asyncio.Task[None] | None = None
        self._beat_script = redis.register_script(scripts.BEAT)
        self._leave_script = redis.register_script(scripts.LEAVE)

    @property
    def held(self) -> bool:
        """Return whether what this server remembers may be trusted now."""
        # A replica that took over may have back what was removed.
        return self._clock() < self._trusted_until and not self._redis.recent.unsure

    @property
    def settled(self) -> bool:
        """Return whether it is held, and no change of unknown outcome can be carried out still."""
        now = self._clock()
        return now < self._trusted_until and now >= self._settled_from

    @property
    def unlisted_s(self) -> float:
        """Return for how long live servers may not be in the store's list; 0 or less: all are."""
        return self._complete_from - self._clock()

    def doubt(self) -> None:
        """Note that the outcome of a change is not known: the store may carry it out later.

        A store that hung for longer than this has not renewed the lease either.
        """
        self._settled_from = self._clock() + self._length_s

    def note_unlisted(self) -> None:
        """Note that live servers may not be in the store's list: they are within a lease."""
        self._complete_from = self._clock() + self._length_s

    async def take(self) -> None:
        """Take it for the first time. Raises `StoreError`."""
        if await self._takeover.is_new():
            self._had_others = True  # it may: those that live are listed within a lease
            self.note_unlisted()
        await self._renew()

    async def keep(self) -> None:
        """Renew it, for ever."""
        while True:
            await asyncio.sleep(self._length_s / _BEATS)
            self.beat()

    def beat(self) -> asyncio.Task[None]:
        """Begin to renew it, unless that is under way. The task raises nothing."""
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="peers:beat")
        return self._beating

    def drop(self) -> None:
        """Trust nothing from now on."""
        self._trusted_until = 0.0

    async def give_back(self) -> None:
        """End what is under way, and leave the list. Raises `StoreError`: it ends by itself."""
        if self._beating is not None:
            await end(self._beating)
        await self._takeover.close()
        await run_script(self._leave_script, self._prefix, self._name)

    async def _beat(self) -> None:
        try:
            await self._renew()
        except Exception as error:  # the task boundary: the next beat tries again
            self._swallowed("peers")
            if not isinstance(error, StoreError):
                logger.error("renewing the lease failed: %s", type(error).__name__)

    async def _renew(self) -> None:
        """Renew it, unless changes are not heard of here: then it shall lapse."""
        self._takeover.begin()
        await self._stream.hear(self._length_s)
        asked_at = self._clock()
        if asked_at - self._stream.heard_at > self._length_s:
            return
        self._note_term(asked_at, went_on=await self._beat_store())
        if self._redis.recent.unsure and not await self._agreed():
            return
        await self._redis.recent.tell(self._stream.add_again)
        if self._is_new:  # or the last beat failed here
            await self._stream.begin_anew()
            self._is_new = False
        self._had_others = self.live > 1
        self._trusted_until = asked_at + self._length_s * _TRUSTED

    async def _beat_store(self) -> bool:
        """Renew it in the store; return whether it went on there without a gap."""
        went_on, recent = True, self._redis.recent
        while True:
            # A server that has changes to make again confirms nothing: the others wait for it.
            due = recent.due
            applied = NOTHING if due else self._stream.applied
            words = (self._prefix, self._name, round(self._length_s * 1_000), applied)
            was_listed, self.live, store_ms = await run_script(self._beat_script, *words)
            went_on = went_on and bool(was_listed)
            if due or not recent.due:
                break  # else the beat was the first to meet a replica that has taken over
        self._clocks.note(store_ms / 1_000)
        return went_on

    def _note_term(self, asked_at: float, *, went_on: bool) -> None:
        """Begin a new term if the lease had lapsed before the beat that was sent at `asked_at`."""
        # The reply to the beat that began a new lease may have been lost: then this one went on.
        lapsed = asked_at - self._beat_at > self._length_s * _TRUSTED
        self._beat_at = asked_at
        if lapsed or not went_on:
            self._is_new = True
            self.term += 1
            self._settled_from = self._clock() + self._length_s
            if self.term > 1:  # others may have lapsed with this one, and not be back yet
                self._complete_from = self._settled_from

    async def _agreed(self) -> bool:
        """Return whether all servers have made their removals again on a new primary."""
        listed = not self._had_others or self.unlisted_s <= 0
        if not await self._takeover.settle(wait_s=self._length_s / _BEATS, all_listed=listed):
            return False
        self.term += 1  # what was read meanwhile may be gone now
        self._is_new = True
        return True
