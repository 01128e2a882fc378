"""Stored answers, listed and searched newest first, in pages. Off the request path.

Rule: a page reads until it is full or its time is over, and says where to go on. What is stored
throughout all pages is found; what comes or goes meanwhile may be left out.

Every method raises `StoreError` when the store fails.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from cacheserver.cache.store import codec, stored_entry
from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.cache.store.row_order import order_by
from cacheserver.cache.store.stored_entry import Stored
from cacheserver.cache.store.text_filter import mentioning
from cacheserver.core.types import Entry, Nanodollars
from cacheserver.storage import key_groups
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.sealer import Sealer

_SCAN: Final = 10_000  # ids read by one round trip: 4 ms of the store
_READ: Final = 200  # whole entries read at once: some 800 kB
_SEARCHED: Final = 1_000  # entries searched at once, in a thread
_READ_BYTES: Final = 2_000_000  # of those that are read at once for it
_LISTED_BYTES: Final = 16_000_000  # of ids kept for the pages to come: half a million
_LISTED_S: Final = 60.0  # another server's page may have come first
_ID: Final = "S32"
_AT_ONCE: Final = 50  # decoded without a thread: a millisecond
PAGE_S: Final = 0.5  # for one page; the round trip under way then is finished

_Ids: TypeAlias = NDArray[np.bytes_]

# Returns whether a tenant's texts are shown to nobody.
Withheld = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Conditions on entries; None: any. All of them must hold."""

    tenant: str | None = None
    namespace: str | None = None
    tag: str | None = None
    scope: str | None = None
    model: str | None = None  # that answered
    text: str | None = None  # a part of the question, in any case
    created_from: float | None = None  # Unix seconds, inclusive
    created_to: float | None = None  # exclusive
    hits_min: int | None = None
    hits_max: int | None = None
    pinned: bool | None = None


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """An entry, its marks, and what it has served and saved since hits are counted."""

    entry: Entry
    marks: Stored
    hits: int
    saved: Nanodollars
    size: int  # bytes, in the arithmetic of the size limit


@dataclass(frozen=True, slots=True)
class EntryPage:
    """A page, and the `before` of the next one; None: this was the last."""

    items: list[FoundEntry]
    next: str | None


class _Row(NamedTuple):
    id: str
    fingerprint: str
    size: int
    tenant: str
    groups: Sequence[str]


async def nothing_withheld(tenant: str) -> bool:
    """Every tenant's texts may be searched."""
    return False


class EntrySearch:
    """Reads stored answers by what they are, whole and with their marks and hits."""

    def __init__(self, redis: Connection, *, prefix: str, sealer: Sealer) -> None:
        self._redis = redis
        self._prefix = prefix
        self._sealer = sealer
        self._listed = LruBytes[tuple[str, str], tuple[float, _Ids]](_LISTED_BYTES)  # by group

    async def page(
        self,
        wanted: EntryFilter,
        *,
        limit: int,
        before: str | None = None,
        withheld: Withheld = nothing_withheld,
        page_s: float = PAGE_S,
    ) -> EntryPage:
        """Return up to `limit` entries older than the id `before`, newest first.

        A page may have fewer, or none, though there is a next one: its time was over. A search by
        text finds no entry of a tenant whose texts are `withheld`.
        """
        ends = time.monotonic() + page_s
        ids = await self._ids(wanted, before)
        items: list[FoundEntry] = []
        start, size = 0, min(limit, _READ)
        while start < len(ids):
            chunk = _named(ids[start : start + size])
            start += size
            found = await self._found(chunk, wanted, withheld)
            items += found
            if len(items) > limit:
                return EntryPage(items[:limit], items[limit - 1].entry.id)
            if len(items) == limit or time.monotonic() >= ends:
                return EntryPage(items, chunk[-1] if start < len(ids) else None)
            size = _READ if _rarest(wanted) is None else _SEARCHED
        return EntryPage(items, None)

    async def all(
        self, wanted: EntryFilter, *, withheld: Withheld = nothing_withheld
    ) -> AsyncIterator[list[FoundEntry]]:
        """Yield all entries, newest first, some at a time."""
        ids = await self._ids(wanted, None)
        for start in range(0, len(ids), _READ):
            yield await self._found(_named(ids[start : start + _READ]), wanted, withheld)

    async def of_tenant(self, tenant: str) -> AsyncIterator[list[Entry]]:
        """Yield a tenant's entries in any order, some at a time."""
        group, cursor = f"{self._prefix}g:{key_groups.tenant_group(tenant)}", 0
        while True:
            cursor, ids = await command(self._redis, "SSCAN", group, cursor, "COUNT", _READ)
            if ids:
                found = await self._found([id.decode() for id in ids], EntryFilter(tenant))
                yield [one.entry for one in found]
            if int(cursor) == 0:
                return

    async def one(self, tenant: str, entry_id: str) -> FoundEntry | None:
        """Return the entry with that id if it is `tenant`'s."""
        found = await self._found([entry_id], EntryFilter(tenant))
        return found[0] if found else None

    async def some(self, tenant: str, ids: Sequence[str]) -> dict[str, Entry]:
        """Return those entries of `tenant` that are still there, by id."""
        found = await self._found(ids, EntryFilter(tenant)) if ids else []
        return {one.entry.id: one.entry for one in found}

    async def by_fingerprint(self, fingerprints: Sequence[str]) -> list[Entry | None]:
        """Return the entries of requests, in one round trip; those past their deadline, too."""
        if not fingerprints:
            return []
        keys = [f"{self._prefix}e:{one}" for one in fingerprints]
        values = await command(self._redis, "MGET", *keys)
        await self._sealer.know(values, at=codec.ID_END)
        return [
            codec.unpack_entry(codec.unseal(self._sealer, "answers", one, value))
            for one, value in zip(fingerprints, values, strict=True)
        ]

    async def count(self, group: str) -> int:
        """Return how many entries a purge group has, expired ones that were not swept included."""
        if group == key_groups.EVERYTHING:
            return int(await command(self._redis, "HLEN", f"{self._prefix}ids"))
        return int(await command(self._redis, "SCARD", f"{self._prefix}g:{group}"))

    async def _ids(self, wanted: EntryFilter, before: str | None) -> _Ids:
        """Return the ids that may match, newest first: of the smallest group that has them all."""
        words = ("ZSCAN", f"{self._prefix}deadlines")
        if wanted.tenant is not None:
            words = ("SSCAN", f"{self._prefix}g:{_group(wanted, wanted.tenant)}")
        ids = None if before is None else self._known(words, before)
        if ids is None:
            ids = await self._list(words)
        # An entry is as old as its id, or older: a copy for another prompt has a newer one.
        least = b"" if wanted.created_from is None else _place(wanted.created_from - 0.001)
        most = b"g" if before is None else before.encode()  # no id is more than `g`
        first, last = np.searchsorted(ids, np.array([least, most], dtype=ids.dtype))
        return ids[first:last][::-1]

    def _known(self, words: tuple[str, str], before: str) -> _Ids | None:
        """Return the ids of a group as they were read for an earlier page; None: read them.

        What was stored since is newer than `before`, if that was there; what has gone is gone.
        """
        at, ids = self._listed.get(words) or (0.0, None)
        if ids is None or not len(ids) or time.monotonic() - at > _LISTED_S:
            return None
        return ids if ids[-1] >= before.encode() else None

    async def _list(self, words: tuple[str, str]) -> _Ids:
        """Read the ids of a group, oldest first, and keep them for the pages after this one."""
        begun = time.monotonic()
        runs, cursor = list[_Ids](), 0
        while True:
            cursor, some = await command(self._redis, *words, cursor, "COUNT", _SCAN)
            runs.append(np.array(some if words[0] == "SSCAN" else [id for id, _ in some], _ID))
            if int(cursor) == 0:
                break
        ids = await asyncio.to_thread(_sorted, runs)
        self._listed.put(words, (begun, ids), ids.nbytes)
        return ids

    async def _found(
        self, ids: Sequence[str], wanted: EntryFilter, withheld: Withheld = nothing_withheld
    ) -> list[FoundEntry]:
        """Return those of some ids that match, in their order."""
        rows = await self._rows(ids, wanted)
        if wanted.text is not None:
            hidden = {one: await withheld(one) for one in {row.tenant for row in rows}}
            rows = [row for row in rows if not hidden[row.tenant]]
        if wanted.pinned is not None:
            marks = await self._values("s", rows)
            rows = [
                row
                for row, mark in zip(rows, marks, strict=True)
                if stored_entry.is_pinned(row.id, mark) is wanted.pinned
            ]
        rows, plain = await self._mentioning(rows, _rarest(wanted))
        marks, hits = await self._values("s", rows), await self._hits(rows)

        def work() -> list[FoundEntry]:
            return list(_matching(rows, marks, plain, hits, wanted))

        return work() if len(rows) <= _AT_ONCE else await asyncio.to_thread(work)

    async def _plain(self, rows: Sequence[_Row]) -> list[bytes | None]:
        values = await self._values("e", rows)
        await self._sealer.know(values, at=codec.ID_END)
        # Opened here, since the keys in memory change on the event loop only.
        return [
            codec.unseal(self._sealer, "answers", row.fingerprint, value)
            for row, value in zip(rows, values, strict=True)
        ]

    async def _mentioning(
        self, rows: Sequence[_Row], text: str | None
    ) -> tuple[list[_Row], list[bytes | None]]:
        """Return the rows whose entries may have a text beside their message, and the entries."""
        if text is None:
            return list(rows), await self._plain(rows)
        found: list[_Row] = []
        values: list[bytes | None] = []
        for some in _bounded(rows):
            plain = await self._plain(some)
            places = await asyncio.to_thread(
                lambda plain: mentioning([codec.entry_header(one) for one in plain], text), plain
            )
            found += (some[place] for place in places)
            values += (plain[place] for place in places)
        return found, values

    async def _rows(self, ids: Sequence[str], wanted: EntryFilter) -> list[_Row]:
        """Return what is known without the entries themselves, of those that may match."""
        metas = await command(self._redis, "HMGET", f"{self._prefix}ids", *ids)

        def work() -> list[_Row]:
            return [row for row in _read_rows(ids, metas) if _may_match(row, wanted)]

        rows = work() if len(ids) <= _AT_ONCE else await asyncio.to_thread(work)
        if wanted.hits_min is None and wanted.hits_max is None:
            return rows
        least, most = wanted.hits_min or 0, wanted.hits_max
        served = zip(rows, await self._hits(rows), strict=True)
        return [row for row, (n, _) in served if n >= least and (most is None or n <= most)]

    async def _hits(self, rows: Sequence[_Row]) -> list[tuple[int, Nanodollars]]:
        """Return what entries have served and saved."""
        if not rows:
            return []
        ids = [row.id for row in rows]
        found = await command(self._redis, "HMGET", f"{self._prefix}hits", *ids)
        return [_hits(stored) for stored in found]

    async def _values(self, kind: str, rows: Sequence[_Row]) -> list[bytes | None]:
        keys = [f"{self._prefix}{kind}:{row.fingerprint}" for row in rows]
        found: list[bytes | None] = await command(self._redis, "MGET", *keys) if keys else []
        return found


def _read_rows(ids: Sequence[str], metas: Sequence[bytes | None]) -> Iterator[_Row]:
    """Yield what is stored of ids, without those that are gone."""
    for id, meta in zip(ids, metas, strict=True):
        if meta is not None:
            fingerprint, size, _, tenant, groups = orjson.loads(meta)[:5]
            yield _Row(id, fingerprint, int(size), tenant, groups)


def _sorted(runs: Sequence[_Ids]) -> _Ids:
    """Return all ids once, in order. They are sorted as numbers: without the interpreter's lock."""
    ids: _Ids = np.concatenate(runs)
    numbers = ids.view(">u8").reshape(len(ids), ids.itemsize // 8).astype("u8")
    columns = [numbers[:, place] for place in range(numbers.shape[1])]
    # The first two have the time and some random digits: hardly any ids share them.
    ids = ids.take(order_by(columns[:2], columns[2:]))
    new = np.ones(len(ids), dtype=bool)  # a scan may name an id twice
    new[1:] = ids[1:] != ids[:-1]
    return ids.compress(new)


def _named(ids: _Ids) -> list[str]:
    found: list[bytes] = ids.tolist()
    return [id.decode() for id in found]


def _bounded(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Yield rows in parts whose entries are read at once."""
    start, size = 0, 0
    for place, row in enumerate(rows):
        if size + row.size > _READ_BYTES and place > start:
            yield rows[start:place]
            start, size = place, 0
        size += row.size
    if rows:
        yield rows[start:]


def _group(wanted: EntryFilter, tenant: str) -> str:
    """Return the purge group of a tenant that has all that is wanted."""
    if wanted.tag is not None:
        return key_groups.tag_group(tenant, wanted.tag)
    if wanted.namespace is not None:
        return key_groups.namespace_group(tenant, wanted.namespace)
    return key_groups.tenant_group(tenant)


def _rarest(wanted: EntryFilter) -> str | None:
    """Return what few entries have that match: it is looked for before they are decoded."""
    return wanted.text or wanted.model or wanted.scope


def _place(at: float) -> bytes:
    """Return what the ids of that time begin with: they are in the order of their times."""
    return f"{max(0, int(at * 1000)):012x}".encode()


def _hits(stored: bytes | None) -> tuple[int, Nanodollars]:
    """Read hits and savings. An older row has only the decayed count and its time before them."""
    parts = (stored or b"").split()
    return (int(parts[2]), int(parts[3])) if len(parts) == 4 else (0, 0)


def _may_match(row: _Row, wanted: EntryFilter) -> bool:
    tenant = row.tenant
    if wanted.tenant is not None and tenant != wanted.tenant:
        return False
    if wanted.tag is not None and key_groups.tag_group(tenant, wanted.tag) not in row.groups:
        return False
    namespace = wanted.namespace
    return namespace is None or key_groups.namespace_group(tenant, namespace) in row.groups


def _matching(
    rows: Sequence[_Row],
    marks: Sequence[bytes | None],
    values: Sequence[bytes | None],
    hits: Sequence[tuple[int, Nanodollars]],
    wanted: EntryFilter,
) -> Iterator[FoundEntry]:
    text = None if wanted.text is None else wanted.text.casefold()
    for row, mark, value, (count, saved) in zip(rows, marks, values, hits, strict=True):
        entry = codec.unpack_entry(value)
        if entry is None or entry.id != row.id:  # expired, or replaced since
            continue
        if wanted.scope is not None and entry.scope != wanted.scope:
            continue
        if wanted.model is not None and entry.model != wanted.model:
            continue
        if wanted.created_from is not None and entry.created_at < wanted.created_from:
            continue
        if wanted.created_to is not None and entry.created_at >= wanted.created_to:
            continue
        if text is not None and (entry.text is None or text not in entry.text.casefold()):
            continue
        yield FoundEntry(entry, stored_entry.read(entry, mark), count, saved, row.size)
