"""Acknowledged removals outlive a failover: replicas have them, and recent ones are made again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache.store.entries import Entries
from cacheserver.core.errors import StoreError
from cacheserver.core.rules.limits import Limits
from cacheserver.storage import key_groups
from cacheserver.storage.connection import command, connect
from cacheserver.storage.recent_changes import RecentChanges
from cacheserver.storage.replication import run_waiting
from cacheserver.tenants.page_sessions import PageSessions
from tests.cache.entries import entry
from tests.house import ADMIN_KEY, House, came_from
from tests.live_ids import live_ids
from tests.redis_clusters import Nodes, cluster
from tests.storage.replicas import KEYS, WITHIN_S, lost, replica_of, until_hit

ADMIN = {"x-api-key": ADMIN_KEY}


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


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
    async with House.open(
        tmp_path, redis_url=nodes.url, redis_replicas=0, store_wait_s=0.25
    ) as house:
        tenants, entries = house.parts.tenants, house.parts.entries.entries
        record, revoked = await tenants.create_key("one")
        key = await house.key("one")
        texts = [f"Question {number}? [[sim text=Answer-{number}]]" for number in range(6)]
        ids = []
        for text in texts:
            answer = await house.ask(text, key=key, headers={"x-cache-tags": text[9]})
            ids.append(answer.headers["x-cache-entry"])
        async with lost(nodes):
            await entries.purge_tag("one", "0")
            await entries.purge_id("one", ids[1])
            await entries.purge_ids([ids[2]])
            await entries.deadlines.set("one", ids[4], house.clock() + 0.001, keep_s=0)
            new = await house.http.put(
                f"/admin/v1/entries/one/{ids[5]}/answer", json={"text": "New."}, headers=ADMIN
            )
            assert new.status_code == 200, new.text
            await tenants.revoke_key(record.id)
            await tenants.change("one", {"bar": {"similarity": 0.99}})
        await until_hit(house, texts[3], key, never=revoked)
        assert (await house.ask(texts[3], key=revoked)).status_code == 401
        for text in (*texts[:3], *texts[4:]):
            assert came_from(await house.ask(text, key=key))[0] == "miss"
        tenants.forget("one")
        assert (await tenants.get("one")).bar.similarity == 0.99


async def test_changes_of_settings_keys_and_sessions_are_made_again(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(
        tmp_path, redis_url=nodes.url, redis_replicas=0, store_wait_s=0.25
    ) as house:
        tenants, live, now = house.parts.tenants, house.parts.host.live, house.clock()
        limited, _ = await tenants.create_key("one")
        short, _ = await tenants.create_key("one")
        key = await house.key("two")
        await tenants.change("gone", {"bar": {"similarity": 0.5}})
        sessions = PageSessions(house.parts.host.store.redis, prefix=KEYS, now=house.clock)
        token, _ = await sessions.create("setting", ADMIN_KEY)
        await house.ask("one", key=key)
        async with lost(nodes):
            await tenants.limit_key(limited.id, Limits(requests_per_minute=7))
            await tenants.change_key(short.id, label=None, expires=True, expires_at=now + 9_999)
            await tenants.remove("gone")
            await live.settings.change({"top_k": 3})
            await sessions.end(token)
        await until_hit(house, "one", key)
        keys = {one.id: one for one in await tenants.list_keys()}
        assert keys[limited.id].limits.requests_per_minute == 7
        assert keys[short.id].expires_at == now + 9_999
        assert "gone" not in await tenants.names()
        stored = await command(house.parts.host.store.redis, "HGET", f"{KEYS}live", "settings")
        assert stored == b'{"top_k":3}'
        assert live.settings.current.top_k == 3
        assert await sessions.find(token) is None


async def test_nobody_trusts_the_store_before_all_servers_have_made_their_removals_again(
    nodes: Nodes, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": nodes.url, "redis_replicas": 0, "store_wait_s": 0.25}
    async with (
        House.open(tmp_path / "0", **store) as one,
        House.open(tmp_path / "1", upstream=one.parts.host.settings.upstream, **store) as two,
    ):
        record, revoked = await one.parts.tenants.create_key("one")
        key = await one.key("one")
        for text in ("first", "second"):
            answer = await one.ask(text, key=key)
        assert came_from(await two.ask("second", key=key))[0] == "exact"
        may = asyncio.Event()
        async with lost(nodes):
            one.parts.host.store.redis.recent.note(may.wait)  # it takes its time
            await one.parts.entries.entries.purge_id("one", answer.headers["x-cache-entry"])
            await one.parts.tenants.revoke_key(record.id)
            await two.ask("first", key=key)  # a server remembers no key from before a revocation
        ends, seen = time.monotonic() + WITHIN_S, 0
        while seen < 4:  # times that the store was there, and another server not ready
            found = await two.ask("second", key=key)
            assert came_from(found)[0] == "miss"
            assert (await two.ask("first", key=revoked)).status_code in (401, 503)
            seen += two.parts.host.store.redis.recent.takeovers
            assert time.monotonic() < ends
        may.set()
        await until_hit(two, "first", key, never=revoked)
        assert (await two.ask("first", key=revoked)).status_code == 401
        entry = answer.headers["x-cache-entry"]
        assert await two.parts.entries.entries.by_id("one", entry) is None


async def test_of_two_replicas_the_one_without_an_acknowledged_removal_may_take_over(
    tmp_path: Path,
) -> None:
    with cluster("valkey", masters=3, replicas=2) as nodes:
        async with House.open(tmp_path, redis_url=nodes.url, store_wait_s=0.25) as house:
            record, revoked = await house.parts.tenants.create_key("one")
            key = await house.key("one")
            for text in ("one", "two"):
                await house.ask(text, key=key, headers={"x-cache-tags": text})
            primary = nodes.primary_of(KEYS)
            assert primary.run("WAIT", 2, 5_000) == 2
            with_it, without = [x for x in nodes.live if x.run("ROLE")[2] == primary.port]
            nodes.pause(without)
            purge = {"json": {"tag": "one"}, "headers": {"x-api-key": key}}
            done = await house.http.post("/v1/purge", **purge)  # type: ignore[arg-type]
            assert done.status_code == 200, done.text
            gone = await house.http.delete(f"/admin/v1/keys/{record.id}", headers=ADMIN)
            assert gone.status_code == 200, gone.text
            primary.run("CLIENT", "KILL", "TYPE", "replica")
            nodes.kill(with_it)
            nodes.kill(primary)
            nodes.resume(without)
            await until_hit(house, "two", key, never=revoked)
            assert (await house.ask("two", key=revoked)).status_code == 401
            assert came_from(await house.ask("one", key=key))[0] == "miss"


async def test_a_change_by_an_admin_is_not_acknowledged_by_another_primary(nodes: Nodes) -> None:
    client = connect(nodes.url, prefix=KEYS)
    try:
        await command(client, "SET", f"{KEYS}one", 1)
        since = client.recent.takeovers
        await run_waiting(client, "SET", f"{KEYS}one", 2, since=since)
        replica = replica_of(nodes, nodes.primary_of(KEYS))
        replica.run("CLUSTER", "FAILOVER")
        ends = time.monotonic() + WITHIN_S
        while nodes.primary_of(KEYS) is not replica:
            assert time.monotonic() < ends
        said = ""
        while "see whether it is there" not in said:  # first its connection may be closed
            assert time.monotonic() < ends
            with pytest.raises(StoreError) as refused:
                await run_waiting(client, "SET", f"{KEYS}one", 3, since=since)
            said = str(refused.value)
    finally:
        await client.aclose()


async def test_only_changes_of_the_last_minute_are_made_again_and_in_their_order() -> None:
    class Store:
        generation = 0
        history = b""

    store, now = Store(), 0.0
    recent = RecentChanges(store, clock=lambda: now)
    made: list[str] = []

    def noted(name: str, kind: str = "") -> None:
        async def redo() -> None:
            made.append(name)

        recent.note(redo, kind, name)

    async def tell(kind: str, body: str) -> None:
        made.append(f"{kind}:{body}")

    await recent.redo()
    noted("old")
    now = 61.0
    noted("a", "keys")
    noted("b")
    assert not recent.due
    await recent.redo()
    assert made == []
    store.generation = 2
    assert recent.due
    await recent.redo()
    await recent.tell(tell)
    assert made == ["a", "b"]
    assert not recent.due
    with pytest.raises(StoreError, match="may have back what was removed"):
        recent.check()  # other servers' may be missing
    recent.agree(2)
    recent.check()
    for _ in range(2):
        await recent.tell(tell)
        assert made == ["a", "b", "keys:a"]


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


async def test_a_purge_begins_again_where_a_replica_takes_over_between_its_steps(
    nodes: Nodes,
) -> None:
    redis = connect(nodes.url, prefix=KEYS)

    def hand_over(_: Sequence[str]) -> None:
        before = nodes.primary_of(KEYS)
        if not redis.recent.takeovers:
            replica_of(nodes, before).run("CLUSTER", "FAILOVER")
            ends = time.monotonic() + WITHIN_S
            while nodes.primary_of(KEYS) is before:
                assert time.monotonic() < ends

    try:
        store = Entries(redis, prefix=KEYS, forget=hand_over)
        for number in range(600):  # three steps; the second has a cursor of the old primary
            one = entry(fingerprint=f"f{number}", tags=("t",))
            assert await store.put(one, keep_s=0, vector=None, asked_at=time.time())
        await store.purge_tag("acme", "t")
        assert redis.recent.takeovers == 1
        assert await live_ids(store) == set()
    finally:
        await redis.aclose()


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
