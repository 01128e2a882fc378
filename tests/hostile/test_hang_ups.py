"""Callers who hang up, in every state of a request: nothing hangs, leaks or goes uncounted."""

from __future__ import annotations

import asyncio

import pytest

from cacheserver.simulated import Fault
from tests.hostile.raw import body_of, outcomes, request, stats, under_way, until, wire
from tests.house import House, came_from

BYPASS = (("x-api-key", "any"), ("cache-control", "no-store"))
PLAIN = (("x-api-key", "any"),)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_gone_before_the_answer_began_is_counted_and_leaves_it_behind(
    house: House, stream: bool
) -> None:
    text = "Gone early? [[sim slow=0.3]]"
    async with wire(house) as caller:
        caller.send(request(body_of(text, stream=stream)))
        await until(lambda: len(house.asked) == 1)
        caller.hang_up()
    await until(lambda: not under_way(house))
    assert came_from(await house.ask(text))[0] == "exact"
    assert outcomes(await stats(house)) == {"miss": 1, "exact": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bypass_nobody_waits_for_is_stopped(house: House, stream: bool) -> None:
    house.upstream.faults.add(Fault("hang", after_events=0))
    async with wire(house) as caller:
        caller.send(request(body_of("Hang", stream=stream), headers=BYPASS))
        await until(lambda: len(house.asked) == 1)
        caller.hang_up()
        await until(lambda: not under_way(house))
    assert outcomes(await stats(house)) == {"failed": 1}


async def test_a_bypassed_stream_hung_up_in_the_middle_is_stopped(house: House) -> None:
    house.upstream.faults.add(Fault("hang", after_events=3))
    async with wire(house) as caller:
        caller.send(request(body_of("Hang", stream=True), headers=BYPASS))
        await caller.head()
        caller.hang_up()
        await until(lambda: not under_way(house))
    assert outcomes(await stats(house)) == {"failed": 1}
