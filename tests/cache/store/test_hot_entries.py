"""Entries in memory: never one that a change, whoever made it, had removed when it returned."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.hot_entries import HotEntries
from cacheserver.cache.store.stored_entry import Stored
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Entry
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.storage import key_groups
from cacheserver.storage.connection import Connection, connect
from cacheserver.storage.sealer import PlainSealer
from tests.cache.entries import entry
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_servers import ENGINES, serving

LEASE_S = 0.5
SHORT_S = 0.1  # for a test of many servers


async def server(
    redis: Connection,
    prefix: str,
    *,
    max_bytes: int = 1_000_000,
    lease_s: float = LEASE_S,
    **given: Any,
) -> Entries:
    peers = Peers(redis, uncounted, prefix=prefix, lease_s=lease_s)
    hot = HotEntries(peers, prefix=prefix, max_bytes=max_bytes)
    await peers.start()
    return Entries(redis, prefix=prefix, hot=hot, **given)


async def stop(store: Entries) -> None:
    await store.close()
    await store.hot._peers.close()


@pytest.fixture
async def store(redis: Connection, prefix: str) -> AsyncIterator[Entries]:
    found = await server(redis, prefix)
    yield found
    await stop(found)


async def put(store: Entries, *entries: Entry) -> None:
    for one in entries:
        assert await store.put(one, keep_s=60, vector=None, asked_at=time.time())


async def warmed(store: Entries, one: Entry) -> None:
    """Look an entry up until it is in memory."""
    async with asyncio.timeout(10):
        while store.hot.get(one.fingerprint, one.created_at) is None:
            assert await store.get(one.fingerprint) == one
            await asyncio.sleep(0.001)


async def reads(redis: Connection) -> int:
    return int((await redis.info("commandstats"))["cmdstat_mget"]["calls"])


async def test_an_entry_that_is_in_memory_is_not_read_again(
    store: Entries, redis: Connection
) -> None:
    one = entry()
    await put(store, one)
    await warmed(store, one)
    before = await reads(redis)
    for _ in range(100):
        assert await store.get("f1") == one
    assert await reads(redis) <= before + 1  # one more if the machine held the lease up


async def test_neighbours_in_memory_are_not_read_again_but_their_marks_are(
    store: Entries, redis: Connection, prefix: str
) -> None:
    one, other = entry("f1"), entry("f2")
    refs = [(one.fingerprint, one.id), (other.fingerprint, other.id)]
    await put(store, one, other)
    assert await store.grouped(refs) == [Stored(one, one.id), Stored(other, other.id)]
    await warmed(store, one)
    elsewhere = Entries(redis, prefix=prefix)  # it reads all of it
    await store.set_group(one, "both")
    for _ in range(2):
        found = await store.together(refs, exact="f1", beside=lambda id: (f"{prefix}x:{id}",))
        assert found.grouped == await elsewhere.grouped(refs)
        assert found.grouped == [Stored(one, "both"), Stored(other, other.id)]
        assert found.exact == one
        assert found.beside == {one.id: [None], other.id: [None]}
    newer = entry("f2")
    await put(store, newer)
    assert await store.grouped(refs) == [Stored(one, "both"), None]
    await store.purge_id(one.tenant, one.id)
    assert await store.grouped(refs) == await elsewhere.grouped(refs) == [None, None]


async def test_memory_is_bounded_and_what_was_used_last_stays(
    redis: Connection, prefix: str
) -> None:
    store = await server(redis, prefix, max_bytes=20_000)
    for n in range(20):
        one = entry(f"f{n}", message=b"x" * 2_000)
        await put(store, one)
        await warmed(store, one)
        assert await store.get(f"f{n}") == one
        assert store.hot.size <= 20_000
    await stop(store)
    assert store.hot.size == 0


async def test_nothing_is_kept_where_memory_is_off(redis: Connection, prefix: str) -> None:
    store = await server(redis, prefix, max_bytes=0)
    await put(store, entry())
    for _ in range(3):
        assert await store.get("f1") is not None
        assert store.hot.size == 0
    await stop(store)


async def test_an_entry_expires_in_memory_to_the_millisecond(
    redis: Connection, prefix: str
) -> None:
    now = time.time()
    store = await server(redis, prefix, clock=lambda: now)
    one = entry(created_at=now, expires_at=now + 30)
    await put(store, one)
    await warmed(store, one)
    now = one.expires_at - 0.001
    assert store.hot.get("f1", now) == one
    now = one.expires_at
    assert store.hot.get("f1", now) is None
    assert await store.get("f1") == one  # stale, as the store says
    await stop(store)


@pytest.mark.parametrize("way", ["id", "ids", "tag", "namespace", "tenant", "actor", "replaced"])
async def test_a_change_of_its_own_drops_what_it_removed(store: Entries, way: str) -> None:
    one, newer = entry(tags=("red",), actor="who"), entry()
    await put(store, one)
    await warmed(store, one)
    match way:
        case "id":
            await store.purge_id("acme", one.id)
        case "ids":
            await store.purge_ids([one.id])
        case "tag":
            await store.purge_tag("acme", "red")
        case "namespace":
            await store.purge_namespace("acme", one.namespace)
        case "tenant":
            await store.purge_tenant("acme")
        case "actor":
            await store.purge_group(key_groups.actor_group("acme", "who"))
        case "replaced":
            await put(store, newer)
    assert await store.get("f1") == (newer if way == "replaced" else None)


async def test_a_new_deadline_holds_in_memory_to_the_millisecond(
    redis: Connection, prefix: str
) -> None:
    now = time.time()
    store = await server(redis, prefix, clock=lambda: now)
    one = entry(created_at=now, expires_at=now + 30)
    await put(store, one)
    for ttl_s in (5.5, 60.25):  # shorter, then longer
        await warmed(store, await current(store))
        ends = now + ttl_s
        assert await store.deadlines.set("acme", one.id, ends, keep_s=60) is not None
        await warmed(store, replace(one, expires_at=ends))
        assert store.hot.get("f1", ends - 0.001) is not None
        assert store.hot.get("f1", ends) is None
        left_ms = await redis.pttl(f"{prefix}e:f1")
        assert (ttl_s + 59) * 1000 < left_ms <= (ttl_s + 60) * 1000
    await stop(store)


async def current(store: Entries) -> Entry:
    found = await store.get("f1")
    assert found is not None
    return found


async def test_what_the_size_limit_evicts_leaves_the_memory(redis: Connection, prefix: str) -> None:
    store = await server(redis, prefix, max_bytes=1_000_000)
    store.max_bytes = 5_000
    one, dearer = entry("f1", cost=1), entry("f2", message=os.urandom(3_000), cost=1_000_000)
    await put(store, one)
    await warmed(store, one)
    await put(store, dearer)
    assert await store.get("f1") is None
    await stop(store)


class SlowSealer(PlainSealer):
    """Holds a read up after the store has answered it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def know(self, values: Iterable[bytes | None], *, at: int = 0) -> None:
        self.reached.set()
        await self.go.wait()


async def test_a_read_that_was_under_way_during_a_purge_is_not_kept(
    redis: Connection, prefix: str
) -> None:
    sealer = SlowSealer()
    store = await server(redis, prefix, sealer=sealer)
    one = entry()
    await put(store, one)
    sealer.go.set()
    await warmed(store, one)
    store.hot.drop("f1")
    sealer.go.clear()
    sealer.reached.clear()
    read = asyncio.create_task(store.get("f1"))
    await sealer.reached.wait()
    assert await store.purge_id("acme", one.id) == 1
    sealer.go.set()
    assert await read == one  # it asked before the purge
    assert await store.get("f1") is None
    await stop(store)


async def test_several_servers_keep_entries_and_a_purge_drops_them_on_each(
    store: Entries, redis: Connection, prefix: str
) -> None:
    one = entry(tags=("red",))
    await put(store, one)
    other = await server(redis, prefix)
    for _ in range(3):
        await warmed(store, one)
        await warmed(other, one)
        assert await other.purge_tag("acme", "red") == 1
        assert await store.get("f1") is None
        assert await other.get("f1") is None
        one = entry(tags=("red",))
        await put(other, one)
    await warmed(store, one)
    newer = entry("f1")
    await put(other, newer)
    assert store.hot.get("f1", time.time()) is None  # replaced
    assert await store.get("f1") == newer
    assert await other.deadlines.set("acme", newer.id, time.time() + 5, keep_s=60) is not None
    assert store.hot.get("f1", time.time()) is None
    await stop(other)


async def test_a_server_that_stands_still_holds_a_change_up_until_its_lease_is_over(
    redis: Connection, prefix: str
) -> None:
    still, next_one = await server(redis, prefix), await server(redis, prefix)
    one = entry()
    await put(still, one)
    await warmed(still, one)
    await crashed(still)
    assert await next_one.purge_id("acme", one.id) == 1
    assert await still.get("f1") is None
    await stop(still)
    await stop(next_one)


async def crashed(store: Entries) -> None:
    """End what a server does in the background, and tell the store nothing."""
    tasks = [*store.hot._peers._tasks, store.hot._peers._lease._beating]
    for task in tasks:
        if task is not None:
            await end(task)


async def test_a_change_that_a_hung_store_carries_out_late_is_not_hidden_by_memory() -> None:
    with serving(ENGINES["valkey"]) as url:
        redis, patient = connect(url, timeout_s=0.2), connect(url)
        store = await server(redis, "p:")
        pid = (await patient.info("server"))["process_id"]
        one = entry()
        await put(store, one)
        await warmed(store, one)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError):
                await store.purge_id("acme", one.id)
            assert store.hot.get("f1", time.time()) is None
        finally:
            os.kill(pid, signal.SIGCONT)
        await store.purge_id("acme", one.id)
        assert await store.get("f1") is None
        await stop(store)
        await redis.aclose()
        await patient.aclose()


async def test_nothing_is_kept_while_the_outcome_of_a_change_is_not_known(
    store: Entries, redis: Connection
) -> None:
    one = entry()
    await put(store, one)
    await warmed(store, one)
    with pytest.raises(StoreError):  # for all that the server knows it may still be carried out
        await store.hot.change(redis.register_script("return redis.error_reply('ERR lost')"))
    assert not store.hot.held
    assert await store.get("f1") == one
    assert store.hot.size == 0
    await warmed(store, one)


names = st.sampled_from(["f0", "f1"])
servers = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("put"), servers, names, st.sampled_from(["red", "blue"])),
    st.tuples(st.just("get"), servers, names),
    st.tuples(st.just("get"), servers, names),
    st.tuples(st.just("purge tag"), servers, st.sampled_from(["red", "blue"])),
    st.tuples(st.just("purge one"), servers, names),
    st.tuples(st.just("cancelled"), servers, st.sampled_from(["red", "blue"])),
    st.tuples(st.just("crash"), servers),
    st.tuples(st.just("settle"), servers),
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, min_size=5, max_size=25))
async def test_whatever_two_servers_do_neither_serves_what_is_gone(
    redis: Connection, plan: list[tuple[Any, ...]]
) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    async with two(redis, prefix) as both:
        # What may be found under a name: one thing, unless a change was cancelled.
        possible: dict[str, set[Entry | None]] = {name: {None} for name in ("f0", "f1")}
        for step in plan:
            match step:
                case ("put", int(place), str(name), str(tag)):
                    one = entry(name, tags=(tag,))
                    await put(both[place], one)
                    possible[name] = {one}
                case ("get", int(place), str(name)):
                    for _ in range(3):  # to be found in memory
                        assert await both[place].get(name) in possible[name]
                case ("purge tag", int(place), str(tag)):
                    await both[place].purge_tag("acme", tag)
                    for name, found in possible.items():
                        gone = {one for one in found if one is not None and tag in one.tags}
                        possible[name] = (found - gone) | ({None} if gone else set())
                case ("purge one", int(place), str(name)):
                    for found_one in filter(None, possible[name]):
                        await both[place].purge_id("acme", found_one.id)
                    possible[name] = {None}
                case ("cancelled", int(place), str(tag)):
                    purge = asyncio.create_task(both[place].purge_tag("acme", tag))
                    await asyncio.sleep(0)
                    purge.cancel()
                    await asyncio.wait({purge})
                    for name, found in possible.items():
                        if any(one is not None and tag in one.tags for one in found):
                            possible[name] = {*found, None}
                case ("crash", int(place)):
                    await crashed(both[place])
                    both[place] = await server(redis, prefix, lease_s=SHORT_S)
                case ("settle", int(place)):  # time to keep entries in memory
                    async with asyncio.timeout(10):
                        while not both[place].hot.held:  # noqa: ASYNC110
                            await asyncio.sleep(0.01)
            for name, found in possible.items():
                assert await both[step[1]].get(name) in found


@asynccontextmanager
async def two(redis: Connection, prefix: str) -> AsyncIterator[list[Entries]]:
    both = [await server(redis, prefix, lease_s=SHORT_S) for _ in range(2)]
    try:
        yield both
    finally:
        for one in both:
            await stop(one)


async def test_two_servers_on_one_store_serve_nothing_that_either_has_purged(
    url: str, prefix: str, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
    async with (
        House.open(tmp_path / "one", **store) as one,
        House.open(tmp_path / "two", **store) as two,
    ):
        tagged = {"x-cache-tags": "red"}
        assert came_from(await one.ask(headers=tagged))[0] == "miss"
        hot = one.parts.entries.entries.hot
        while not (hot.held and hot.size):
            assert came_from(await one.ask(headers=tagged))[0] == "exact"
        purge = await two.http.post("/v1/purge", json={"tag": "red"})
        assert purge.json() == {"purged": 1}
        assert came_from(await one.ask(headers=tagged))[0] == "miss"
        metrics = await one.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})
        assert 'cacheserver_memory_bytes{kind="answers"}' in metrics.text
