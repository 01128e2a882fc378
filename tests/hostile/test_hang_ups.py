"""Callers who hang up, in every state of a request: nothing hangs, leaks or goes uncounted."""

from __future__ import annotations

import json
from asyncio import Event, create_task, wait
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.cache import fingerprint
from cacheserver.cache.request import Request
from cacheserver.claude import sse
from cacheserver.core.single_flight import EventLog, SingleFlight
from cacheserver.core.types import Controls, Miss, Query, Tenant
from cacheserver.english.language import english
from cacheserver.simulated import Fault
from tests.hostile.claude import EVENTS, JSON, MESSAGE, Script, scripted
from tests.hostile.raw import body_of, outcomes, request, stats, under_way, until, wire
from tests.house import ADMIN_KEY, House, came_from

BYPASS = (("x-api-key", "any"), ("cache-control", "no-store"))


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


async def test_a_callers_own_key_works_for_nobody_once_they_are_gone(tmp_path: Path) -> None:
    async with House.open(tmp_path, credentials="caller") as house:
        house.upstream.faults.add(Fault("hang"))
        async with wire(house) as caller:
            caller.send(request(body_of("Mine?"), headers=(("x-api-key", "sk-ant-mine"),)))
            await until(lambda: len(house.asked) == 1)
            caller.hang_up()
            await until(lambda: not under_way(house))
        assert outcomes(await stats(house, "sk-ant-mine")) == {"failed": 1}


async def test_count_tokens_waits_for_nobody_either(tmp_path: Path) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.go.clear()
        slots = house.parts.upstream.slots
        free = slots.in_flight
        async with wire(house) as caller:
            caller.send(request(body_of("Count."), target="/v1/messages/count_tokens"))
            await until(lambda: claude.asked == 1)
            assert slots.in_flight == free + 1
            caller.hang_up()
            await until(lambda: slots.in_flight == free)
        claude.go.set()


STREAMS = list(product((False, True), repeat=3))
LEAVERS = [(0,), (1,), (0, 1), (1, 0), (2, 0), (0, 1, 2), (2, 1, 0)]


async def test_in_whatever_order_they_leave_those_who_stay_are_answered(tmp_path: Path) -> None:
    """Three share a fill. Whoever is left gets all of it; everybody is counted once."""
    async with scripted(tmp_path) as (house, claude):
        claude.body = json.dumps(MESSAGE).encode()
        orders = list(product(STREAMS, LEAVERS))
        for n, (streams, leavers) in enumerate(orders):
            await _some_leave(house, claude, f"n{n}", streams, leavers)
        assert claude.asked == len(orders)
        assert (await stats(house))["requests"] == 3 * len(orders)
        outcomes(await stats(house))


async def _some_leave(
    house: House, claude: Script, space: str, streams: tuple[bool, ...], leavers: tuple[int, ...]
) -> None:
    claude.kind = EVENTS if streams[0] else JSON
    claude.body = b"".join(sse.replay(MESSAGE)) if streams[0] else json.dumps(MESSAGE).encode()
    claude.go.clear()
    async with AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(wire(house)) for _ in streams]
        apart = [("x-api-key", "any"), ("x-cache-namespace", space)]
        for n, (caller, stream) in enumerate(zip(callers, streams, strict=True)):
            caller.send(request(body_of("Shared?", stream=stream), headers=apart))
            await until(partial(_has_readers, house, n + 1))
        for gone, leaver in enumerate(leavers, 1):
            callers[leaver].hang_up()
            await until(partial(_has_readers, house, len(callers) - gone))
        claude.go.set()
        for n in set(range(len(callers))) - set(leavers):
            status, _, body = await callers[n].answer()
            assert status == 200
            assert b"Yes." in body
        await until(lambda: not under_way(house))


def _has_readers(house: House, number: int) -> bool:
    running = house.parts.service._flights._running.values()
    return sum(flight.readers for flight in running) == number


async def test_a_failure_nobody_foresaw_hangs_nobody_and_is_counted(tmp_path: Path) -> None:
    """Whatever a fill raises, its leader and those who joined hear of it, streamed or not."""
    async with scripted(tmp_path) as (house, claude):
        claude.go.clear()
        house.parts.service.answer_store._pricer = None  # type: ignore[assignment]  # any step may fail; this one will
        claude.body = json.dumps(MESSAGE).encode()
        asking = [create_task(house.ask("Failing?"))]
        await until(lambda: claude.asked == 1)
        asking += [create_task(house.ask("Failing?", stream=n == 0)) for n in range(2)]
        await until(partial(_has_readers, house, 3))
        claude.go.set()
        assert [(await each).status_code for each in asking] == [500, 500, 500]
        assert under_way(house) == 0
        assert outcomes(await stats(house)) == {"failed": 3}
        claude.kind, claude.body = EVENTS, b"".join(sse.replay(MESSAGE))
        with pytest.raises(httpx2.RemoteProtocolError):
            await house.ask("Failing in the middle?", stream=True)
        assert outcomes(await stats(house)) == {"failed": 4}


async def test_an_answer_that_is_never_read_in_process_is_let_go(house: House) -> None:
    """Used without a server, a stream may be dropped before its first event."""
    query = reading(body_of("Dropped? [[sim slow=0.1]]", stream=True))
    answer = await house.parts.service.answer(query)
    assert answer.events is not None
    await answer.events.aclose()
    await until(lambda: not under_way(house))
    assert outcomes(await stats(house)) == {"miss": 1}


async def test_a_miss_is_looked_up_once_where_nothing_can_have_landed(house: House) -> None:
    redis = house.parts.ledger.redis

    async def reads() -> int:
        found = await redis.info("commandstats")
        return int(found.get("cmdstat_mget", {"calls": 0})["calls"])

    took = []
    for n in range(5):  # on a busy machine one may take so long that it looks again
        before = await reads()
        await house.ask(f"Question {n}?", headers={"x-cache-ttl": "0"})
        took.append(await reads() - before)
    assert min(took) == 1


async def test_an_answer_that_landed_between_a_look_and_its_fill_is_not_asked_for_again(
    house: House,
) -> None:
    """The caller looked before it was there, and joins when its fill is over already."""
    service, query = house.parts.service, reading(body_of("Landed?"))
    first = await service.answer(query)
    late = await service._fill(Request(query, house.clock(), decision=Miss("empty")))
    assert (late.decision.reason, len(house.asked)) == ("landed", 1)
    assert (late.settlement.cost, late.settlement.saved) == (0, first.settlement.cost)
    stream = replace(query, stream=True)
    streamed = await service._fill(Request(stream, house.clock(), decision=Miss("empty")))
    assert streamed.events is not None
    events = [sse.decode(event) async for event in streamed.events if event]
    assert events[-1] == {"type": "message_stop"}
    house.clock.ahead_s = 4_000
    again = await service._fill(Request(query, house.clock(), decision=Miss("empty")))
    assert (again.decision.reason, len(house.asked)) == ("empty", 2)
    assert outcomes(await stats(house)) == {"exact": 2, "miss": 2}


def reading(body: dict[str, Any]) -> Query:
    return fingerprint.read(
        body,
        json.dumps(body).encode(),
        headers={},
        tenant=Tenant("default"),
        controls=Controls(),
        upstream="claude",
        language=english(),
    )


@pytest.mark.parametrize(
    "other",
    [
        {"x-cache-tags": "b"},
        {"x-cache-ttl": "60"},
        {"cache-control": "no-cache"},
        {"cache-control": "max-age=5"},
        {"x-cache-off": "output-cap"},
    ],
)
async def test_callers_who_would_have_stored_another_answer_do_not_share_a_fill(
    tmp_path: Path, other: dict[str, str]
) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.body = json.dumps(MESSAGE).encode()
        claude.go.clear()
        asking = [create_task(house.ask("Ours?", headers={"x-cache-tags": "a"}))]
        await until(lambda: claude.asked == 1)
        asking.append(create_task(house.ask("Ours?", headers={"x-cache-tags": "a", **other})))
        await until(lambda: claude.asked == 2)
        claude.go.set()
        assert [(await each).headers["x-cache"] for each in asking] == ["miss", "miss"]


async def test_what_claude_refuses_is_no_failure_that_an_old_answer_may_hide(house: House) -> None:
    await _allow_stale(house)
    await house.ask(headers={"x-cache-ttl": "10"})
    house.clock.ahead_s = 20
    for status in (400, 401, 403, 404, 413, 429):
        house.upstream.faults.add(Fault("error", status=status, should_retry=False))
        assert (await house.ask()).status_code == status
    house.upstream.faults.add(Fault("error", status=529, should_retry=False))
    assert came_from(await house.ask())[0] == "stale"


async def _allow_stale(house: House) -> None:
    allowed = await house.http.put(
        "/admin/v1/tenants/default", json={"stale_s": 60}, headers={"x-api-key": ADMIN_KEY}
    )
    assert allowed.status_code == 200, allowed.text


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_purged_while_it_is_made_is_not_stored(tmp_path: Path, stream: bool) -> None:
    async with scripted(tmp_path) as (house, claude):
        claude.kind = EVENTS if stream else JSON
        claude.body = b"".join(sse.replay(MESSAGE)) if stream else json.dumps(MESSAGE).encode()
        claude.go.clear()
        headers = {"x-cache-tags": "a"}
        asking = create_task(house.ask("Old?", headers=headers, stream=stream))
        await until(lambda: claude.asked == 1)
        assert (await house.http.post("/v1/purge", json={"tag": "a"})).json() == {"purged": 0}
        claude.go.set()
        answer = await asking
        record = await house.http.get(f"/v1/decisions/{answer.headers['x-cache-decision']}")
        assert (record.json()["unstored"], record.json()["entry_id"]) == ("refused", None)
        assert "x-cache-entry" not in answer.headers
        # Its row was written beside the attempt to store it: it counts once all the same.
        counted, usage = await stats(house), (await house.http.get("/v1/usage")).json()
        cost = record.json()["cost_usd"]
        assert (counted["requests"], counted["cost_usd"]) == (1, cost)
        assert (usage["totals"]["requests"], usage["totals"]["cost_usd"]) == (1, cost)
        assert came_from(await house.ask("Old?", headers=headers, stream=stream))[0] == "miss"


async def test_an_answer_that_may_be_served_stale_is_kept_for_as_long(house: House) -> None:
    await _allow_stale(house)
    await house.ask(headers={"x-cache-ttl": "10"})
    redis: Any = house.parts.entries.entries._redis
    (key,) = [key async for key in redis.scan_iter(match="cs1:e:*")]
    assert 60_000 < await redis.pttl(key) <= 70_000


async def test_ttl_0_leaves_nothing_behind_not_even_for_bad_times(house: House) -> None:
    await _allow_stale(house)
    await house.ask(headers={"x-cache-ttl": "0"})
    redis: Any = house.parts.entries.entries._redis
    assert [key async for key in redis.scan_iter(match="cs1:e:*")] == []


async def test_a_stopped_fill_takes_nobody_elses_flight_with_it() -> None:
    """It ends after another has begun under its key, and that one is still there to be joined."""
    release = Event()

    async def fill(log: EventLog) -> str:
        await release.wait()
        return "answer"

    flights = SingleFlight[str]()
    stopped, _ = flights.join("k", fill)
    flights.leave(stopped, abandon=True)
    second, led = flights.join("k", fill)
    assert led
    await wait({stopped.task})
    await until(lambda: len(flights) == 1)
    third, led = flights.join("k", fill)
    assert (third, led) == (second, False)
    release.set()
    assert await second.result() == "answer"
