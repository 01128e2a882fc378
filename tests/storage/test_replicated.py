"""Acknowledged removals outlive a failover: replicas have them, and recent ones are made again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cacheserver.storage import key_groups
from cacheserver.storage.recent_changes import RecentChanges
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_clusters import Node, Nodes, cluster

KEYS = "{cs1:}"
ADMIN = {"x-api-key": ADMIN_KEY}
_WITHIN_S = 30.0  # a failover takes three seconds, on a machine that is not busy


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


def replica_of(nodes: Nodes, primary: Node) -> Node:
    return next(one for one in nodes.live if one.run("ROLE")[2] == primary.port)


async def until_hit(house: House, text: str, key: str) -> None:
    ends = time.monotonic() + _WITHIN_S
    while came_from(await house.ask(text, key=key))[0] != "exact":
        assert time.monotonic() < ends


async def test_what_no_replica_has_is_not_acknowledged(nodes: Nodes, tmp_path: Path) -> None:
    async with House.open(tmp_path, redis_url=nodes.url) as house:
        key = await house.key("one")
        await house.ask("one", key=key, headers={"x-cache-tags": "t"})
        replica = replica_of(nodes, nodes.primary_of(KEYS))
        nodes.pause(replica)
        purge = {"url": "/v1/purge", "json": {"tag": "t"}, "headers": {"x-api-key": key}}
        refused = await house.http.post(**purge)  # type: ignore[arg-type]
        assert refused.status_code == 503, refused.text
        assert "0 of 1 replicas have it" in refused.text
        assert came_from(await house.ask("two", key=key))[0] == "miss"
        assert came_from(await house.ask("two", key=key))[0] == "exact"  # answers need no replica
        id = (await house.parts.tenants.list_keys())[0].id
        refused = await house.http.delete(f"/admin/v1/keys/{id}", headers=ADMIN)
        assert refused.status_code == 503, refused.text
        nodes.kill(replica)
        health = (await house.http.get("/admin/v1/health", headers=ADMIN)).json()
        store = next(one for one in health["checks"] if one["name"] == "store")
        assert (store["status"], store["found"]) == ("degraded", "0 of 1 replicas follow")
        assert (await house.ask("two", key=key)).status_code == 401  # made all the same
        await asyncio.to_thread(nodes.start, replica)
        key = await house.key("one")
        purge["headers"] = {"x-api-key": key}
        done = await house.http.post(**purge)  # type: ignore[arg-type]
        assert done.status_code == 200, done.text


async def test_acknowledged_removals_hold_after_the_primary_died(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(tmp_path, redis_url=nodes.url, store_wait_s=0.25) as house:
        record, revoked = await house.parts.tenants.create_key("one")
        key = await house.key("one")
        texts = [f"Question {number}? [[sim text=Answer-{number}]]" for number in range(8)]
        for text in texts:
            await house.ask(text, key=key, headers={"x-cache-tags": text[9]})
        for text in texts[:4]:
            await house.parts.entries.entries.purge_tag("one", text[9])
        await house.parts.tenants.revoke_key(record.id)
        nodes.kill(nodes.primary_of(KEYS))
        await until_hit(house, texts[7], key)
        assert (await house.ask(texts[7], key=revoked)).status_code == 401
        for text in texts[:4]:
            assert came_from(await house.ask(text, key=key))[0] == "miss"


async def test_removals_that_the_replica_lacked_are_made_again(
    nodes: Nodes, tmp_path: Path
) -> None:
    """The settings ask for no replica here, so that the primary dies with what it alone has."""
    async with House.open(
        tmp_path, redis_url=nodes.url, redis_replicas=0, store_wait_s=0.25
    ) as house:
        tenants, entries = house.parts.tenants, house.parts.entries.entries
        record, revoked = await tenants.create_key("one")
        key = await house.key("one")
        texts = [f"Question {number}? [[sim text=Answer-{number}]]" for number in range(4)]
        ids = []
        for text in texts:
            answer = await house.ask(text, key=key, headers={"x-cache-tags": text[9]})
            ids.append(answer.headers["x-cache-entry"])
        primary = nodes.primary_of(KEYS)
        replica = replica_of(nodes, primary)
        assert primary.run("WAIT", 1, 5_000) == 1
        nodes.pause(replica)
        primary.run("CLIENT", "KILL", "TYPE", "replica")
        await entries.purge_tag("one", "0")
        await entries.purge_id("one", ids[1])
        await entries.purge_ids([ids[2]])
        await tenants.revoke_key(record.id)
        await tenants.change("one", {"bar": {"similarity": 0.99}})
        nodes.kill(primary)
        nodes.resume(replica)
        await until_hit(house, texts[3], key)
        assert (await house.ask(texts[3], key=revoked)).status_code == 401
        for text in texts[:3]:
            assert came_from(await house.ask(text, key=key))[0] == "miss"
        tenants.forget("one")
        assert (await tenants.get("one")).bar.similarity == 0.99


async def test_what_was_stored_after_a_purge_stays_when_a_replica_that_has_both_takes_over(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(tmp_path, redis_url=nodes.url, store_wait_s=0.25) as house:
        key, entries = await house.key("one"), house.parts.entries.entries
        old, new, other = (f"Question {n}? [[sim text=Answer-{n}]]" for n in range(3))
        await house.ask(old, key=key, headers={"x-cache-tags": "t"})
        assert await entries.purge_tag("one", "t") == 1
        for text in (new, old):
            stored = await house.ask(text, key=key, headers={"x-cache-tags": "t"})
            assert came_from(stored)[0] == "miss"
        primary = nodes.primary_of(KEYS)
        assert primary.run("WAIT", 1, 5_000) == 1
        nodes.kill(primary)
        await until_hit(house, other, key)  # asked once the removals were made again
        for text in (new, old):
            assert came_from(await house.ask(text, key=key))[0] == "exact"


async def test_a_purge_of_which_the_replica_has_a_part_is_made_again(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(
        tmp_path, redis_url=nodes.url, redis_replicas=0, store_wait_s=0.25
    ) as house:
        key, entries = await house.key("one"), house.parts.entries.entries
        old, other = (f"Question {n}? [[sim text=Answer-{n}]]" for n in range(2))
        await house.ask(old, key=key, headers={"x-cache-tags": "t"})
        primary = nodes.primary_of(KEYS)
        replica = replica_of(nodes, primary)
        mark = f"{KEYS}p:{key_groups.tag_group('one', 't')}"
        primary.run("SET", mark, repr(time.time()))  # as the first step leaves it
        assert primary.run("WAIT", 1, 5_000) == 1
        nodes.pause(replica)
        primary.run("CLIENT", "KILL", "TYPE", "replica")
        assert await entries.purge_tag("one", "t") == 1
        nodes.kill(primary)
        nodes.resume(replica)
        await until_hit(house, other, key)
        assert came_from(await house.ask(old, key=key))[0] == "miss"


async def test_only_changes_of_the_last_minute_are_made_again_and_in_their_order() -> None:
    class Store:
        generation = 1

    store, now = Store(), 0.0
    recent = RecentChanges(store, clock=lambda: now)
    made: list[str] = []

    def noted(name: str, kind: str = "") -> None:
        async def redo() -> None:
            made.append(name)

        recent.note(redo, kind, name)

    async def tell(kind: str, body: str) -> None:
        made.append(f"{kind}:{body}")

    await recent.redo(tell)
    noted("old")
    now = 61.0
    noted("a", "keys")
    noted("b")
    assert not recent.due
    await recent.redo(tell)
    assert made == []
    store.generation = 2
    assert recent.due
    await recent.redo(tell)
    assert made == ["a", "keys:a", "b"]
    assert not recent.due
