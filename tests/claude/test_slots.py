"""Slots: who gets one, who waits, who is turned away."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.claude.slots import Slots, fits
from cacheserver.core.errors import Overloaded


def slots(limit: int = 64, *, max_waiting: int = 256, max_wait_s: float = 30.0) -> Slots:
    return Slots(limit=limit, max_waiting=max_waiting, max_wait_s=max_wait_s)


async def filled(given: Slots, tenant: str, *, background: bool = False) -> int:
    """Take slots until none is free for the tenant; how many it got."""
    for held in range(given.limit + 1):
        try:
            await given.take(tenant, background=background, within_s=0)
        except Overloaded:
            return held
    raise AssertionError("more than there are")


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_none_can_take_all_and_whoever_comes_finds_one() -> None:
    given = slots()
    got = [await filled(given, tenant) for tenant in ("a", "b", "c")]
    assert got == [56, 7, 1]  # d comes too late; of 64, three tenants hang


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 1), (4, 3), (8, 7), (64, 56)])
async def test_a_tenant_alone_has_nearly_all(limit: int, most: int) -> None:
    assert await filled(slots(limit), "a") == most


@given(limit=st.integers(2, 200), others=st.integers(0, 200))
def test_the_last_place_is_for_who_holds_none(limit: int, others: int) -> None:
    others = min(others, limit - 1)
    for held in range(1, limit - others + 1):
        if fits(held, used=others + held, limit=limit):
            assert limit - others - held > 1
    assert fits(0, used=limit - 1, limit=limit)
    assert not fits(0, used=limit, limit=limit)


async def test_those_who_wait_take_turns_by_tenant() -> None:
    given, order = slots(1), list[str]()
    await given.take("a", background=False, within_s=30)

    async def wait(tenant: str) -> None:
        async with given.hold(tenant):
            order.append(tenant)

    waiting = [asyncio.create_task(wait(tenant)) for tenant in "aaabbc"]
    await settle()
    given.release("a", background=False)
    await asyncio.gather(*waiting)
    assert order == ["a", "b", "c", "a", "b", "a"]


async def test_background_work_waits_behind_callers_and_leaves_them_slots() -> None:
    given = slots(16)
    assert await filled(given, "a", background=True) == 4  # a quarter
    assert await filled(given, "b", background=True) == 0
    assert await filled(given, "a") == 11  # callers have the rest but one
    assert await filled(given, "c") == 1
    assert await filled(slots(1), "a", background=True) == 1
    small = slots(2)
    assert await filled(small, "a", background=True) == 1
    assert await filled(small, "a") == 1

    order, busy = list[str](), slots(1)

    async def wait(name: str, *, background: bool) -> None:
        async with busy.hold(name, background=background):
            order.append(name)

    await busy.take("x", background=False, within_s=30)
    tasks = [asyncio.create_task(wait("behind", background=True))]
    await settle()
    tasks += [asyncio.create_task(wait(f"caller {n}", background=False)) for n in range(3)]
    await settle()
    busy.release("x", background=False)
    await asyncio.gather(*tasks)
    assert order == ["caller 0", "caller 1", "caller 2", "behind"]


async def test_one_tenants_queue_leaves_room_for_anothers() -> None:
    given = slots(1, max_waiting=16)
    await given.take("a", background=False, within_s=30)
    tasks = [asyncio.create_task(given.take("a", background=False, within_s=30)) for _ in range(40)]
    await settle()
    refused = [task for task in tasks if task.done()]
    assert {str(task.exception().reason) for task in refused} == {"queue-full"}  # type: ignore[union-attr]
    assert given.waiting == 14
    assert not given.full
    other = asyncio.create_task(given.take("b", background=False, within_s=30))
    await settle()
    assert not other.done()  # it waits, and has the next turn but one
    for task in [*tasks, other]:
        task.cancel()
    await asyncio.gather(*tasks, other, return_exceptions=True)
    assert given.waiting == 0


async def test_who_waits_too_long_is_turned_away() -> None:
    given = slots(1)
    await given.take("a", background=False, within_s=30)
    with pytest.raises(Overloaded) as refused:
        await given.take("b", background=False, within_s=0.01)
    assert (refused.value.reason, refused.value.status) == ("queue-wait", 529)
    assert (given.waiting, given.in_flight) == (0, 1)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_no_slot_is_lost_and_none_is_given_twice(seed: int) -> None:
    draw, given, now = random.Random(seed), slots(6, max_waiting=12), Counter[str]()

    async def one(tenant: str, *, background: bool) -> None:
        within_s = draw.choice([0.0, 0.001, 30.0])
        try:
            await given.take(tenant, background=background, within_s=within_s)
        except Overloaded:
            return
        try:
            now[tenant] += 1
            assert now.total() <= 6
            for _ in range(draw.randrange(6)):
                await asyncio.sleep(0)
        finally:
            now[tenant] -= 1
            given.release(tenant, background=background)

    tasks = list[asyncio.Task[None]]()
    for _ in range(300):
        tasks.append(asyncio.create_task(one(draw.choice("abc"), background=draw.random() < 0.3)))
        if draw.random() < 0.3:
            draw.choice(tasks).cancel()
        if draw.random() < 0.5:
            await asyncio.sleep(0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ended} <= {type(None), asyncio.CancelledError}
    assert (given.in_flight, given.waiting) == (0, 0)
    assert await filled(given, "a") == 5
