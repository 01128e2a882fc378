"""Servers that start just after a replica has taken over: they wait for the others' removals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from cacheserver.config.settings import Settings
from cacheserver.core.errors import StoreError
from cacheserver.core.rules.limits import Limits
from cacheserver.core.types import Tenant
from cacheserver.peers import peers as servers
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.peers.server_lease import LEASE_S
from cacheserver.storage.connection import Connection, command, connect
from cacheserver.tenants import key_changes
from cacheserver.tenants.store import Tenants
from tests.house import House, came_from
from tests.redis_clusters import Nodes, cluster
from tests.storage.replicas import KEYS, lost

_WITHIN_S = 30.0  # a failover takes three seconds, on a machine that is not busy


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


async def until_taken_over(redis: Connection) -> None:
    ends = time.monotonic() + _WITHIN_S
    while not redis.recent.takeovers:
        with suppress(StoreError):
            await command(redis, "PING")
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


async def test_a_server_that_starts_after_a_takeover_serves_nothing_that_another_removed(
    nodes: Nodes, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": nodes.url, "redis_replicas": 0, "store_wait_s": 0.25}
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(House.open(tmp_path / "0", **store))
        key, may = await one.key("one"), asyncio.Event()
        answer = await one.ask("removed", key=key)
        async with lost(nodes):
            one.parts.host.store.redis.recent.note(may.wait)  # it takes its time
            await one.parts.entries.entries.purge_id("one", answer.headers["x-cache-entry"])
        await until_taken_over(one.parts.host.store.redis)
        store["upstream"] = one.parts.host.settings.upstream
        opening = asyncio.create_task(
            stack.enter_async_context(House.open(tmp_path / "1", **store))
        )
        done, _ = await asyncio.wait({opening}, timeout=3.0)  # some leases
        assert not done
        may.set()
        two = await opening
        assert came_from(await two.ask("removed", key=key))[0] == "miss"


async def test_a_server_that_starts_on_a_primary_that_others_trust_does_not_wait(
    nodes: Nodes,
) -> None:
    async with AsyncExitStack() as stack:
        for waits in (True, False):
            redis = connect(nodes.url, prefix=KEYS)
            stack.push_async_callback(redis.aclose)
            peers, began = Peers(redis, uncounted, prefix=KEYS), time.monotonic()
            stack.push_async_callback(peers.close)
            await peers.start()
            assert peers.held
            assert (time.monotonic() - began > LEASE_S) == waits


async def test_a_server_does_not_start_where_another_never_makes_its_removals_again(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_START_S", 2.0)
    async with AsyncExitStack() as stack:
        redis = connect(nodes.url, prefix=KEYS)
        stack.push_async_callback(redis.aclose)
        live = Peers(redis, uncounted, prefix=KEYS)
        stack.push_async_callback(live.close)
        await live.start()
        redis.recent.note(asyncio.Event().wait)
        nodes.kill(nodes.primary_of(KEYS))
        await until_taken_over(redis)
        new = Peers(other := connect(nodes.url, prefix=KEYS), uncounted, prefix=KEYS)
        stack.push_async_callback(other.aclose)
        stack.push_async_callback(new.close)
        with pytest.raises(StoreError, match="has not made its removals again"):
            await new.start()


async def test_a_command_reads_no_key_before_the_servers_have_made_their_changes_again(
    nodes: Nodes, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": nodes.url, "redis_replicas": 0, "store_wait_s": 0.25}
    async with House.open(tmp_path / "0", **store) as one:
        tenants, redis = one.parts.tenants, one.parts.host.store.redis
        key, _ = await tenants.create_key("one")
        async with lost(nodes):
            redis.recent.note((may := asyncio.Event()).wait)  # it takes its time
            await tenants.limit_key(key.id, Limits(requests_per_minute=1))
        await until_taken_over(redis)

        async def listed() -> int | None:
            settings = Settings(data_dir=tmp_path / "1", **store)
            async with key_changes.connected(settings) as other:
                (found,) = await Tenants(other, prefix=KEYS, defaults=Tenant("")).list_keys()
                return found.limits.requests_per_minute

        listing = asyncio.create_task(listed())
        done, _ = await asyncio.wait({listing}, timeout=3 * LEASE_S)
        assert not done
        may.set()
        assert await listing == 1
