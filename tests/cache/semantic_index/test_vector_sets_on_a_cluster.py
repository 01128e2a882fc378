"""Vector sets on a cluster: its nodes, which fail, move and are many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from cacheserver.cache.semantic_index.keys import Keys, Segment, mark_of, shard_of
from cacheserver.cache.semantic_index.server import ClusterServer, open_server
from cacheserver.core.errors import SettingsError, StoreError
from tests.cache.semantic_index.contents import names_in
from tests.cache.semantic_index.servers import DIM, EMBEDDER, Clock, name, sets
from tests.index.data import unit_rows
from tests.redis_clusters import HOST, Nodes, cluster

ROWS = unit_rows(60, DIM, seed=7)
SLOT = key_slot(b"some key")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with cluster(server="redis8") as found:
        yield found


async def test_a_cluster_is_left_though_the_closing_is_cancelled(nodes: Nodes, prefix: str) -> None:
    server = open_server(nodes.url)
    assert isinstance(server, ClusterServer)
    for key in (f"{prefix}{n}" for n in range(9)):
        await server.run(key, "EXISTS", key)
    found = server._cluster.nodes_manager
    opened = [one for node in found.nodes_cache.values() for one in node._connections]
    assert any(one.is_connected for one in opened)
    closing = asyncio.ensure_future(server.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    left = [one.is_connected for one in opened]
    for one in opened:
        await one.disconnect()
    assert not any(left)


async def test_a_node_of_a_cluster_is_no_single_server(nodes: Nodes) -> None:
    index = sets(nodes.all[0].url, "x:", Clock())
    with pytest.raises(SettingsError, match="redis\\+cluster"):
        await index.open()
    await index.close()


@pytest.mark.parametrize(
    "url", ["redis+cluster://", "redis+cluster://a:b:c", "redis+cluster://h:x"]
)
def test_a_cluster_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="CACHESERVER_INDEX_REDIS_URL"):
        open_server(url)


async def test_a_cluster_with_a_slot_of_nobody_is_refused(nodes: Nodes) -> None:
    index = sets(nodes.url, "x:", Clock())
    owner = nodes.primary_of("some key")
    for node in nodes.all:
        node.run("CLUSTER", "DELSLOTS", SLOT)
    with pytest.raises(SettingsError, match=r"not all 16384 slots.*--cluster check"):
        await index.open()
    await index.close()
    owner.run("CLUSTER", "ADDSLOTS", SLOT)
    await asyncio.to_thread(nodes.wait_failover)


async def test_scopes_on_other_nodes_do_not_hide_one_that_fails(nodes: Nodes, prefix: str) -> None:
    clock = Clock()
    index = sets(nodes.url, prefix, clock)
    index._wait_s = 0.3
    node = nodes.primary_of(index._keys.vectors(Segment("s", 0)))
    far = next(
        scope
        for scope in map(str, range(100))
        if nodes.primary_of(index._keys.vectors(Segment(scope, 0))) is not node
        and nodes.primary_of(index._keys.counts(shard_of(scope))) is not node
    )
    nodes.pause(node)
    with pytest.raises(StoreError):
        await index.search("s", ROWS[1], 1, 0.0)
    nodes.resume(node)
    await index.search(far, ROWS[1], 1, 0.0)
    assert index.failing
    clock.now += 59
    assert index.failing
    clock.now += 1
    assert not index.failing
    await index.close()


async def test_more_searches_than_a_node_has_connections_wait(nodes: Nodes, prefix: str) -> None:
    index = sets(nodes.url, prefix, Clock())
    await index.add(name(1), "s", ROWS[1], 9_000.0)
    found = await asyncio.gather(*(index.search("s", ROWS[1], 1, 0.0) for _ in range(200)))
    assert [[match.id for match in one] for one in found] == [[name(1)]] * 200
    server = index._server
    assert isinstance(server, ClusterServer)
    opened = [len(node._connections) for node in server._cluster.get_nodes()]
    assert max(opened) == 32
    await index.close()


async def test_a_scope_that_moves_is_searched_on_its_new_node_once_that_is_known(
    nodes: Nodes, prefix: str
) -> None:
    index = sets(nodes.url, prefix, Clock())
    server = index._server
    assert isinstance(server, ClusterServer)
    key = index._keys.vectors(Segment("s", 0))
    source = nodes.primary_of(key)
    target = next(one for one in nodes.primaries() if one is not source)
    slot = server._cluster.keyslot(key)
    await server.run(key, "EXISTS", key)
    there = next(
        one
        for n in range(100)
        if nodes.primary_of(one := index._keys.vectors(Segment(f"s{n}", 0))) is target
    )
    # Some connections are open to the other node: what asks it is to be sent on the same one.
    await asyncio.gather(*(server.run(there, "EXISTS", there) for _ in range(4)))
    target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    try:
        assert await server.run(key, "EXISTS", key) == 0
        unknown = server._cluster.nodes_manager.nodes_cache.pop(f"{HOST}:{target.port}")
        with pytest.raises(StoreError, match="new node"):
            await index.search("s", ROWS[1], 1, 0.0)
        assert await index.search("s", ROWS[1], 1, 0.0) == []
    finally:
        for node in (source, target):
            node.run("CLUSTER", "SETSLOT", slot, "STABLE")
        await index.close()
    await unknown.disconnect()


async def test_a_search_that_takes_too_long_is_given_up(nodes: Nodes, prefix: str) -> None:
    index = sets(nodes.url, prefix, Clock())
    index._wait_s = 0.3
    await index.open()
    key = Keys(prefix, mark_of(EMBEDDER)).vectors(Segment("s", 0))
    await index.add(name(1), "s", ROWS[1], 9_000.0)
    node = nodes.primary_of(key)
    nodes.pause(node)
    with pytest.raises(StoreError, match="in time"):
        await index.search("s", ROWS[1], 1, 0.0)
    nodes.resume(node)
    await index.close()


async def test_a_cluster_spreads_scopes_and_survives_a_killed_primary(
    nodes: Nodes, prefix: str
) -> None:
    clock = Clock()
    index = sets(nodes.url, prefix, clock, most=5)
    await index.open()
    for n in range(60):
        await index.add(name(n), f"scope {n % 12 if n < 40 else 0}", ROWS[n], 9_000.0)
    used = {nodes.primary_of(index._keys.vectors(Segment(f"scope {n}", 0))).port for n in range(12)}
    assert len(used) == 3
    assert len(await names_in(index)) == 60
    for n in range(60):
        scope = f"scope {n % 12 if n < 40 else 0}"
        assert (await index.search(scope, ROWS[n], 1, 0.0))[0].id == name(n)

    key = index._keys.vectors(Segment("scope 0", 0))
    victim = nodes.primary_of(key)
    victim.run("WAIT", 1, 2_000)
    nodes.kill(victim)
    await asyncio.to_thread(nodes.wait_failover)
    clock.now += 1
    lost = 0
    for n in range(60):
        scope = f"scope {n % 12 if n < 40 else 0}"
        try:
            lost += [m.id for m in await index.search(scope, ROWS[n], 1, 0.0)] != [name(n)]
        except StoreError:  # the first that notice; then the client knows the new primary
            lost += 1
    assert lost <= 6
    clock.now = 9_000.0
    await index.tend()
    assert await names_in(index) == set()
    await index.wipe()
    await index.close()
