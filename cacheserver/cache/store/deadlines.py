"""New deadlines of stored answers, set by an operator.

The deadline is in the entry, in the row of its vectors and in Redis itself; all of it changes in
one script, and only if nothing has changed since it was read. A deadline that a failover has lost
is set again unless a newer one has been (`storage.change_order`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import orjson

from cacheserver.cache.store import codec, entry_scripts
from cacheserver.cache.store.codec import VectorRow
from cacheserver.cache.store.hot_entries import HotEntries
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Entry
from cacheserver.storage.change_order import NEVER, NEW, UNKNOWN
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.sealer import Sealer

_TRIES = 5  # its vectors may be written at the same time, after a change of the embedder


Words: TypeAlias = tuple[str | bytes | float, ...]


@dataclass(slots=True)
class _Change:
    """Words that were last sent for a change, and the version that it has by the reply."""

    words: Words = ()
    version: bytes = NEVER


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The words of a change, and the entry and its vectors as it leaves them."""

    words: Words
    entry: Entry
    row: VectorRow | None


class Deadlines:
    """Changes deadlines in the store and in the memory of the servers."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        sealer: Sealer,
        hot: HotEntries,
        clock: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._sealer = sealer
        self._hot = hot
        self._clock = clock
        self._script = redis.register_script(entry_scripts.DEADLINE)

    async def set(
        self, tenant: str, entry_id: str, expires_at: float, *, keep_s: int
    ) -> tuple[Entry, VectorRow | None] | None:
        """Set when an entry of `tenant` expires; it is kept `keep_s` longer, to be served stale.

        Returns the entry and its vectors with the new deadline, None if there is no such entry.
        Raises `StoreError`.
        """
        change = _Change()
        again = partial(self._again, change, tenant, entry_id, expires_at, keep_s)
        self._redis.recent.note(again)
        for _ in range(_TRIES):
            found = await self._prepared(tenant, entry_id, expires_at, keep_s)
            if found is None:
                return None
            change.words, change.version = found.words, UNKNOWN
            reply = await self._hot.change(self._script, *found.words, NEW)
            change.version = reply or NEVER
            self._hot.drop_ids([entry_id])
            await self._hot.confirm()
            if reply:
                return found.entry, found.row
        raise StoreError("the entry changes all the time")

    async def _again(
        self, change: _Change, tenant: str, entry_id: str, expires_at: float, keep_s: int
    ) -> None:
        """Set a deadline again that a failover has lost, unless a newer one has been set."""
        if change.version == NEVER:
            return
        if change.version == UNKNOWN:
            await self._hot.change(self._script, *change.words, UNKNOWN)
            return
        for _ in range(_TRIES):
            found = await self._prepared(tenant, entry_id, expires_at, keep_s)
            if found is None or await self._hot.change(self._script, *found.words, change.version):
                return
        raise StoreError("the entry changes all the time")

    async def _prepared(
        self, tenant: str, entry_id: str, expires_at: float, keep_s: int
    ) -> _Prepared | None:
        """Return a change of an entry as it is stored now; None if there is no such entry."""
        meta = await command(self._redis, "HGET", f"{self._prefix}ids", entry_id)
        if meta is None:
            return None
        fingerprint, size, cost, whose, groups, *stands = orjson.loads(meta)
        keys = (f"{self._prefix}e:{fingerprint}", f"{self._prefix}v:{fingerprint}")
        value, vectors = await command(self._redis, "MGET", *keys)
        await self._sealer.know((value, vectors), at=codec.ID_END)
        entry = codec.unpack_entry(codec.unseal(self._sealer, "answers", fingerprint, value))
        if entry is None or entry.id != entry_id or not tenant == whose == entry.tenant:
            return None
        row = codec.unpack_vectors(codec.unseal(self._sealer, "vectors", fingerprint, vectors))
        await self._sealer.ready(tenant)
        entry = replace(entry, expires_at=expires_at)
        new_value = self._sealed("answers", entry, codec.pack_entry(entry))
        new_vectors = vectors or b""
        if row is not None and row.entry_id == entry_id:
            row = replace(row, expires_at=expires_at)
            new_vectors = self._sealed("vectors", entry, codec.pack_vectors(row))
        else:
            row = None
        stands = [round(expires_at * 1000)] if stands else []  # of a curated answer
        more = len(new_value) - len(value)
        more += 2 * (len(new_vectors) - len(vectors or b""))
        now_ms = round(self._clock() * 1000)
        life_ms = max(1, round((expires_at + keep_s) * 1000) - now_ms)
        new_meta = orjson.dumps([fingerprint, size + more, cost, whose, groups, *stands])
        words: Words = (
            *(entry_id, fingerprint, meta, new_meta),
            *(value, new_value, vectors or b"", new_vectors),
            *(now_ms + life_ms, life_ms, more),
        )
        return _Prepared(words, entry, row)

    def _sealed(self, kind: str, entry: Entry, value: bytes) -> bytes:
        of = {"tenant": entry.tenant, "fingerprint": entry.fingerprint}
        return codec.seal(self._sealer, kind, **of, value=value)
