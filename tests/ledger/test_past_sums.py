"""Sums that are remembered are those of the store, also when rows come late."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.ledger.past_sums import PastSums, Slots
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.time_range import SECONDS, Grain, Tile
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import Connection, command
from tests.ledger.rows import row

TENANTS = ("acme", "beta")
DAYS, HOURS = 30, 48


def _ranges(now: float) -> tuple[range, range]:
    hour, day = int(now // 3_600), int(now // 86_400)
    return range(hour - HOURS + 1, hour + 1), range(day - DAYS + 1, day + 1)


def _shown(slots: Slots) -> Slots:
    """Leave out what is zero: whether it was stored is no matter."""
    found = {at: {name: n for name, n in sums.items() if n} for at, sums in slots.items()}
    return {at: sums for at, sums in found.items() if sums}


class Server:
    """A ledger, and a reader that remembers."""

    def __init__(self, redis: Connection, prefix: str) -> None:
        self.ledger = Ledger(redis, prefix=prefix)
        self.reports = LedgerReports(redis, prefix=prefix)
        self.past = PastSums(redis, self.reports, prefix=prefix)

    async def record(self, hours_ago: Sequence[int], now: float) -> None:
        for number, ago in enumerate(hours_ago):
            at = (now // 3_600 - ago) * 3_600 + 60
            self.ledger.append(row(tenant=TENANTS[number % 2], at=at, model=f"model-{ago % 3}"))
        await self.ledger.flush()

    async def stored(self, tenants: Sequence[str], grain: Grain, slots: range) -> Slots:
        every_s, tile = SECONDS[grain], Tile(grain, slots.start, slots.stop)
        found = await self.reports.over_time(tenants, [tile], lambda _: None, every_s)
        return _shown({at // every_s: sums for (_, at), sums in found.items()})

    async def check(self, now: float, tenants: Sequence[str] = TENANTS) -> None:
        hours, days = _ranges(now)
        by_hour, by_day = await self.past.read(tenants, hours=hours, days=days)
        assert _shown(by_hour) == await self.stored(tenants, "h", hours)
        assert _shown(by_day) == await self.stored(tenants, "d", days)


_recorded = st.lists(st.integers(0, 60) | st.integers(0, 24 * DAYS), max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), _recorded), min_size=2, max_size=5))
async def test_sums_are_those_of_the_store_whoever_recorded_what_when(
    redis: Connection, steps: list[tuple[bool, list[int]]]
) -> None:
    prefix = f"{id(steps)}{hash(str(steps))}:"
    servers, now = [Server(redis, prefix), Server(redis, prefix)], time.time()
    for second, hours_ago in steps:
        await servers[second].record(hours_ago, now)
        for one in servers:
            await one.check(now)
            await one.check(now, TENANTS[:1])
    for one in servers:
        await one.ledger.close()


@pytest.mark.parametrize("late", [1, 2, 3, 4, 30, 24 * 20])
async def test_a_late_row_counts_at_once(redis: Connection, prefix: str, late: int) -> None:
    one, another, now = Server(redis, prefix), Server(redis, prefix), time.time()
    await one.record([0, 0, late, late, late + 1], now)
    await one.check(now)
    await another.record([late], now)
    await one.check(now)
    await one.ledger.close()
    await another.ledger.close()


async def test_what_is_over_is_not_read_again(redis: Connection, prefix: str) -> None:
    one, now = Server(redis, prefix), time.time()
    await one.record([0, 1, *range(4, 24 * DAYS, 5)], now)
    await one.check(now)
    # Behind the back of all: without a fold nobody notices.
    hours, days = _ranges(now)
    day = days.start + 5
    blocks = {at // 30 for at in days}
    await command(
        redis, "DEL", *(f"{prefix}ls:d:{at}:{tenant}" for at in blocks for tenant in TENANTS)
    )
    for _ in range(2):
        _, by_day = await one.past.read(TENANTS, hours=hours, days=days)
        assert by_day[day]["requests"]
        await one.record([0], now)  # not late
    await command(redis, "DEL", f"{prefix}lpast")  # what empties the store takes it, too
    _, by_day = await one.past.read(TENANTS, hours=hours, days=days)
    assert not by_day[day]
    await one.ledger.close()


async def test_what_is_remembered_ends_within_an_hour(redis: Connection, prefix: str) -> None:
    one, now = Server(redis, prefix), time.time()
    await one.check(now)
    assert 0 < await command(redis, "TTL", f"{prefix}lpast") <= 3_600
    await one.ledger.close()
