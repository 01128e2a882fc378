from __future__ import annotations

import asyncio
import itertools

import pytest

from cacheserver.calibration.recent_reads import RecentReads
from cacheserver.core.errors import StoreError
from cacheserver.tenants.grace_cache import FRESH_S


class Source:
    """Counts how often it was asked; waits where it is told to."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.held: asyncio.Event | None = None

    async def ask(self) -> int:
        number = next(self.numbers)
        if self.held is not None:
            await self.held.wait()
        return number


async def test_a_value_is_asked_for_again_when_it_is_no_longer_fresh() -> None:
    now = 0.0
    recent, source = RecentReads[int](lambda: now, most=10), Source()
    assert [await recent.get("a", source.ask) for _ in range(3)] == [1, 1, 1]
    now = FRESH_S - 0.001
    assert await recent.get("a", source.ask) == 1
    now = FRESH_S
    assert await recent.get("a", source.ask) == 2


async def test_only_so_many_are_kept_and_the_one_read_longest_ago_goes() -> None:
    recent, source = RecentReads[int](lambda: 0.0, most=2), Source()
    for name in "abc":
        await recent.get(name, source.ask)
    assert len(recent) == 2
    assert [await recent.get(name, source.ask) for name in "cba"] == [3, 2, 4]


async def test_a_value_read_again_takes_nobody_elses_place() -> None:
    now = 0.0
    recent, source = RecentReads[int](lambda: now, most=2), Source()
    for name in "ab":
        await recent.get(name, source.ask)
    now = FRESH_S
    await recent.get("a", source.ask)
    assert len(recent) == 2


async def test_what_is_read_while_it_is_written_is_not_kept() -> None:
    recent, source = RecentReads[int](lambda: 0.0, most=2), Source()
    source.held = asyncio.Event()
    reading = asyncio.create_task(recent.get("a", source.ask))
    await asyncio.sleep(0)  # it has asked
    recent.forget("a")
    source.held.set()
    assert await reading == 1
    assert await recent.get("a", source.ask) == 2


async def test_a_source_that_fails_leaves_nothing_behind() -> None:
    recent, source = RecentReads[int](lambda: 0.0, most=2), Source()

    async def fail() -> int:
        raise StoreError("away")

    with pytest.raises(StoreError):
        await recent.get("a", fail)
    assert await recent.get("a", source.ask) == 1
