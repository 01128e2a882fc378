"""Erasures on a store whose primary dies: carried out again as far as the replica lacks them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.selectors import Selector
from cacheserver.storage.connection import command
from tests.house import MODEL, House
from tests.redis_clusters import Nodes, cluster
from tests.storage.replicas import KEYS, WITHIN_S, lost, replica_of, until_hit


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


async def test_an_erasure_is_carried_out_again_in_all_that_it_covers(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(
        tmp_path, redis_url=nodes.url, redis_replicas=0, store_wait_s=0.25
    ) as house:
        key = await house.key("one")
        names = {"x-api-key": key}
        for talk in ("erased", "forgotten", "kept"):
            body = {"prompt": "Hello.", "conversation": talk, "model": MODEL}
            assert (await house.http.post("/v1/query", json=body, headers=names)).is_success
        turns = house.parts.conversations.turns
        async with lost(nodes):
            erased = await house.http.post(
                "/v1/erase", json={"conversation": "erased"}, headers=names
            )
            assert erased.status_code == 200, erased.text
            gone = await house.http.delete("/v1/conversations/forgotten", headers=names)
            assert gone.status_code == 200, gone.text
            gone = await house.http.delete("/v1/conversations/kept", headers=names)
            again = {"prompt": "Hello again.", "conversation": "kept", "model": MODEL}
            assert (await house.http.post("/v1/query", json=again, headers=names)).is_success
        ends = time.monotonic() + WITHIN_S
        while True:
            with suppress(StoreError):
                await house.parts.host.peers.trust()
                await house.parts.eraser.look()
                if not await turns.load("one", "default", "erased"):
                    break
            assert time.monotonic() < ends
        assert not await turns.load("one", "default", "forgotten")


async def test_an_erasure_that_the_replica_has_takes_nothing_that_came_after_it(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(tmp_path, redis_url=nodes.url, store_wait_s=0.25) as house:
        key, eraser = await house.key("one"), house.parts.eraser
        await eraser.close()  # its rounds
        names = {"x-api-key": key}
        erased = await house.http.post("/v1/erase", json={"namespace": "default"}, headers=names)
        assert erased.status_code == 200, erased.text
        body = {"prompt": "Hello.", "conversation": "talk", "model": MODEL}
        assert (await house.http.post("/v1/query", json=body, headers=names)).is_success
        primary = nodes.primary_of(KEYS)
        assert primary.run("WAIT", 1, 5_000) == 1
        nodes.kill(primary)
        await until_hit(house, "Another? [[sim text=Other]]", key)
        assert await eraser.look() == 0
        assert await house.parts.conversations.turns.load("one", "default", "talk")


async def test_a_pass_of_an_erasure_in_which_a_replica_took_over_counts_as_none(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(tmp_path, redis_url=nodes.url) as house:
        await house.parts.eraser.close()  # its rounds
        store, redis = house.parts.eraser.store, house.parts.host.store.redis
        erasure = Erasure("one", Selector("tag", ("t",)), at=house.clock(), who="admin")
        await store.take(erasure)
        await store.put(erasure)
        await store.hold(erasure)
        before = nodes.primary_of(KEYS)
        replica_of(nodes, before).run("CLUSTER", "FAILOVER")
        ends = time.monotonic() + WITHIN_S
        while nodes.primary_of(KEYS) is before or not redis.recent.takeovers:
            assert time.monotonic() < ends
            with suppress(StoreError):
                await command(redis, "GET", f"{KEYS}er:count")
        with pytest.raises(StoreError, match="taken over during an erasure"):
            await store.passed(erasure, again_at=house.clock())
        assert await store.due(house.clock()) == [erasure]
        assert await command(redis, "GET", f"{KEYS}er:passed:{erasure.id}") == b"0"
