"""Background work: bounded, in order if asked for, counted if it fails or is dropped."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field

import pytest

from cacheserver.core import background
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import StoreError

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@dataclass
class Counts:
    failed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def swallowed(self, site: str) -> None:
        self.failed[site] += 1

    def dropped(self, buffer: str, count: int = 1) -> None:
        self.lost[buffer] += count


@pytest.fixture
def counts() -> Counts:
    return Counts()


async def test_one_at_a_time_is_in_order_and_survives_a_failure(counts: Counts) -> None:
    work, done = BackgroundWork("writes", counts, at_once=1), list[int]()

    async def write(number: int) -> None:
        await asyncio.sleep(0)
        if number == 1:
            raise StoreError("away")
        done.append(number)

    for number in range(4):
        work.do(lambda number=number: write(number))  # type: ignore[misc]
    await work.drain()
    assert done == [0, 2, 3]
    assert counts.failed == {"writes": 1}


async def test_what_is_too_much_is_dropped_and_counted(counts: Counts) -> None:
    work, release = BackgroundWork("site", counts, limit=2), asyncio.Event()
    for _ in range(3):
        work.do(release.wait)
    assert counts.lost == {"site": 1}
    release.set()
    await work.drain()
    work.do(release.wait)
    assert counts.lost == {"site": 1}


async def test_each_piece_runs_in_the_context_of_its_caller(counts: Counts) -> None:
    work, seen = BackgroundWork("site", counts), list[str]()

    async def look() -> None:
        seen.append(WHO.get())

    for who in ("ann", "ben", "cem"):
        WHO.set(who)
        work.do(look)
    await work.drain()
    assert seen == ["ann", "ben", "cem"]


@pytest.mark.parametrize("at_once", [1, None])
async def test_closing_ends_what_hangs_and_counts_what_never_ran(
    counts: Counts, at_once: int | None
) -> None:
    work, hung = BackgroundWork("site", counts, at_once=at_once), asyncio.Event()
    for _ in range(3):
        work.do(hung.wait)
    await asyncio.sleep(0)
    await work.close(patience_s=0.0)
    assert counts.lost["site"] == (2 if at_once == 1 else 0)
    work.do(hung.wait)
    assert counts.lost["site"] == (3 if at_once == 1 else 1)


async def test_work_that_comes_as_the_last_one_ends_is_done(counts: Counts) -> None:
    work, done = BackgroundWork("writes", counts, at_once=1), list[int]()
    ended = asyncio.get_running_loop().create_future()

    async def first() -> None:
        # Called as soon as this task is over, before any callback of it.
        asyncio.get_running_loop().call_soon(second)

    def second() -> None:
        async def write() -> None:
            done.append(2)
            ended.set_result(None)

        work.do(write)

    work.do(first)
    await asyncio.wait_for(ended, 30)
    assert done == [2]


async def test_what_is_gathered_is_written_together_and_before_what_waits_for_it(
    counts: Counts,
) -> None:
    work, written = BackgroundWork("writes", counts, limit=4, at_once=1), list[list[int]]()

    async def write(items: list[int]) -> None:
        written.append(items)
        if 9 in items:
            raise StoreError("away")

    for number in (1, 2, 3, 4, 5):
        work.gather(write, number)
    assert (written, counts.lost) == ([], {"writes": 1})
    await work.drain()
    assert written == [[1, 2, 3, 4]]
    work.gather(write, 9)
    work.do(lambda: write([6]))
    await work.drain()
    assert (written[1:], counts.failed) == ([[6], [9]], {"writes": 1})
    work.gather(write, 7)
    await work.close()
    work.gather(write, 8)
    assert (written[-1], counts.lost) == ([7], {"writes": 2})


async def test_what_is_gathered_waits_for_nobody(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = BackgroundWork("writes", counts)
    written: asyncio.Queue[list[int]] = asyncio.Queue()
    for number in range(background._TOGETHER):
        work.gather(written.put, number)
    assert len(await asyncio.wait_for(written.get(), 30)) == background._TOGETHER
    monkeypatch.setattr(background, "_GATHER_S", 0.001)
    work.gather(written.put, 7)
    assert await asyncio.wait_for(written.get(), 30) == [7]


async def test_closing_counts_each_gathered_item_that_was_not_written(counts: Counts) -> None:
    work, hung = BackgroundWork("writes", counts, at_once=1), asyncio.Event()

    async def write(_: list[int]) -> None:
        await hung.wait()

    work.do(hung.wait)
    for number in range(3):
        work.gather(write, number)
    await asyncio.sleep(0)
    await work.close(patience_s=0.0)
    assert counts.lost == {"writes": 3}
