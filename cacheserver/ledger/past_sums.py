"""Sums by hour and day over many tenants, of which those that grow no more are remembered.

A row may be recorded late: a fold that adds one to an hour that is over deletes the mark in the
store under which sums were remembered (`scripts.FOLD`), in the same step. So what is remembered is
exact. Which hours are over is told by the store's clock in both places: those of servers differ.

Rule: what is remembered holds numbers only, and is read again after an hour at the latest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.scripts import LATE_HOURS
from cacheserver.ledger.time_range import SECONDS, Tile
from cacheserver.storage.connection import PREFIX, Connection, command

_OPEN_HOURS: Final = LATE_HOURS + 1  # one more, should the store's clock be set back
_MARK_S: Final = 3_600
_SLOT_BYTES: Final = 5_000  # of the sums of an hour or a day
_KEPT_BYTES: Final = 8 * 2**20  # 20 groups of tenants
_DAY_HOURS: Final = 24

Sums: TypeAlias = Mapping[str, int]
Slots: TypeAlias = Mapping[int, Sums]  # by number of the hour or day


class _Kept(NamedTuple):
    mark: bytes
    slots: Slots


class PastSums:
    """Reader of sums over tenants. Raises `StoreError`."""

    def __init__(self, redis: Connection, reports: LedgerReports, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._reports = reports
        self._mark_key = f"{prefix}lpast"
        self._kept = LruBytes[tuple[str, tuple[str, ...]], _Kept](_KEPT_BYTES)

    async def read(
        self, tenants: Sequence[str], *, hours: range, days: range
    ) -> tuple[Slots, Slots]:
        """Return the sums of all tenants together by hour and by day, as numbers since 1970.

        A day whose hours are all wanted is the sum of them. Rows count that were folded before.
        """
        mark, hour = await self._mark()
        closed = hour - _OPEN_HOURS
        by_hour = await self._slots(tenants, "h", hours, closed, mark)
        summed = range(max(days.start, -(-hours.start // _DAY_HOURS)), days.stop)
        read = range(days.start, min(days.stop, summed.start))
        by_day = await self._slots(tenants, "d", read, closed // _DAY_HOURS, mark)
        return by_hour, {**by_day, **{day: _day(by_hour, day) for day in summed}}

    async def _mark(self) -> tuple[bytes, int]:
        """Return the mark under which sums are remembered now, and the hour of the store."""
        mark, (seconds, _) = await asyncio.gather(
            command(self._redis, "GET", self._mark_key), command(self._redis, "TIME")
        )
        if mark is None:
            mark = secrets.token_hex(8).encode()
            first = await command(self._redis, "SET", self._mark_key, mark, "NX", "EX", _MARK_S)
            if not first:  # another server's; if it has gone again, this one matches none
                mark = await command(self._redis, "GET", self._mark_key) or mark
        return mark, int(seconds) // SECONDS["h"]

    async def _slots(
        self, tenants: Sequence[str], grain: Literal["h", "d"], wanted: range, end: int, mark: bytes
    ) -> Slots:
        """Return the sums of slots; those before `end` are remembered under `mark`."""
        key = grain, tuple(tenants)
        kept = self._kept.get(key)
        known = kept.slots if kept is not None and kept.mark == mark else {}
        missing = [slot for slot in wanted if slot not in known]
        if not missing:
            return {slot: known[slot] for slot in wanted}
        tile, every_s = Tile(grain, missing[0], missing[-1] + 1), SECONDS[grain]
        read = await self._reports.over_time(tenants, [tile], lambda _: None, every_s)
        none: Sums = {}
        found = {
            slot: known[slot] if slot in known else read.get((None, slot * every_s), none)
            for slot in wanted
        }
        closed = {slot: found[slot] for slot in wanted if slot < end}
        self._kept.put(key, _Kept(mark, closed), len(closed) * _SLOT_BYTES)
        return found


def _day(by_hour: Slots, day: int) -> Sums:
    """Return the sums of a day from those of its hours; hours to come are left out."""
    total: dict[str, int] = {}
    for hour in range(day * _DAY_HOURS, (day + 1) * _DAY_HOURS):
        for name, number in by_hour.get(hour, {}).items():
            total[name] = total.get(name, 0) + number
    return total
