"""Stored answers in Redis, the only authority on what may be served.

Every change is one script (`entry_scripts`), so an entry, its vector, its tags and its share of the
size limit are written and deleted together. The lifetime is set with the first write, and only an
operator moves it (`deadlines`). A purged entry never comes back: a purge leaves a marker that
refuses the answers of calls made before it.

Every method raises `StoreError` when the store fails.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain

import orjson

from cacheserver.cache.store import codec, entry_scripts, stored_entry
from cacheserver.cache.store.codec import pack_entry, pack_vectors, unpack_entry
from cacheserver.cache.store.deadlines import Deadlines
from cacheserver.cache.store.entry_search import EntrySearch
from cacheserver.cache.store.hot_entries import HotEntries
from cacheserver.cache.store.seen import Seen
from cacheserver.cache.store.stored_entry import Replaced, Stored, Together, no_keys
from cacheserver.cache.store.stored_vectors import StoredVectors
from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import FIRST_EMBEDDER, Entry, Nanodollars
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.peers.work_lease import ALONE, Lease
from cacheserver.storage import key_groups
from cacheserver.storage.connection import PREFIX, Connection, command, read_values, run_script
from cacheserver.storage.sealer import PlainSealer, Sealer

# What an entry costs Redis beside its bytes (keys, ids, memberships): 880 were measured with
# Valkey 9.1, 20,000 entries of 3.3 kB with a vector and one tag.
OVERHEAD_BYTES = 900
HALF_LIFE_S = 86_400  # of a hit in GDSF's frequency: yesterday's count half of today's
# How long a purge is remembered: longer than the longest an answer can be under way (a batch, a
# day). An answer asked for before that cannot be told from a purged one, and is refused.
MARKER_S = 172_800
_STEP = 200  # entries dropped by one script, which blocks the store for 8 ms
_MOST_TOUCHED = 50_000  # entries whose hits wait to be counted; those of others are dropped
_UPKEEP_S = 5.0

log = logging.getLogger(__name__)


class Entries:
    """The stored answers.

    `forget` is called with the ids that this process removed (replaced, evicted, purged, expired),
    so that the index can drop them early. Ids that another process removed are dropped when found.
    As an async context it counts hits and sweeps in the background; `upkeep` does it by hand.
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
        forget: Callable[[Sequence[str]], None] | None = None,
        sealer: Sealer | None = None,
        embedder: str = FIRST_EMBEDDER,
        hot: HotEntries | None = None,
        lease: Lease = ALONE,
    ) -> None:
        """`embedder` is the one whose vectors `put` is given. `lease`: that of the upkeep."""
        self.lease = lease
        self.max_bytes = max_bytes
        self.evicted = 0  # by the size limit or at their deadline, by this process
        self.failures = 0  # rounds of upkeep that failed
        self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._forget = forget
        self._sealer = sealer or PlainSealer()
        self._embedder = embedder
        self.vectors = StoredVectors(redis, prefix=prefix, sealer=self._sealer)
        self.hot = hot or HotEntries(Peers(redis, uncounted, prefix=prefix), prefix=prefix)
        self.deadlines = Deadlines(
            redis, prefix=prefix, sealer=self._sealer, hot=self.hot, clock=clock
        )
        self.seen = Seen()
        self.search = EntrySearch(redis, prefix=prefix, sealer=self._sealer)
        self._touched: dict[str, tuple[int, Nanodollars]] = {}  # hits and what they saved, by id
        self._inflation = b""  # GDSF's L, as of the last upkeep or eviction; b"": to be looked up
        self._task: asyncio.Task[None] | None = None
        self._put = redis.register_script(entry_scripts.PUT)
        self._touch = redis.register_script(entry_scripts.TOUCH)
        self._sweep = redis.register_script(entry_scripts.SWEEP)
        self._purge = redis.register_script(entry_scripts.PURGE)
        self._purge_id = redis.register_script(entry_scripts.PURGE_ID)
        self._purge_ids = redis.register_script(entry_scripts.PURGE_IDS)
        self._saying = redis.register_script(stored_entry.SAY)

    async def __aenter__(self) -> Entries:
        self._task = asyncio.create_task(self._keep_up(), name="store:upkeep")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the upkeep, and count the hits since its last round."""
        if self._task is not None:
            await end(self._task)
            self._task = None
            try:
                await self._count_hits()
            except StoreError:
                self.failures += 1
        self.hot.close()

    async def get(self, fingerprint: str) -> Entry | None:
        """Return the entry of `fingerprint`, one past its `expires_at` included (stale)."""
        if (hot := self.hot.get(fingerprint, self._clock())) is not None:
            return hot
        return (await self.together((), exact=fingerprint)).exact

    async def grouped(self, refs: Sequence[tuple[str, str]]) -> list[Stored | None]:
        """The entries of (fingerprint, entry id) with group and marks, in one round trip.

        None stands for one that is gone, or was replaced by a newer answer with another id. One
        that nobody has compared yet is a group of its own, named by its id.
        """
        return (await self.together(refs)).grouped

    async def together(
        self,
        refs: Sequence[tuple[str, str]],
        *,
        beside: Callable[[str], Sequence[str]] = no_keys,
        exact: str | None = None,
    ) -> Together:
        """Read what `grouped` does, keys beside each entry, and the entry of a fingerprint.

        All in one round trip. `beside` returns the same number of keys for each entry id. Entries
        in memory are not read; their marks are.
        """
        since, now = self.hot.reading(), self._clock()
        hot = {fingerprint: self.hot.get(fingerprint, now) for fingerprint, _ in refs}
        asked = [one for one, entry in hot.items() if entry is None]
        if exact is not None and exact not in asked:
            asked.append(exact)
        keys = [f"{self._prefix}e:{fingerprint}" for fingerprint in asked]
        keys += [f"{self._prefix}s:{fingerprint}" for fingerprint, _ in refs]
        others = [beside(entry_id) for _, entry_id in refs]
        values = await read_values(self._redis, [*keys, *chain.from_iterable(others)])
        await self._sealer.know(values[: len(asked)], at=codec.ID_END)
        found = {one: self._entry(one, value) for one, value in zip(asked, values, strict=False)}
        for entry in found.values():
            if entry is not None:
                self.seen.add(entry.fingerprint)
                self.hot.keep(entry, since)
        grouped: list[Stored | None] = []
        for at, (fingerprint, entry_id) in enumerate(refs, len(asked)):
            entry = hot[fingerprint] or found[fingerprint]
            if entry is None or entry.id != entry_id:
                grouped.append(None)
                continue
            grouped.append(stored_entry.read(entry, values[at]))
        width = len(others[0]) if others else 0
        starts = range(len(keys), len(values), width) if width else ()
        read = {ref[1]: values[at : at + width] for ref, at in zip(refs, starts, strict=False)}
        return Together(grouped, None if exact is None else found[exact], read)

    async def set_group(self, entry: Entry, group: str) -> None:
        """Put `entry` into a group of entries with the same answer; deleted with the entry."""
        await self._say(entry, group=group)

    async def corroborate(self, entry: Entry) -> None:
        """Mark `entry` as corroborated by a second actor's answer; deleted with the entry."""
        await self._say(entry, add=stored_entry.CORROBORATED)

    async def pin(self, entry: Entry, *, pinned: bool) -> bool:
        """Pin or unpin `entry`. False: it is gone, or was replaced."""
        mark = {"add": stored_entry.PINNED} if pinned else {"drop": stored_entry.PINNED}
        return await self._say(entry, **mark)

    async def _say(self, entry: Entry, *, group: str = "", add: str = "", drop: str = "") -> bool:
        words = (entry.id, entry.fingerprint, group, add, drop)
        return bool(await run_script(self._saying, self._prefix, *words))

    async def by_id(self, tenant: str, entry_id: str) -> Entry | None:
        """Return the entry with that id if it is `tenant`'s."""
        meta = await command(self._redis, "HGET", f"{self._prefix}ids", entry_id)
        if meta is None:
            return None
        entry = await self.get(orjson.loads(meta)[0])
        if entry is None or entry.id != entry_id or entry.tenant != tenant:
            return None
        return entry

    async def put(
        self,
        entry: Entry,
        *,
        keep_s: int,
        vector: bytes | None,
        asked_at: float,
        lacks: bool = False,
        replaces: Replaced | None = None,
    ) -> bool:
        """Store `entry` in place of its fingerprint's last one, until `keep_s` past its deadline.

        False, and nothing stored: a purge since `asked_at` covers it, it is over already, or it
        alone exceeds the size limit. Makes room under that limit by what entries save per byte.
        `lacks`: the embedder failed, so the row says that the question is to be embedded later.
        """
        now = self._clock()
        life_ms = round((entry.expires_at + keep_s - now) * 1000)
        if life_ms <= 0 or now - asked_at >= MARKER_S:
            return False
        await self._sealer.ready(entry.tenant)
        value = self._sealed("answers", entry, pack_entry(entry))
        row = b""
        if vector is not None or lacks:
            vectors = {} if vector is None else {self._embedder: vector}
            row = self._sealed("vectors", entry, pack_vectors(codec.vector_row(entry, vectors)))
        size = len(value) + 2 * len(row) + OVERHEAD_BYTES  # vectors of its answer may follow
        if self.max_bytes is not None and size > self.max_bytes:
            return False
        meta = [
            entry.fingerprint,
            size,
            max((entry.cost if replaces is None else replaces.worth) or 0, 1),
            entry.tenant,
            key_groups.groups_of_entry(entry),
        ]
        if entry.origin in ("curated", "own"):
            meta.append(round(entry.expires_at * 1000))  # until then no other answer replaces it
        arguments: list[str | bytes | float] = [
            entry.id,
            value,
            row,
            orjson.dumps(meta),
            key_groups.entry_group(entry.tenant, entry.id),
            round(now * 1000),
            life_ms,
            repr(asked_at),
            self.max_bytes or 0,
            _STEP,
        ]
        self.seen.add(entry.fingerprint)
        old = "" if replaces is None else replaces.id or entry_scripts.NONE
        if replaced := "" if replaces is None else replaces.id:
            self.hot.note(self._purge_ids, replaced)  # if a failover brings it back
        pin = int(replaces is not None and replaces.pin)
        status, turns = 2, 0
        while status == 2:  # each turn evicts `_STEP` entries, so it ends
            reply = await self.hot.change(self._put, *arguments, self._inflation, old, pin)
            old = old and entry_scripts.NONE  # it has left in the first turn
            status, self._inflation, *dropped = reply
            self.hot.drop(entry.fingerprint)
            self._left(dropped)
            turns += 1
        if status == 3 or turns > 1:  # others may serve from memory what this one replaces
            await self.hot.confirm(lasting=bool(replaced))
        return bool(status)

    def touch(self, entry: Entry, saved: Nanodollars = 0) -> None:
        """Count a hit and what it saved. The lifetime stays as it is."""
        hits, before = self._touched.get(entry.id, (0, 0))
        if hits or len(self._touched) < _MOST_TOUCHED:
            self._touched[entry.id] = hits + 1, before + saved

    async def purge_id(self, tenant: str, entry_id: str) -> int:
        """Purge one entry of `tenant`; returns how many there were: 0 or 1."""
        words = (key_groups.entry_group(tenant, entry_id), repr(self._clock()), MARKER_S)
        if found := await self.hot.noted(self._purge_id, tenant, entry_id, *words):
            self._tell([entry_id])
        await self.hot.confirm()
        return int(found)

    async def purge_tag(self, tenant: str, tag: str) -> int:
        """Purge `tenant`'s entries with `tag`; returns how many there were."""
        return await self.purge_group(key_groups.tag_group(tenant, tag))

    async def purge_namespace(self, tenant: str, namespace: str) -> int:
        """Purge `tenant`'s entries in `namespace`; returns how many there were."""
        return await self.purge_group(key_groups.namespace_group(tenant, namespace))

    async def has_namespace(self, tenant: str, namespace: str) -> bool:
        """Return True if anything of `tenant`'s is stored in `namespace`. Raises `StoreError`."""
        group = key_groups.namespace_group(tenant, namespace)
        return bool(await command(self._redis, "EXISTS", f"{self._prefix}g:{group}"))

    async def purge_tenant(self, tenant: str) -> int:
        """Purge all of `tenant`'s entries; returns how many there were."""
        return await self.purge_group(key_groups.tenant_group(tenant))

    async def purge_group(self, group: str) -> int:
        """Purge a group of `storage.key_groups`; returns how many entries it had."""
        purge: list[str | bytes] = [group, repr(self._clock())]  # which the store may correct
        self._redis.recent.note(lambda: self._purge_all(purge, again=1))
        total = await self._purge_all(purge)
        await self.hot.confirm()
        return total

    async def _purge_all(self, purge: list[str | bytes], *, again: int = 0) -> int:
        total, cursor, since = 0, b"", self._redis.recent.takeovers
        while cursor != b"0":
            words = (*purge, MARKER_S, again, cursor or 0, _STEP)
            cursor, purge[1], *dropped = await self.hot.change(self._purge, *words)
            self._tell([entry_id.decode() for entry_id in dropped])
            total += len(dropped)
            if (now := self._redis.recent.takeovers) != since:  # the cursor was another server's
                cursor, again, since = b"", 0, now
        return total

    async def purge_ids(self, ids: Sequence[str]) -> int:
        """Purge these entries; returns how many of them were still there."""
        total = 0
        for start in range(0, len(ids), _STEP):
            dropped = await self.hot.noted(self._purge_ids, *ids[start : start + _STEP])
            self._tell([entry_id.decode() for entry_id in dropped])
            total += len(dropped)
        await self.hot.confirm()
        return total

    async def probe(self) -> None:
        """Write one key, to see that the store takes writes. Raises `StoreError`."""
        await command(self._redis, "SET", f"{self._prefix}probe", 1, "PX", 60_000)

    async def used_bytes(self) -> int:
        """Return what the entries take, in the size limit's own arithmetic."""
        return int(await command(self._redis, "HGET", f"{self._prefix}state", "bytes") or 0)

    async def upkeep(self) -> int:
        """Count the hits here; with the lease, drop what has expired: returns how many."""
        await self._count_hits()
        total, more = 0, self.lease.held
        while more:
            now_ms = round(self._clock() * 1000)
            dropped = await self.hot.change(self._sweep, now_ms, self.max_bytes or 0, _STEP)
            self._left(dropped)
            total += len(dropped)
            more = len(dropped) == _STEP
        self._inflation = b""
        return total

    async def _count_hits(self) -> None:
        touched, self._touched = self._touched, {}
        waiting = list(touched.items())
        for start in range(0, len(waiting), _STEP):
            words: list[str | int] = []
            for id, counts in waiting[start : start + _STEP]:
                words += (id, *counts)
            await run_script(self._touch, self._prefix, repr(self._clock()), HALF_LIFE_S, *words)

    async def _keep_up(self) -> None:
        while True:
            try:
                with one_round():
                    await self.upkeep()
            except StoreError as error:
                self.failures += 1
                log.warning("upkeep of the entries failed: %s", error)
            await asyncio.sleep(_UPKEEP_S)

    def _sealed(self, kind: str, entry: Entry, value: bytes) -> bytes:
        of = {"tenant": entry.tenant, "fingerprint": entry.fingerprint}
        return codec.seal(self._sealer, kind, **of, value=value)

    def _entry(self, fingerprint: str, value: bytes | None) -> Entry | None:
        return unpack_entry(codec.unseal(self._sealer, "answers", fingerprint, value))

    def _left(self, dropped: Sequence[bytes]) -> None:
        self.evicted += len(dropped)
        self._tell([entry_id.decode() for entry_id in dropped])

    def _tell(self, entry_ids: Sequence[str]) -> None:
        self.hot.drop_ids(entry_ids)
        if self._forget is not None and entry_ids:
            self._forget(entry_ids)
