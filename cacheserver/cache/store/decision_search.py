"""Search of the decisions of a day, by pages: the newest first, or by what they cost.

The index (`decision_index`) is read and filtered by hours, off the event loop; then the records of
those rows that may match are read until the page is full. A record that is gone, crowded out or
erased, is left out. A search that takes too long returns what it has, and a cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from time import monotonic
from typing import Any, Final, NamedTuple

import numpy as np

from cacheserver.cache.store import decision_log, text_filter
from cacheserver.cache.store.decision_filters import ROW, Filters, Rows
from cacheserver.cache.store.decision_hours import HOUR_S, DecisionHours, Hours
from cacheserver.cache.store.decision_index import UNKNOWN
from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.cache.store.row_order import order_by
from cacheserver.core.errors import BadRequest
from cacheserver.storage import stored_row
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.sealer import PlainSealer, Sealer

_LIMIT_S: Final = 0.7  # of a page: an answer within a second
_DECODED: Final = 50  # records at once on the event loop: 2 ms
_SEARCHED: Final = 1_000  # records whose bytes are searched at once, in a thread: 700 kB, 1 ms


class _Place(NamedTuple):
    """Place of a decision in a list; less is later in it."""

    cost: int  # 0 in a list by time
    at: float
    id: str


@dataclass(frozen=True, slots=True)
class Found:
    """A page: tenants and records; where the next begins, None if there is none."""

    items: list[tuple[str, dict[str, Any]]]
    next: str | None


class Day(NamedTuple):
    """Index of a tenant's decisions, newest first, of all scopes or of one."""

    rows: Rows
    since: float | None  # the oldest decision of any scope, Unix seconds; None: there is none


class DecisionSearch:
    """Searches decisions of one tenant, or of all (`tenant` None). Every method raises
    `StoreError`.
    """

    def __init__(
        self,
        redis: Connection,
        log: DecisionLog,
        *,
        prefix: str = PREFIX,
        sealer: Sealer | None = None,
        limit_s: float = _LIMIT_S,
    ) -> None:
        self._redis = redis
        self._log = log
        self._index = DecisionHours(redis, prefix=prefix)
        self._prefix = prefix
        self._sealer = sealer or PlainSealer()
        self._limit_s = limit_s

    async def newest(
        self, filters: Filters, *, tenant: str | None, limit: int, cursor: str | None = None
    ) -> Found:
        """Return the decisions that match, newest first. Raises `BadRequest` for a wrong cursor."""
        ends, after = monotonic() + self._limit_s, _place(cursor)
        hours = await self._hours(tenant)
        wanted = sorted(filter(_within(filters, after), hours), reverse=True)
        items: list[tuple[str, dict[str, Any]]] = []
        for number, hour in enumerate(wanted, 1):
            loaded = await self._index.load({hour: hours[hour]})
            if loaded is not None:
                found = await asyncio.to_thread(_ordered, loaded, filters, after, by_cost=False)
                place = await self._read(found, filters, items, limit, ends)
                if place is not None:
                    return Found(items, _cursor(place))
            if number < len(wanted) and (len(items) >= limit or monotonic() >= ends):
                return Found(items, _cursor(_Place(0, float(hour * HOUR_S), "")))
        return Found(items, None)

    async def near_misses(
        self, filters: Filters, *, tenant: str | None, limit: int, cursor: str | None = None
    ) -> Found:
        """Return the misses that had a candidate, the most expensive first: a hit saves the cost.

        Those whose cost is not known are left out. Raises `BadRequest` for a wrong cursor.
        """
        ends, after = monotonic() + self._limit_s, _place(cursor)
        filters = replace(filters, outcome="miss", similar=True)
        hours = await self._hours(tenant)
        within = _within(filters, None)
        loaded = await self._index.load({hour: hours[hour] for hour in hours if within(hour)})
        if loaded is None:
            return Found([], None)
        found = await asyncio.to_thread(_ordered, loaded, filters, after, by_cost=True)
        items: list[tuple[str, dict[str, Any]]] = []
        place = await self._read(found, filters, items, limit, ends, by_cost=True)
        return Found(items, None if place is None else _cursor(place))

    async def day(self, tenant: str, scope: str | None = None) -> Day:
        """Return the index of a tenant's decisions, of all scopes or of one."""
        loaded = await self._index.load(await self._hours(tenant))
        if loaded is None:
            return Day(np.empty(0, ROW), None)
        found = await asyncio.to_thread(_ordered, loaded, Filters(scope=scope), None, by_cost=False)
        return Day(found.rows, float(loaded.rows["at"].min()))

    async def since(self, tenant: str) -> float | None:
        """Return the start of the hour of a tenant's oldest decision; None if there is none."""
        return min((float(hour * HOUR_S) for hour in await self._hours(tenant)), default=None)

    async def records(self, tenant: str, ids: Sequence[str | None]) -> list[dict[str, Any] | None]:
        """Return decisions by id; None for one that is gone, and for no id."""
        keys = [f"{self._prefix}d:{tenant_key(tenant)}:{id}" for id in ids]
        values = await command(self._redis, "MGET", *keys) if keys else []
        named = [(id or "", value) for id, value in zip(ids, values, strict=True)]
        return await decision_log.decode(self._sealer, tenant, named)

    async def _hours(self, tenant: str | None) -> dict[int, list[str]]:
        """Return the hours that have decisions, with the tenants that have them."""
        await self._log.flush()
        return await self._index.names(tenant)

    async def _read(
        self,
        found: Hours,
        filters: Filters,
        items: list[tuple[str, dict[str, Any]]],
        limit: int,
        ends: float,
        *,
        by_cost: bool = False,
    ) -> _Place | None:
        """Append the records that match; return where to go on if not all rows were looked at."""
        async for at, tenant, record in self._records(found, filters.text, limit - len(items)):
            if record is not None and filters.match(record):
                items.append((tenant, record))
            full = len(items) >= limit or (record is None and monotonic() >= ends)
            if full and at + 1 < len(found.rows):
                row = found.rows[at]
                cost = int(row["cost"]) if by_cost else 0
                return _Place(cost, float(row["at"]), row["id"].decode())
            if full:
                break
        return None

    async def _records(
        self, found: Hours, text: str | None, first: int
    ) -> AsyncIterator[tuple[int, str, dict[str, Any] | None]]:
        """Yield rows by position with tenant and record; None at the end of what was read."""
        heads = [f"{self._prefix}d:{tenant_key(name)}:".encode() for name in found.tenants]
        start, size = 0, max(1, min(first, _DECODED)) if text is None else _SEARCHED
        while start < len(found.rows):
            stop = min(start + size, len(found.rows))
            stored: list[bytes] = found.rows["id"][start:stop].tolist()
            owners: list[int] = found.owners[start:stop].tolist()
            keys = [heads[owner] + id for owner, id in zip(owners, stored, strict=True)]
            values: list[bytes | None] = await command(self._redis, "MGET", *keys)
            ids, names = [id.decode() for id in stored], [found.tenants[one] for one in owners]
            places = range(stop - start)
            if text is None:
                some = [place for place in places if values[place] is not None]
            else:
                some = await asyncio.to_thread(_mentioning, values, text)
            for begin in range(0, len(some), _DECODED):
                for place, record in await self._decode(
                    some[begin : begin + _DECODED], names, ids, values
                ):
                    yield start + place, names[place], record
                await asyncio.sleep(0)
            yield stop - 1, names[-1], None
            start, size = stop, _DECODED if text is None else _SEARCHED

    async def _decode(
        self,
        places: Sequence[int],
        names: Sequence[str],
        ids: Sequence[str],
        values: Sequence[bytes | None],
    ) -> list[tuple[int, dict[str, Any] | None]]:
        records: dict[int, dict[str, Any] | None] = {}
        for tenant in dict.fromkeys(names[place] for place in places):
            mine = [place for place in places if names[place] == tenant]
            named = [(ids[place], values[place]) for place in mine]
            decoded = await decision_log.decode(self._sealer, tenant, named)
            records |= zip(mine, decoded, strict=True)
        return [(place, records[place]) for place in places if records[place] is not None]


def _within(filters: Filters, after: _Place | None) -> Callable[[int], bool]:
    """Return whether an hour can have decisions that are wanted."""

    def within(hour: int) -> bool:
        start = hour * HOUR_S
        return (
            (filters.since is None or start + HOUR_S > filters.since)
            and (filters.until is None or start < filters.until)
            and (after is None or start <= after.at)
        )

    return within


def _ordered(hours: Hours, filters: Filters, after: _Place | None, *, by_cost: bool) -> Hours:
    """Return the rows that may match, in the order of the list, from a place on, each id once."""
    keep = filters.select(hours.rows)
    if by_cost:
        keep &= hours.rows["cost"] != UNKNOWN
    # `compress` and `take` copy whole rows, where `[]` copies field by field: a tenth of the time.
    rows, owners = hours.rows.compress(keep), hours.owners.compress(keep)
    costs = [rows["cost"].copy()] if by_cost else []
    order = order_by([*costs, rows["at"].copy()], [rows["id"]])[::-1]
    rows, owners = rows.take(order), owners.take(order)
    new = np.ones(len(rows), dtype=bool)  # a decision that was recorded again has two rows
    new[1:] = (rows["id"][1:] != rows["id"][:-1]) | (owners[1:] != owners[:-1])
    if after is not None:
        id = np.bytes_(after.id.encode())
        later = (rows["at"] < after.at) | ((rows["at"] == after.at) & (rows["id"] < id))
        if by_cost:
            later = (rows["cost"] < after.cost) | ((rows["cost"] == after.cost) & later)
        new &= later
    return Hours(rows.compress(new), owners.compress(new), hours.tenants)


def _mentioning(values: Sequence[bytes | None], text: str) -> list[int]:
    """Return the places of records that may have a text."""
    there = [place for place, value in enumerate(values) if value is not None]
    some = [values[place] or b"" for place in there]
    plain = [stored_row.details_of(value) or value for value in some]
    return [there[place] for place in text_filter.mentioning(plain, text)]


def _place(cursor: str | None) -> _Place | None:
    """Read a cursor. Raises `BadRequest`."""
    if cursor is None:
        return None
    try:
        cost, at, id = cursor.split(":")
        place = _Place(int(cost), float(at), id)
    except ValueError:
        place = None
    if place is None or not isfinite(place.at) or abs(place.cost) >= -UNKNOWN or not id.isascii():
        raise BadRequest("cursor", "must be the `next` of the page before")
    return place


def _cursor(place: _Place) -> str:
    return f"{place.cost}:{place.at!r}:{place.id}"
