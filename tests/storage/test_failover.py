"""The store's connection on a real cluster and on real Sentinels, whose primaries die."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.storage.connection import (
    Connection,
    check_reachable,
    check_server,
    command,
    connect,
    run_script,
    store_errors,
)
from cacheserver.storage.node_url import Address
from cacheserver.storage.primary import Primary
from tests.redis_clusters import HOST, Nodes, cluster
from tests.redis_sentinels import SERVICE, Sentinels, sentinels

PREFIX = "{cs1:}"
KEY = f"{PREFIX}key"
_WITHIN_S = 30.0  # a failover takes three seconds, on a machine that is not busy


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


@pytest.fixture
def watched() -> Iterator[Sentinels]:
    with sentinels() as found:
        yield found


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    client = connect(url, prefix=PREFIX)
    try:
        await check_reachable(client, url)
        await check_server(client, prefix=PREFIX)
        yield client
    finally:
        await client.aclose()


async def until_back(client: Connection) -> bytes | None:
    """Return the value of `KEY` once the store answers again; meanwhile there are store errors."""
    ends = time.monotonic() + _WITHIN_S
    while True:
        try:
            found: bytes | None = await command(client, "GET", KEY)
            return found
        except StoreError:
            assert time.monotonic() < ends
            await asyncio.sleep(0.01)


async def until_away(client: Connection) -> None:
    ends = time.monotonic() + _WITHIN_S
    with contextlib.suppress(StoreError):
        while True:
            await command(client, "GET", KEY)
            assert time.monotonic() < ends
            await asyncio.sleep(0.05)


async def all_ways(client: Connection) -> list[object]:
    """Increment `KEY` by a command, a script, a pipeline, and on a connection of its own."""
    script = client.register_script("return redis.call('INCR', ARGV[1])")
    found: list[object] = [await command(client, "INCR", KEY), await run_script(script, KEY)]
    with store_errors():
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(KEY)
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.incr(KEY)
            found += await pipe.execute()
    return found


async def test_a_cluster_is_used_through_the_node_that_has_our_keys(nodes: Nodes) -> None:
    async with connected(nodes.url) as client:
        assert await all_ways(client) == [1, 2, 3]
        before = nodes.primary_of(KEY)
        assert before.run("GET", KEY) == "3"
        nodes.kill(before)
        assert await until_back(client) == b"3"
        assert await all_ways(client) == [4, 5, 6]
        assert nodes.primary_of(KEY) is not before


async def test_a_primary_that_hands_over_is_left_without_an_error(nodes: Nodes) -> None:
    async with connected(nodes.url) as client:
        assert await all_ways(client) == [1, 2, 3]
        before = nodes.primary_of(KEY)
        replica = next(one for one in nodes.all if one.run("ROLE")[2] == before.port)
        replica.run("CLUSTER", "FAILOVER")
        ends = time.monotonic() + _WITHIN_S
        while nodes.primary_of(KEY) is before:
            assert time.monotonic() < ends
        assert await all_ways(client) == [4, 5, 6]
        assert replica.run("GET", KEY) == "6"


async def test_a_primary_that_hangs_is_left_for_the_one_that_took_over(nodes: Nodes) -> None:
    async with connected(nodes.url) as client:
        await all_ways(client)
        nodes.pause(nodes.primary_of(KEY))
        assert await until_back(client) == b"3"
        assert await all_ways(client) == [4, 5, 6]


async def test_scripts_are_refused_by_nodes_without_our_keys(nodes: Nodes) -> None:
    async with connected(nodes.url) as client:
        other = next(one for one in nodes.primaries() if one is not nodes.primary_of(KEY))
        wrong = connect(f"redis://{HOST}:{other.port}")
        wrong._script_key = client._script_key  # as if the slot had just left that node
        script = wrong.register_script("return redis.call('PING')")
        with pytest.raises(StoreError, match="MovedError"):
            await run_script(script, KEY)
        await wrong.aclose()


async def test_a_slot_that_is_moved_key_by_key_is_not_used_meanwhile(nodes: Nodes) -> None:
    async with connected(nodes.url) as client:
        await all_ways(client)
        here = nodes.primary_of(KEY)
        other = next(one for one in nodes.primaries() if one is not here)
        slot = here.run("CLUSTER", "KEYSLOT", KEY)
        other.run("CLUSTER", "SETSLOT", slot, "IMPORTING", here.id)
        here.run("CLUSTER", "SETSLOT", slot, "MIGRATING", other.id)
        with pytest.raises(StoreError):
            await command(client, "INCR", f"{PREFIX}another")  # it would be made over there
        with pytest.raises(StoreError, match="being moved"):
            await command(client, "GET", KEY)
        here.run("CLUSTER", "SETSLOT", slot, "STABLE")
        other.run("CLUSTER", "SETSLOT", slot, "STABLE")
        assert await until_back(client) == b"3"


async def test_sentinels_lead_to_the_primary(watched: Sentinels) -> None:
    async with connected(watched.url) as client:
        assert await all_ways(client) == [1, 2, 3]
        before = watched.primary()
        watched.kill(before)
        assert await until_back(client) == b"3"
        assert await all_ways(client) == [4, 5, 6]
        watched.wait_failover(before)
        assert watched.primary().run("GET", KEY) == "6"


async def test_a_primary_that_was_replaced_while_it_hung_is_not_used_again(
    watched: Sentinels,
) -> None:
    async with connected(watched.url) as client:
        await all_ways(client)
        before = watched.primary()
        watched.pause(before)
        await until_back(client)
        watched.wait_failover(before)
        watched.resume(before)
        assert await all_ways(client) == [4, 5, 6]
        assert watched.primary().run("GET", KEY) == "6"


async def test_a_server_cut_off_from_most_sentinels_stops_using_the_primary(
    watched: Sentinels,
) -> None:
    async with connected(watched.url) as client:
        await all_ways(client)
        for one in watched.watchers[:2]:
            watched.kill(one)
        await until_away(client)
        with pytest.raises(StoreError, match="1 of 3 Sentinels answer"):
            await command(client, "GET", KEY)


@pytest.mark.parametrize("turns", [1, 2, 3])  # of the loop, until the closing is cancelled
async def test_a_client_whose_closing_is_cancelled_asks_the_sentinels_no_more(
    watched: Sentinels, turns: int
) -> None:
    client = connect(watched.url, prefix=PREFIX)
    await command(client, "PING")
    primary = client.primary
    assert primary is not None
    watching = primary._watching
    assert watching is not None
    opened = [
        one._writer.transport
        for asked in primary._asked.values()
        for one in asked.connection_pool._available_connections
    ]
    closing = asyncio.ensure_future(client.aclose())
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    closed = [one.is_closing() for one in opened]
    await asyncio.wait({watching}, timeout=1)
    ended = watching.done()
    await client.aclose()  # what was left open would disturb the next test
    assert closed
    assert all(closed)
    assert ended


async def test_the_sentinels_are_asked_again_though_asking_failed_unexpectedly(
    watched: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, locate = asyncio.Event(), Primary.locate

    async def failing_once(self: Primary) -> Address:
        if asyncio.current_task() is self._watching and not failed.is_set():
            failed.set()
            raise RuntimeError("the handler is closed")
        return await locate(self)

    monkeypatch.setattr(Primary, "locate", failing_once)
    async with connected(watched.url) as client:
        await failed.wait()
        for one in watched.watchers[:2]:
            watched.kill(one)
        await until_away(client)


async def test_what_cannot_be_used_is_refused_with_what_to_do(watched: Sentinels) -> None:
    primary, replica = watched.servers
    other_service = watched.url.replace(f"/{SERVICE}", "/other")
    for url, why in [
        (replica.url, "is a replica.*name its primary"),
        (other_service, "no service `other`; see `SENTINEL MASTERS`"),
        (f"redis+sentinel://{HOST}:{primary.port}/main", "no Sentinel, but a Redis"),
        (f"redis+cluster://{HOST}:{primary.port}", "no node of a cluster; use redis://"),
    ]:
        with pytest.raises(SettingsError, match=f"CACHESERVER_REDIS_URL.*{why}"):
            async with connected(url):
                pass
    with pytest.raises(StoreError, match="none of its hosts answers"):
        async with connected("redis+sentinel://127.0.0.1:1/main"):
            pass


async def test_a_cluster_with_holes_and_a_lone_node_are_refused(nodes: Nodes) -> None:
    first = nodes.all[0]
    with pytest.raises(SettingsError, match=r"node of a cluster; write redis\+cluster://"):
        async with connected(first.url):
            pass
    ours = nodes.primary_of(KEY)
    slot = int(ours.run("CLUSTER", "KEYSLOT", KEY))
    for one in nodes.live:
        one.run("CLUSTER", "DELSLOTS", (slot + 1) % 16_384)
    with pytest.raises(SettingsError, match="16383 of the cluster's 16384 slots"):
        async with connected(nodes.url):
            pass
    for one in nodes.live:
        one.run("CLUSTER", "DELSLOTS", slot)
    with pytest.raises(SettingsError, match=f"no node of the cluster serves slot {slot}"):
        async with connected(nodes.url):
            pass
