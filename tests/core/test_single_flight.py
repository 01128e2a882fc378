"""Single-flight: one fill, many readers, and none of them can hurt another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cacheserver.core.errors import UpstreamError
from cacheserver.core.single_flight import EventLog, Flight, SingleFlight, end


class Fill:
    """A fill that writes what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.runs = 0
        self.log: EventLog | None = None

    async def __call__(self, log: EventLog) -> str:
        self.runs += 1
        self.log = log
        await self.release.wait()
        return "answer"


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert swallowed == 2


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


def read(flight: Flight[str]) -> asyncio.Task[list[bytes]]:
    async def all_events() -> list[bytes]:
        return [event async for event in flight.events()]

    return asyncio.create_task(all_events())


async def test_callers_of_one_key_share_one_fill() -> None:
    flights, fill = SingleFlight[str](), Fill()
    joined = [flights.join("k", fill) for _ in range(5)]
    assert [led for _, led in joined] == [True, False, False, False, False]
    fill.release.set()
    assert [await flight.result() for flight, _ in joined] == ["answer"] * 5
    assert fill.runs == 1


async def test_callers_of_different_keys_do_not_wait_for_each_other() -> None:
    flights, one, two = SingleFlight[str](), Fill(), Fill()
    flights.join("a", one)
    flight, led = flights.join("b", two)
    two.release.set()
    assert (await flight.result(), led) == ("answer", True)
    one.release.set()
    await flights.drain(10)


async def test_a_finished_flight_is_forgotten() -> None:
    flights, fill = SingleFlight[str](), Fill()
    flight, _ = flights.join("k", fill)
    fill.release.set()
    await flight.result()
    await settle()
    assert len(flights) == 0
    _, led = flights.join("k", fill)
    assert led


async def test_a_leader_that_hangs_up_does_not_fail_the_others() -> None:
    flights, fill = SingleFlight[str](), Fill()
    flight, _ = flights.join("k", fill)
    leader = asyncio.create_task(flight.result())
    follower, _ = flights.join("k", fill)
    await settle()
    leader.cancel()
    flights.leave(flight, abandon=True)
    fill.release.set()
    assert await follower.result() == "answer"
    assert leader.cancelled()


async def test_an_abandoned_fill_is_cancelled_and_nobody_joins_it() -> None:
    flights, fill = SingleFlight[str](), Fill()
    flight, _ = flights.join("k", fill)
    await settle()
    flights.leave(flight, abandon=True)
    other, led = flights.join("k", fill)
    assert led
    fill.release.set()
    assert await other.result() == "answer"
    with pytest.raises(asyncio.CancelledError):
        await flight.result()


async def test_a_fill_without_readers_goes_on_where_it_is_not_abandoned() -> None:
    flights, fill = SingleFlight[str](), Fill()
    flight, _ = flights.join("k", fill)
    flights.leave(flight, abandon=False)
    fill.release.set()
    await flights.drain(10)
    assert flight.task.result() == "answer"


async def test_readers_see_every_event_whenever_they_come() -> None:
    flights, fill = SingleFlight[str](), Fill()
    flight, _ = flights.join("k", fill)
    early = read(flight)
    await settle()
    assert fill.log is not None
    fill.log.open({})
    fill.log.write(b"1")
    await settle()
    middle = read(flight)
    fill.log.write(b"2")
    fill.log.write(b"3")
    await settle()
    fill.release.set()
    await flight.result()
    assert [await early, await middle, await read(flight)] == [[b"1", b"2", b"3"]] * 3


def failing(error: Exception, *, after: int) -> Callable[[EventLog], object]:
    async def fill(log: EventLog) -> str:
        if after:
            log.open({})
        for n in range(after):
            log.write(str(n).encode())
        raise error

    return fill


async def test_a_failure_before_the_first_event_reaches_every_reader() -> None:
    flights = SingleFlight[str]()
    error = UpstreamError.shaped(529, "overloaded_error", "busy")
    flight, _ = flights.join("k", failing(error, after=0))  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(UpstreamError) as raised:
            await flight.opened()
        assert raised.value.status == 529
    await settle()
    assert len(flights) == 0


async def test_a_failure_in_the_middle_comes_after_what_was_written() -> None:
    flights = SingleFlight[str]()
    error = UpstreamError.shaped(502, "api_error", "cut")
    flight, _ = flights.join("k", failing(error, after=2))  # type: ignore[arg-type]
    await flight.opened()
    seen: list[bytes] = []

    async def read_on() -> None:
        async for event in flight.events():
            seen.append(event)

    with pytest.raises(UpstreamError):
        await read_on()
    assert seen == [b"0", b"1"]
