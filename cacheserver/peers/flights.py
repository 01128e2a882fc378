"""Calls under way on the servers of a store: one server leads each, the others wait for it.

Rule: a lease only saves calls. Whoever gets none, or cannot ask for one, makes its own call. A
lease is fenced: its value is of one holder and one call, and only that renews or releases it, so a
leader that comes late takes nothing from its successor.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from cacheserver.core.background import BackgroundWork, Counters, one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.peers import flight_scripts
from cacheserver.peers.peers import Peers
from cacheserver.storage.connection import PREFIX, Connection, read_values, run_script

LANDED: Final = "landed"  # a kind of change: the key of a call, and the name of its note
ASKING: Final = "asking"  # another: topic and name of a note
LEASE_S: Final = 3.0  # within it a dead leader is taken over; several lost renewals fit
_RENEWALS: Final = 4  # in the time of a lease
_MARGIN_S: Final = 0.01  # after the end of a lease until it is asked for: clocks differ
_TOGETHER: Final = 500  # leases renewed by one script


@dataclass(frozen=True, slots=True)
class Turn:
    """A server's part in a call: it holds the `lease`, or is to look for the answer.

    `waited`: another server's call has ended meanwhile. Without a lease, and if the answer is not
    found, it makes a call that it shares with no other server.
    """

    lease: Lease | None = None
    waited: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A note to other servers about a call: `value` is stored beside its lease, as long as that.

    The stream has the topic and the name only.
    """

    topic: str  # without spaces
    name: str  # of its key
    value: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    key: str  # of the call
    fence: str  # of this holder and this call alone
    note: Note | None = None


_NO_NOTE: Final = Note("", "", b"")


class FlightLeases(Protocol):
    """Leases of calls, across servers."""

    @property
    def many(self) -> bool:
        """Return whether there are other servers. Without any, no lease is needed."""

    async def turn(self, key: str, note: Note | None = None) -> Turn:
        """Take the lease of a call, or wait until its holder's call has ended. Raises nothing.

        `note`: what other servers are told if it is taken.
        """

    def release(self, lease: Lease) -> None:
        """Release a lease: the call has ended, and its answer is stored if it may be."""


class Flights:
    """The leases of this server's calls, and those who wait for other servers' calls.

    Nobody waits longer than a holder renews its lease.
    """

    def __init__(
        self,
        redis: Connection,
        peers: Peers,
        counters: Counters,
        *,
        prefix: str = PREFIX,
        lease_s: float = LEASE_S,
    ) -> None:
        self._redis = redis
        self._peers = peers
        self._counters = counters
        self._prefix = prefix
        self._lease_s = lease_s
        self._fences = itertools.count()
        self._held: dict[str, Lease] = {}  # by key
        self._waiters: dict[str, set[asyncio.Future[bool]]] = {}  # by key; whether it landed
        self._renewing: asyncio.Task[None] | None = None
        self._work = BackgroundWork("flights", counters, limit=10_000)
        self._take = redis.register_script(flight_scripts.TAKE)
        self._renew = redis.register_script(flight_scripts.RENEW)
        self._release = redis.register_script(flight_scripts.RELEASE)
        peers.listen(LANDED, self._landed, anew=self._look, missed=self._look, waited=False)
        peers.listen(ASKING, self._noted, anew=self._look, missed=self._look, waited=False)
        self._asking: Callable[[str, str], object] = lambda topic, name: None
        self._note_ended: Callable[[str], object] = lambda name: None
        self._gap: Callable[[], object] = lambda: None

    @property
    def many(self) -> bool:
        return self._peers.many

    def hear(
        self,
        asking: Callable[[str, str], object],
        ended: Callable[[str], object],
        gap: Callable[[], object],
    ) -> None:
        """Have other servers' notes told by topic and name, and by name when their call has ended.

        `gap`: notes, or their ends, may have been missed.
        """
        self._asking, self._note_ended, self._gap = asking, ended, gap

    async def notes(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the values of notes, None for one that is gone. Raises `StoreError`."""
        return await read_values(self._redis, [f"{self._prefix}fq:{name}" for name in names])

    async def turn(self, key: str, note: Note | None = None) -> Turn:
        """Take the lease of a call, or wait until its holder's call has ended. Raises nothing.

        `note`: what other servers are told if it is taken. A failing store is counted, and nobody
        is waited for.
        """
        waited = False
        while True:
            lease = Lease(key, f"{self._peers.name}:{next(self._fences)}", note)
            with self._waiting(key) as woken:  # before the script: what lands after it is heard
                try:
                    left_s = await self._ask(lease)
                except StoreError:
                    self._counters.swallowed("flights")
                    return Turn(None, waited)
                if left_s is None:
                    return Turn(lease, waited)
                waited = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s + _MARGIN_S):
                        if await woken:
                            return Turn(None, waited)

    def release(self, lease: Lease) -> None:
        """Release a lease and tell the other servers. Never blocks."""
        if self._held.get(lease.key) is lease:
            del self._held[lease.key]
            self._work.do(lambda: self._end(lease))

    async def close(self) -> None:
        """Stop renewing; leases that are still held end by themselves."""
        if self._renewing is not None:
            await end(self._renewing)
        await self._work.close()

    async def _ask(self, lease: Lease) -> float | None:
        """Take a lease; return how long its present holder has it, None if that is this one."""
        note = lease.note or _NO_NOTE
        words = (self._prefix, lease.key, lease.fence, self._lease_ms)
        told = (note.name, note.value, note.topic, self._peers.name)
        try:
            taken, left_ms = await run_script(self._take, *words, *told)
        except BaseException:  # it may have been taken all the same
            self._work.do(lambda: self._end(lease))
            raise
        if not taken:
            return max(int(left_ms), 0) / 1_000
        self._held[lease.key] = lease
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._keep_renewing(), name="flights:renew")
        return None

    @property
    def _lease_ms(self) -> int:
        return round(self._lease_s * 1_000)

    async def _end(self, lease: Lease) -> None:
        name = (lease.note or _NO_NOTE).name
        words = (self._prefix, lease.key, lease.fence, self._peers.name, name)
        await run_script(self._release, *words)

    async def _keep_renewing(self) -> None:
        """Renew all leases until none is held."""
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS)
            if not self._held:
                return
            try:
                with one_round():
                    for some in _batches(self._held):
                        await self._renew_some(some)
            except StoreError:
                self._counters.swallowed("flights")

    async def _renew_some(self, leases: Sequence[Lease]) -> None:
        words = list[str]()
        for one in leases:
            words += (one.key, one.fence, (one.note or _NO_NOTE).name)
        lost = await run_script(self._renew, self._prefix, self._lease_ms, *words)
        for at in lost:  # another server leads by now: this call goes on, and nobody waits for it
            lease = leases[int(at) - 1]
            if self._held.get(lease.key) is lease:
                del self._held[lease.key]

    @contextmanager
    def _waiting(self, key: str) -> Iterator[asyncio.Future[bool]]:
        woken = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(woken)
        try:
            yield woken
        finally:
            waiters.discard(woken)
            if not waiters and self._waiters.get(key) is waiters:
                del self._waiters[key]

    async def _landed(self, keys: Sequence[str]) -> None:
        for body in keys:
            key, _, name = body.partition(" ")
            self._wake(key, landed=True)
            if name:
                self._note_ended(name)

    async def _noted(self, bodies: Sequence[str]) -> None:
        for body in bodies:
            topic, _, name = body.partition(" ")
            self._asking(topic, name)

    async def _look(self) -> None:
        """Have all who wait ask for the lease again: what they wait for may never be told."""
        self._gap()
        for key in list(self._waiters):
            self._wake(key, landed=False)

    def _wake(self, key: str, *, landed: bool) -> None:
        for woken in self._waiters.get(key, ()):
            if not woken.done():
                woken.set_result(landed)


def _batches(held: Mapping[str, Lease]) -> Iterator[Sequence[Lease]]:
    leases = list(held.values())
    for start in range(0, len(leases), _TOGETHER):
        yield leases[start : start + _TOGETHER]
