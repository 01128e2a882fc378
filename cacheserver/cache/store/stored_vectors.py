"""Vectors of stored questions in Redis: one row an entry, with a vector for each embedder.

A row lives as long as its entry, and is deleted with it (`entry_scripts`). Each method raises
`StoreError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import orjson

from cacheserver.cache.store import codec, entry_scripts
from cacheserver.cache.store.codec import VectorRow, pack_vectors, unpack_vectors
from cacheserver.core.types import Entry
from cacheserver.index.models import Vectors
from cacheserver.storage.connection import Connection, command, run_script
from cacheserver.storage.sealer import Sealer

Values: TypeAlias = Mapping[str, Sequence[bytes | None]]  # by entry id
Wanted: TypeAlias = Callable[[Collection[str]], Collection[str]]  # of entry ids those to be read

_SCAN = 1_000  # rows read by one round trip: about a megabyte
_AT_ONCE = 50  # rows unpacked on the event loop: half a millisecond; more are in a thread


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row beside an entry, as it was read."""

    id: str
    fingerprint: str
    meta: bytes  # of the hash `ids`
    value: bytes  # the row as stored; empty: none
    row: VectorRow | None  # None: there is none, or none of this entry that can be read


class StoredCosines:
    """Vectors of some entries, read beside them, and the cosines of a question with each.

    For an index whose own cosines are approximate.
    """

    def __init__(
        self,
        refs: Sequence[tuple[str, str]],
        beside: Callable[[str], Sequence[str]],
        *,
        prefix: str,
        sealer: Sealer,
    ) -> None:
        """`refs`: fingerprint and id of each entry. `beside`: the other keys."""
        self._fingerprints = {id: fingerprint for fingerprint, id in refs}
        self._beside = beside
        self._prefix = prefix
        self._sealer = sealer

    def keys(self, entry_id: str) -> Sequence[str]:
        return [f"{self._prefix}v:{self._fingerprints[entry_id]}", *self._beside(entry_id)]

    def compute(
        self, values: Values, vector: Vectors, *, embedder: str
    ) -> tuple[dict[str, float], Values]:
        """Return the cosines by entry id, and the values of the other keys.

        An entry without a vector of the embedder has no cosine.
        """
        cosines, others = dict[str, float](), dict[str, Sequence[bytes | None]]()
        for entry_id, (value, *rest) in values.items():
            others[entry_id] = rest
            fingerprint = self._fingerprints[entry_id]
            row = unpack_vectors(codec.unseal(self._sealer, "vectors", fingerprint, value))
            if row is None or row.entry_id != entry_id:
                continue
            stored = np.frombuffer(row.vectors.get(embedder, b""), np.float16)
            if stored.shape == vector.shape:
                # As FAISS does: half precision against single.
                cosines[entry_id] = min(1.0, float(stored.astype(np.float32) @ vector))
        return cosines, others


class StoredVectors:
    """Reads and replaces the rows."""

    def __init__(self, redis: Connection, *, prefix: str, sealer: Sealer) -> None:
        self._redis = redis
        self._prefix = prefix
        self._sealer = sealer
        self._replace = redis.register_script(entry_scripts.VECTORS)

    async def scan(self, wanted: Wanted = lambda ids: ids) -> AsyncIterator[VectorRow]:
        """Yield the row of every stored question, to restore the index. Any order.

        `wanted` is called with all ids that are there, some at a time, expired ones among them;
        rows that it does not return are not fetched.

        Stored throughout the scan means yielded; one may come twice, and one may be gone when it
        comes: the entry is asked before it is served anyway.
        """
        async for page in self.pages(wanted):
            for found in page:
                if found.row is not None:
                    yield found.row

    async def pages(
        self, wanted: Wanted = lambda ids: ids, *, size: int = _SCAN
    ) -> AsyncIterator[list[FoundRow]]:
        """Yield all entries with their rows, some at a time; as `scan`."""
        cursor = 0
        while True:
            cursor, found = await command(
                self._redis, "HSCAN", f"{self._prefix}ids", cursor, "COUNT", size
            )
            all_of = {id.decode(): meta for id, meta in found.items()}
            metas = {id: all_of[id] for id in wanted(all_of.keys())}
            names = [str(orjson.loads(meta)[0]) for meta in metas.values()]
            keys = [f"{self._prefix}v:{name}" for name in names]
            values = await command(self._redis, "MGET", *keys) if keys else []
            await self._sealer.know(values, at=codec.ID_END)
            yield [
                self._found(id, name, meta, value)
                for (id, meta), name, value in zip(metas.items(), names, values, strict=True)
            ]
            if cursor == 0:
                return

    async def of(self, fingerprints: Sequence[str]) -> list[VectorRow | None]:
        """Return the rows of these questions; None for one without a stored answer or vector."""
        if not fingerprints:
            return []
        keys = [f"{self._prefix}v:{one}" for one in fingerprints]
        values = await command(self._redis, "MGET", *keys)
        await self._sealer.know(values, at=codec.ID_END)
        # Opened here, since the keys in memory change on the event loop only.
        plain = [
            codec.unseal(self._sealer, "vectors", one, value)
            for one, value in zip(fingerprints, values, strict=True)
        ]
        if len(plain) <= _AT_ONCE:
            return list(map(unpack_vectors, plain))
        return await asyncio.to_thread(lambda: list(map(unpack_vectors, plain)))

    def beside(
        self, refs: Sequence[tuple[str, str]], others: Callable[[str], Sequence[str]]
    ) -> StoredCosines:
        """Return what reads the rows of (fingerprint, entry id) beside the entries and `others`."""
        return StoredCosines(refs, others, prefix=self._prefix, sealer=self._sealer)

    async def count(self) -> int:
        """Return the number of entries, some of which may have no vector."""
        return int(await command(self._redis, "HLEN", f"{self._prefix}ids"))

    async def are_stored(self, entry_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether it is stored, stale entries included."""
        found = await command(self._redis, "HMGET", f"{self._prefix}ids", *entry_ids)
        return [meta is not None for meta in found]

    async def questions(self, rows: Sequence[FoundRow]) -> list[Entry | None]:
        """Return the entries beside these rows; None for one that is gone or replaced."""
        if not rows:
            return []
        keys = [f"{self._prefix}e:{one.fingerprint}" for one in rows]
        values = await command(self._redis, "MGET", *keys)
        await self._sealer.know(values, at=codec.ID_END)
        read = [
            codec.unpack_entry(codec.unseal(self._sealer, "answers", one.fingerprint, value))
            for one, value in zip(rows, values, strict=True)
        ]
        return [
            entry if entry is not None and entry.id == one.id else None
            for one, entry in zip(rows, read, strict=True)
        ]

    async def replace(self, found: FoundRow, row: VectorRow) -> bool:
        """Store `row` in place of what was found. False: the entry or its row changed since."""
        await self._sealer.ready(row.tenant)
        value = codec.seal(
            self._sealer,
            "vectors",
            tenant=row.tenant,
            fingerprint=row.fingerprint,
            value=pack_vectors(row),
        )
        more = len(value) - len(found.value)
        meta = orjson.loads(found.meta)
        meta[1] += more
        stored = await run_script(
            self._replace,
            self._prefix,
            found.id,
            found.fingerprint,
            found.meta,
            orjson.dumps(meta),
            found.value,
            value,
            more,
        )
        return bool(stored)

    def _found(self, id: str, name: str, meta: bytes, value: bytes | None) -> FoundRow:
        row = unpack_vectors(codec.unseal(self._sealer, "vectors", name, value))
        if row is not None and row.entry_id != id:
            return FoundRow(id, name, meta, value or b"", None)
        return FoundRow(id, name, meta, value or b"", row)


def with_vectors(entry: Entry, row: VectorRow | None, vectors: Mapping[str, bytes]) -> VectorRow:
    """Return the row of an entry with these vectors beside those that it has."""
    if row is None:
        return codec.vector_row(entry, vectors)
    return replace(row, vectors={**row.vectors, **vectors})
