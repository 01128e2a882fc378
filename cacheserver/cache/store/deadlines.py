"""New deadlines of stored answers, set by an operator.

The deadline is in the entry, in the row of its vectors and in Redis itself; all of it changes in
one script, and only if nothing has changed since it was read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson

from cacheserver.cache.store import codec, entry_scripts
from cacheserver.cache.store.codec import VectorRow
from cacheserver.cache.store.hot_entries import HotEntries
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Entry
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.sealer import Sealer

_TRIES = 5  # its vectors may be written at the same time, after a change of the embedder


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
        for _ in range(_TRIES):
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
            changed = await self._hot.noted(
                self._script,
                *(entry_id, fingerprint, meta),
                orjson.dumps([fingerprint, size + more, cost, whose, groups, *stands]),
                *(value, new_value, vectors or b"", new_vectors),
                *(now_ms + life_ms, life_ms, more),
            )
            self._hot.drop_ids([entry_id])
            await self._hot.confirm()
            if changed:
                return entry, row
        raise StoreError("the entry changes all the time")

    def _sealed(self, kind: str, entry: Entry, value: bytes) -> bytes:
        of = {"tenant": entry.tenant, "fingerprint": entry.fingerprint}
        return codec.seal(self._sealer, kind, **of, value=value)
