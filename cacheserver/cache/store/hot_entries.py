"""Stored answers in memory, parsed, while this server is the only one that changes them.

Rule: no answer is served from here that a change has removed by the time the change returned,
whichever server made it.

- A lease in the store (`P sole`) names the one server whose memory may be used. Scripts that change
  entries do nothing while it names another (`entry_scripts`): their server tells so in `P shared`,
  waits until the holder has dropped its memory or its lease is over, and tries again. So it does
  not matter how long a server, the store or a message between them was held up.
- The holder counts its lease from before it asked for it, and trusts half of it.
- Changes of its own are dropped here as they return. One whose outcome is unknown may still be
  carried out later: the server takes another name then, under which the old one's changes wait.
- A read that was under way during a change leaves nothing behind.

Servers that share a store read every entry from it. Ten seconds after the last other one has left,
the remaining one has the lease again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.commands.core import AsyncScript

from cacheserver.cache.store.entry_scripts import BUSY, SHARED_MS
from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Entry
from cacheserver.storage.connection import PREFIX, Connection, run_script

_LEASE_S = 2.0  # a server that died holds up changes of others for that long
_TRUSTED = 1 / 2  # of the lease
_RENEWED = 1 / 6  # of the lease; another server's first change waits for one turn of it
_IDLE_ROUNDS = 100  # half a minute without a look-up; then the store is left alone
_PAUSE_S = 0.02  # between the tries of a change that waits
_MOST_LEASES = 5  # that it waits for: one is enough unless the store was changed by hand
_OVERHEAD_BYTES = 2_000  # of an entry beside its texts, measured
# Goes on while the machine sleeps, where there is such a clock: leases end meanwhile.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

# ARGV: P, this server's name, lease (ms), how long a shared store is remembered (ms). Returns 2
# where the lease was taken anew (anything may have changed before), 1 where it went on without a
# gap, 0 where it must be let go, or is not to be had. `shared` holds the name of the last server
# that met another one: it is set again only by a different one, so it ends with the second server.
LEASE = """
local sole, shared = ARGV[1] .. 'sole', ARGV[1] .. 'shared'
local holder, met = redis.call('GET', sole), redis.call('GET', shared)
if holder == ARGV[2] then
  if met then return 0 end
  redis.call('PEXPIRE', sole, ARGV[3])
  return 1
end
if holder or (met and met ~= ARGV[2]) then
  redis.call('SET', shared, ARGV[2], 'PX', ARGV[4])
end
if holder or met then return 0 end
redis.call('SET', sole, ARGV[2], 'PX', ARGV[3])
return 2
"""

# ARGV: P, the name that the lease may have.
RELEASE = """
local sole = ARGV[1] .. 'sole'
if redis.call('GET', sole) == ARGV[2] then redis.call('DEL', sole) end
return 1
"""


class HotEntries:
    """Entries by fingerprint, `max_bytes` of them; 0: none, and no lease is asked for.

    `change` runs the scripts that change entries, of every server and command.
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        max_bytes: int = 0,
        lease_s: float = _LEASE_S,
        clock: Callable[[], float] = lambda: time.clock_gettime(_CLOCK),
    ) -> None:
        self.failures = 0  # of the lease's renewals
        self._prefix = prefix
        self._lease_s = lease_s
        self._clock = clock
        self._kept: LruBytes[str, Entry] = LruBytes(max_bytes)
        self._fingerprints: dict[str, str] = {}  # of the kept entries, by id
        self._name = _new_name()
        self._old_name: str | None = None  # whose lease is to be let go
        self._trusted_until = 0.0
        self._changes = 0
        self._used = False
        self._task: asyncio.Task[None] | None = None
        self._lease = redis.register_script(LEASE)
        self._release = redis.register_script(RELEASE)

    @property
    def size(self) -> int:
        """Return the bytes in use."""
        return self._kept.bytes

    @property
    def held(self) -> bool:
        """Return whether what is kept may be served."""
        return self._clock() < self._trusted_until

    def get(self, fingerprint: str, now: float) -> Entry | None:
        """Return an entry that has not expired at `now`, in Unix seconds."""
        if not self.held:
            self._ask_for_lease()
            return None
        self._used = True
        entry = self._kept.get(fingerprint)
        return entry if entry is not None and now < entry.expires_at else None

    def reading(self) -> int:
        """Return what to hand to `keep` with an entry that is read from the store from now on."""
        return self._changes

    def keep(self, entry: Entry, since: int) -> None:
        """Keep an entry, unless anything changed since `reading`."""
        if since != self._changes or not self.held:
            return
        self._fingerprints[entry.id] = entry.fingerprint
        size = _OVERHEAD_BYTES + len(entry.message) + 2 * len(entry.text or "")
        for gone in self._kept.put(entry.fingerprint, entry, size):
            self._fingerprints.pop(gone.id, None)

    def drop(self, fingerprint: str) -> None:
        """Drop the entry of `fingerprint`, which was replaced."""
        self._kept.pop(fingerprint)

    def drop_ids(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            if (fingerprint := self._fingerprints.pop(entry_id, None)) is not None:
                self._kept.pop(fingerprint)

    async def change(self, script: AsyncScript, *words: str | bytes | float) -> Any:
        """Run a script that changes entries, once no other server's memory holds them.

        The caller drops what was changed from here before it waits for anything else. Raises
        `StoreError`; then nothing is kept any more.
        """
        try:
            began = self._clock()
            while self._clock() - began < _MOST_LEASES * self._lease_s:
                reply = await run_script(script, self._prefix, *words, self._name)
                if reply != BUSY:
                    return reply
                await asyncio.sleep(_PAUSE_S)
            raise StoreError("another server has not dropped its memory of the entries")
        except BaseException:  # cancelled, too: it may be carried out all the same, and later
            self._begin_anew()
            raise
        finally:
            self._changes += 1

    async def close(self) -> None:
        """Drop everything, and the lease."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        await self._let_go()

    def _ask_for_lease(self) -> None:
        self._used = True
        if self._kept.max_bytes and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._renew(), name="store:lease")

    async def _renew(self) -> None:
        idle = 0
        while idle < _IDLE_ROUNDS:
            idle, self._used = (0 if self._used else idle + 1), False
            try:
                await self._renew_once()
            except StoreError:
                self.failures += 1
                self._begin_anew()  # it may have been carried out: the next would look like one
            await asyncio.sleep(self._lease_s * _RENEWED)
        await self._let_go()

    async def _renew_once(self) -> None:
        await self._release_old()
        asked_at, name = self._clock(), self._name
        lease_ms = round(self._lease_s * 1_000)
        status = await run_script(self._lease, self._prefix, name, lease_ms, SHARED_MS)
        if name != self._name:
            return
        if status == 0:
            await self._let_go()
            return
        if status == 2:
            self._forget()
        self._trusted_until = asked_at + self._lease_s * _TRUSTED

    async def _let_go(self) -> None:
        """Drop everything first, then give the lease to who waits for it."""
        if self._trusted_until:
            self._begin_anew()
        try:
            await self._release_old()
        except StoreError:
            self.failures += 1  # it ends by itself

    async def _release_old(self) -> None:
        if self._old_name is not None:
            await run_script(self._release, self._prefix, self._old_name)
            self._old_name = None

    def _begin_anew(self) -> None:
        """Drop everything, and take another name."""
        if self._trusted_until:
            self._old_name = self._name
        self._trusted_until = 0.0
        self._name = _new_name()
        self._forget()

    def _forget(self) -> None:
        self._changes += 1
        self._kept.clear()
        self._fingerprints.clear()


def _new_name() -> str:
    return secrets.token_hex(8)
