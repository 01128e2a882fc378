"""Leases of calls across servers: one leads, the others wait, and a late leader harms nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.single_flight import end
from cacheserver.peers.flights import Flights, Lease, Note, Turn, _batches
from cacheserver.peers.peers import Peers
from cacheserver.storage.connection import Connection, command, connect
from scripts.chaos_run.store_line import CUT, StoreLine
from tests.redis_servers import ENGINES, prefix, redis, serving, url

__all__ = ["prefix", "redis", "url"]  # fixtures

LEASE_S = 0.4
KEY = "a-key"


@dataclass
class Counted:
    sites: list[str] = field(default_factory=list)

    def swallowed(self, site: str) -> None:
        self.sites.append(site)

    def dropped(self, buffer: str, count: int = 1) -> None:
        self.sites.append(f"dropped-{buffer}")


@dataclass
class Server:
    peers: Peers
    flights: Flights
    counted: Counted

    async def die(self) -> None:
        """Renew nothing more, as a process that was killed."""
        if self.flights._renewing is not None:
            await end(self.flights._renewing)
        for task in self.peers._tasks:
            await end(task)


async def open_server(
    url: str, prefix: str, stack: AsyncExitStack, *, lease_s: float = LEASE_S
) -> Server:
    redis = connect(url)
    stack.push_async_callback(redis.aclose)
    counted = Counted()
    peers = Peers(redis, counted.swallowed, prefix=prefix)
    flights = Flights(redis, peers, counted, prefix=prefix, lease_s=lease_s)
    await peers.start()
    stack.push_async_callback(peers.close)
    stack.push_async_callback(flights.close)
    return Server(peers, flights, counted)


@pytest.fixture
async def two(url: str, prefix: str) -> AsyncIterator[list[Server]]:
    async with AsyncExitStack() as stack:
        found = [await open_server(url, prefix, stack) for _ in range(2)]
        await until(lambda: found[0].flights.many and found[1].flights.many)
        yield found


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 what is awaited has no event
            await asyncio.sleep(0.005)


async def lead(server: Server, key: str = KEY) -> Lease:
    turn = await server.flights.turn(key)
    assert turn.lease is not None
    return turn.lease


async def waiting(server: Server, key: str = KEY) -> asyncio.Task[Turn]:
    task = asyncio.create_task(server.flights.turn(key))
    await until(lambda: key in server.flights._waiters)
    return task


async def test_the_others_wait_until_the_call_has_ended(two: list[Server]) -> None:
    one, other = two
    lease = await lead(one)
    task = await waiting(other)
    one.flights.release(lease)
    began = time.monotonic()
    assert await task == Turn(None, waited=True)
    assert time.monotonic() - began < LEASE_S / 2  # told, and did not wait for the lease to end
    assert not other.flights._waiters
    assert (await lead(other)).key == KEY


async def test_calls_with_other_keys_wait_for_nobody(two: list[Server]) -> None:
    one, other = two
    await lead(one)
    assert (await other.flights.turn("another-key")).waited is False


async def test_a_call_may_take_longer_than_its_lease(two: list[Server]) -> None:
    one, other = two
    lease = await lead(one)
    task = await waiting(other)
    done, _ = await asyncio.wait({task}, timeout=3 * LEASE_S)
    assert not done
    one.flights.release(lease)
    assert (await task).lease is None


async def test_a_dead_leader_is_taken_over_within_its_lease(two: list[Server]) -> None:
    one, other = two
    await lead(one)
    task = await waiting(other)
    await one.die()
    began = time.monotonic()
    turn = await task
    assert turn.waited
    assert turn.lease is not None
    assert time.monotonic() - began < 2 * LEASE_S


async def test_a_late_leader_takes_nothing_from_its_successor(
    two: list[Server], redis: Connection, prefix: str
) -> None:
    one, other = two
    old = await lead(one)
    await one.die()
    new = await lead(other)
    task = await waiting(one)
    one.flights._held[KEY] = old  # it does not know, and ends its call
    one.flights.release(old)
    await one.flights._work.drain()
    assert await command(redis, "GET", f"{prefix}fl:{KEY}") == new.fence.encode()
    one.flights._held[KEY] = old
    await one.flights._renew_some([old])
    assert KEY not in one.flights._held
    assert KEY in other.flights._held
    assert not task.done()
    task.cancel()


async def test_a_lost_lease_is_not_renewed_or_released(
    two: list[Server], redis: Connection
) -> None:
    one, other = two
    lease = await lead(one)
    await command(redis, "DEL", f"{one.flights._prefix}fl:{KEY}")
    await until(lambda: not one.flights._held)
    await lead(other)
    one.flights.release(lease)
    await one.flights._work.drain()
    assert await command(redis, "EXISTS", f"{one.flights._prefix}fl:{KEY}")


async def test_of_leases_renewed_together_those_that_were_lost_are_given_up(
    two: list[Server], redis: Connection
) -> None:
    flights = two[0].flights
    leases = [await lead(two[0], key) for key in ("first", "second", "third")]
    await command(redis, "DEL", f"{flights._prefix}fl:second")
    await flights._renew_some(leases)
    assert set(flights._held) == {"first", "third"}


async def test_a_call_that_lost_its_lease_does_not_end_the_next_one_of_its_server(
    two: list[Server], redis: Connection
) -> None:
    flights = two[0].flights
    old = await lead(two[0])
    await command(redis, "DEL", f"{flights._prefix}fl:{KEY}")
    new = await lead(two[0])
    assert new.fence != old.fence
    flights.release(old)
    await flights._work.drain()
    assert flights._held == {KEY: new}  # which is renewed
    assert await command(redis, "GET", f"{flights._prefix}fl:{KEY}") == new.fence.encode()


def test_all_leases_are_renewed_however_many() -> None:
    held = {str(number): Lease(str(number), "fence") for number in range(1_001)}
    batches = list(_batches(held))
    assert [one for some in batches for one in some] == list(held.values())
    assert max(map(len, batches)) <= 500


async def test_leases_are_renewed_after_a_renewal_that_failed(
    url: str, prefix: str, redis: Connection
) -> None:
    line, key = StoreLine(Path(url.removeprefix("unix://")), seed=0), f"{prefix}fl:{KEY}"
    async with line.url() as at, AsyncExitStack() as stack:
        one = await open_server(at, prefix, stack)
        await lead(one)
        await command(redis, "PEXPIRE", key, 60_000)  # it outlives what follows
        line.mode = CUT
        await until(lambda: "flights" in one.counted.sites)
        line.mode = ""
        async with asyncio.timeout(10):
            while await command(redis, "PTTL", key) > LEASE_S * 1_000:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def test_a_note_lives_as_long_as_the_lease_beside_it(
    two: list[Server], redis: Connection
) -> None:
    flights, note = two[0].flights, Note("topic", "name", b"value")
    lease = (await flights.turn(KEY, note)).lease
    assert lease is not None
    keys = [f"{flights._prefix}fl:{KEY}", f"{flights._prefix}fq:name"]
    for key in keys:
        await command(redis, "PEXPIRE", key, 60_000)
    await flights._renew_some([lease])
    for key in keys:
        assert 0 < await command(redis, "PTTL", key) <= LEASE_S * 1_000
    flights.release(lease)
    await flights._work.drain()
    assert await command(redis, "EXISTS", *keys) == 0


async def test_who_leaves_while_waiting_is_forgotten(two: list[Server]) -> None:
    one, other = two
    await lead(one)
    task = await waiting(other)
    await end(task)
    assert not other.flights._waiters
    assert not other.flights._held


async def test_a_lease_whose_taker_left_before_the_reply_is_released(
    two: list[Server], redis: Connection
) -> None:
    one = two[0]
    key = f"{one.flights._prefix}fl:{KEY}"
    for _ in range(20):
        task = asyncio.create_task(one.flights.turn(KEY))
        await asyncio.sleep(0)
        await end(task)
        if task.cancelled():
            break
    await one.flights._work.drain()
    assert not await command(redis, "EXISTS", key)
    assert not one.flights._held


async def test_a_gap_in_the_stream_has_those_who_wait_ask_again(
    two: list[Server], redis: Connection
) -> None:
    one, other = two
    await lead(one)
    task = await waiting(other)
    await command(redis, "DEL", f"{one.flights._prefix}fl:{KEY}")
    gaps = list[int]()
    other.flights.hear(lambda *of: None, lambda name: None, lambda: gaps.append(1))
    await other.flights._look()
    turn = await asyncio.wait_for(task, LEASE_S / 2)
    assert turn.lease is not None
    assert gaps  # notes may have been missed, too


async def test_without_the_store_everybody_goes_alone() -> None:
    with serving(ENGINES["valkey"]) as url:
        async with AsyncExitStack() as stack:
            one = await open_server(url, "t:", stack)
            two = await open_server(url, "t:", stack)
            await lead(one)
            task = await waiting(two)
            await command(one.flights._peers._redis, "CLIENT", "KILL", "TYPE", "normal")
            with pytest.raises(Exception, match="store failed"):
                await command(one.flights._peers._redis, "SHUTDOWN", "NOSAVE")
            assert (await task).lease is None
            assert await two.flights.turn("another-key") == Turn(None, waited=False)
            assert "flights" in two.counted.sites


STEPS = st.lists(
    st.tuples(st.sampled_from(("take", "renew", "release", "lapse")), st.integers(0, 2)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_a_lease_has_one_holder_and_only_that_ends_it(
    url: str, steps: list[tuple[str, int]]
) -> None:
    """Compare with a model: the holder is who took the lease last, while it was free."""
    asyncio.run(_compare(url, steps))


async def _compare(url: str, steps: list[tuple[str, int]]) -> None:
    prefix, redis, counted = f"t{time.monotonic_ns()}:", connect(url), Counted()
    at_key = f"{prefix}fl:{KEY}"
    peers = Peers(redis, counted.swallowed, prefix=prefix)  # they share a connection, and no state
    servers = [Flights(redis, peers, counted, prefix=prefix, lease_s=60) for _ in range(3)]
    own: list[Lease | None] = [None] * 3  # the last lease of each, held or lost
    holder: int | None = None
    for step, at in steps:
        server, lease = servers[at], own[at]
        match step:
            case "take":
                wanted = Lease(KEY, f"{at}:{time.monotonic_ns()}")
                left_s = await server._ask(wanted)
                assert (left_s is None) == (holder is None)
                if left_s is None:
                    holder, own[at] = at, wanted
            case "renew" if lease is not None:
                await server._renew_some([lease])
                assert (KEY in server._held) == (holder == at)
            case "release" if lease is not None:
                server.release(lease)
                await server._work.drain()
                holder = None if holder == at else holder
            case "lapse":
                await command(redis, "DEL", at_key)
                holder = None
        held = None if holder is None else own[holder]
        assert await command(redis, "GET", at_key) == (
            None if held is None else held.fence.encode()
        )
    for server in servers:
        await server.close()
    await redis.aclose()
