"""The contract of `Entries`, on every engine at hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cacheserver.cache.store.entries import MARKER_S, Entries
from cacheserver.cache.store.stored_entry import Replaced, Stored
from cacheserver.core.errors import StoreError
from cacheserver.core.types import FIRST_EMBEDDER, Entry
from cacheserver.storage.connection import Connection, command, connect
from tests.cache.entries import HALF, entry
from tests.live_ids import live_ids


@pytest.fixture
def store(redis: Connection, prefix: str) -> Entries:
    return Entries(redis, prefix=prefix)


async def put(store: Entries, *entries: Entry, keep_s: int = 0) -> None:
    for one in entries:
        assert await store.put(one, keep_s=keep_s, vector=HALF, asked_at=time.time())


async def answers(store: Entries, refs: Sequence[tuple[str, str]]) -> list[Entry | None]:
    """What is stored under (fingerprint, entry id), without its groups."""
    return [None if one is None else one.entry for one in await store.grouped(refs)]


async def vectors(store: Entries) -> set[str]:
    return {row.entry_id async for row in store.vectors.scan()}


async def gone_by_itself(store: Entries, fingerprint: str) -> None:
    while await store.get(fingerprint) is not None:
        pass


async def test_a_stored_entry_comes_back_whole_by_fingerprint_and_by_id(store: Entries) -> None:
    one = entry(tags=("a", "b"), cost=None, text=None)
    await put(store, one)
    assert await store.get("f1") == one
    assert await store.by_id("acme", one.id) == one
    assert await answers(store, [("f1", one.id)]) == [one]


async def test_what_was_never_stored_is_absent(store: Entries) -> None:
    assert await store.get("f1") is None
    assert await store.by_id("acme", "0" * 32) is None
    assert await answers(store, [("f1", "0" * 32)]) == [None]
    assert await answers(store, []) == []
    assert await vectors(store) == set()
    assert await live_ids(store) == set()


async def test_an_entry_and_its_vector_die_with_their_life_and_what_is_kept_beyond(
    store: Entries, redis: Connection, prefix: str
) -> None:
    await put(store, entry(expires_at=time.time() + 100), keep_s=50)
    for kind in "ev":
        left_ms = await command(redis, "PTTL", f"{prefix}{kind}:f1")
        assert 145_000 < left_ms <= 150_000


async def test_an_entry_past_its_deadline_is_there_while_it_is_kept(store: Entries) -> None:
    one = entry(expires_at=time.time() - 1)
    await put(store, one, keep_s=60)
    assert await store.get("f1") == one


async def test_an_entry_that_is_over_is_not_stored(store: Entries) -> None:
    over = entry(expires_at=time.time() - 10)
    assert not await store.put(over, keep_s=10, vector=None, asked_at=time.time())
    assert await live_ids(store) == set()


async def test_an_expired_entry_is_absent_and_leaves_the_accounts_at_the_next_upkeep(
    redis: Connection, prefix: str
) -> None:
    left: list[str] = []
    store = Entries(redis, prefix=prefix, forget=left.extend)
    one, other = entry(expires_at=time.time() + 0.05, tags=("t",)), entry("f2")
    await put(store, one, other)
    await gone_by_itself(store, "f1")
    assert await store.by_id("acme", one.id) is None
    assert await answers(store, [("f1", one.id)]) == [None]
    assert await vectors(store) == {other.id}
    while await store.upkeep() == 0:  # the server's clock and ours may differ by a millisecond
        pass
    assert left == [one.id]
    assert await live_ids(store) == {other.id}
    assert await command(redis, "EXISTS", f"{prefix}g:g:4:acme:t") == 0
    used = await store.used_bytes()
    await store.purge_id("acme", other.id)
    assert used > 0
    assert await store.used_bytes() == 0


async def test_a_hit_never_extends_a_life(redis: Connection, prefix: str) -> None:
    store = Entries(redis, prefix=prefix, max_bytes=1_000_000)
    one = entry(expires_at=time.time() + 100)
    await put(store, one)
    store.touch(one)
    await store.get("f1")
    await store.upkeep()
    assert 0 < await command(redis, "PTTL", f"{prefix}e:f1") <= 100_000


async def test_a_newer_answer_replaces_the_older_one_with_all_that_was_its(
    redis: Connection, prefix: str
) -> None:
    left: list[str] = []
    store = Entries(redis, prefix=prefix, forget=left.extend)
    old, new = entry(tags=("old",)), entry(tags=("new",))
    await put(store, old)
    assert await store.put(new, keep_s=0, vector=None, asked_at=time.time())
    assert await store.get("f1") == new
    assert await answers(store, [("f1", old.id), ("f1", new.id)]) == [None, new]
    assert await store.by_id("acme", old.id) is None
    assert await vectors(store) == set()
    assert await live_ids(store) == {new.id}
    assert left == [old.id]
    assert await store.purge_tag("acme", "old") == 0
    assert await store.purge_id("acme", old.id) == 0
    assert await store.get("f1") == new


async def test_storing_the_same_entry_twice_is_storing_it_once(store: Entries) -> None:
    one = entry()
    await put(store, one)
    used = await store.used_bytes()
    await put(store, one)
    assert await store.used_bytes() == used
    assert await vectors(store) == {one.id}


Purge = Callable[[Entries, Entry], Awaitable[int]]
PURGES: dict[str, Purge] = {
    "id": lambda store, one: store.purge_id(one.tenant, one.id),
    "tag": lambda store, one: store.purge_tag(one.tenant, one.tags[0]),
    "namespace": lambda store, one: store.purge_namespace(one.tenant, one.namespace),
    "tenant": lambda store, one: store.purge_tenant(one.tenant),
}


@pytest.mark.parametrize("kind", PURGES)
async def test_a_purge_takes_what_it_names_and_nothing_else(
    redis: Connection, prefix: str, kind: str
) -> None:
    left: list[str] = []
    store = Entries(redis, prefix=prefix, forget=left.extend)
    one = entry(tags=("t", "u"), namespace="n")
    bystander = entry("f2", tags=("t", "u"), namespace="n", tenant="other")
    neighbour = entry("f3", tags=("x",), namespace="m")
    await put(store, one, bystander, neighbour)
    assert await PURGES[kind](store, one) == (2 if kind == "tenant" else 1)
    assert await store.get("f1") is None
    assert await store.by_id("acme", one.id) is None
    assert one.id not in await vectors(store)
    assert one.id in left
    assert await store.get("f2") == bystander
    assert (await store.get("f3") is None) == (kind == "tenant")
    assert await PURGES[kind](store, one) == 0


@pytest.mark.parametrize("kind", PURGES)
async def test_a_purge_covers_the_answers_that_are_on_their_way(
    redis: Connection, prefix: str, kind: str
) -> None:
    purged_at = time.time()
    store = Entries(redis, prefix=prefix, clock=lambda: purged_at)
    elsewhere = Entries(redis, prefix=prefix)
    one = entry(tags=("t",), namespace="n")
    await PURGES[kind](store, one)
    for asked_at in (purged_at - 1, purged_at):
        assert not await elsewhere.put(one, keep_s=0, vector=None, asked_at=asked_at)
    assert await store.get("f1") is None
    assert await elsewhere.put(one, keep_s=0, vector=None, asked_at=purged_at + 0.001)


async def test_a_purge_leaves_the_answers_of_others_on_their_way_alone(store: Entries) -> None:
    asked_at = time.time() - 1
    await store.purge_tag("acme", "t")
    await store.purge_namespace("acme", "n")
    await store.purge_id("acme", "0" * 32)
    await store.purge_tenant("other")
    one = entry(tags=("u",), namespace="m")
    assert await store.put(one, keep_s=0, vector=None, asked_at=asked_at)


async def test_an_earlier_purge_that_arrives_late_takes_nothing_back(
    redis: Connection, prefix: str
) -> None:
    now = time.time()
    await Entries(redis, prefix=prefix, clock=lambda: now).purge_tag("acme", "t")
    await Entries(redis, prefix=prefix, clock=lambda: now - 5).purge_tag("acme", "t")
    store = Entries(redis, prefix=prefix)
    one = entry(tags=("t",))
    assert not await store.put(one, keep_s=0, vector=None, asked_at=now - 1)


async def test_an_answer_asked_for_before_purges_are_remembered_is_refused(
    store: Entries,
) -> None:
    asked_at = time.time() - MARKER_S
    assert not await store.put(entry(), keep_s=0, vector=None, asked_at=asked_at)
    assert await store.put(entry(), keep_s=0, vector=None, asked_at=asked_at + 60)


async def test_no_tenant_can_spell_another_ones_tag(store: Entries) -> None:
    names = ["a", "a:b", "1:a", "a:1:b", ""]
    tags = ["b", "a:b", "1:b:b", "", "b:b"]
    stored = [
        entry(f"{tenant}/{tag}", tenant=tenant, tags=(tag,)) for tenant in names for tag in tags
    ]
    await put(store, *stored)
    for one in stored:
        assert await store.purge_tag(one.tenant, one.tags[0]) == 1


async def test_an_id_is_only_found_and_purged_by_its_tenant(store: Entries) -> None:
    one = entry()
    await put(store, one)
    assert await store.by_id("other", one.id) is None
    assert await store.purge_id("other", one.id) == 0
    assert await store.get("f1") == one


async def test_a_purge_of_more_than_one_step_takes_all(store: Entries) -> None:
    many = [entry(f"f{n}", tags=("t",)) for n in range(1_201)]
    await asyncio.gather(*(put(store, one) for one in many))
    assert await store.purge_tag("acme", "t") == 1_201
    assert await live_ids(store) == set()
    assert await store.used_bytes() == 0


async def test_the_vectors_of_all_that_is_stored_come_back(store: Entries) -> None:
    many = [entry(f"f{n}", scope=f"s{n % 3}") for n in range(2_500)]
    await asyncio.gather(*(put(store, one) for one in many))
    plain = entry("plain")
    assert await store.put(plain, keep_s=0, vector=None, asked_at=time.time())
    rows = {row.entry_id: row async for row in store.vectors.scan()}
    assert set(rows) == {one.id for one in many}
    for one in many[::500]:
        row = rows[one.id]
        assert (row.fingerprint, row.scope, row.tenant) == (one.fingerprint, one.scope, "acme")
        assert (row.expires_at, row.vectors) == (one.expires_at, {FIRST_EMBEDDER: HALF})
    assert await live_ids(store) == {one.id for one in many} | {plain.id}


async def test_a_value_this_version_cannot_read_is_absent_and_can_be_replaced(
    store: Entries, redis: Connection, prefix: str
) -> None:
    await put(store, entry())
    await command(redis, "SET", f"{prefix}e:f1", b"\x07of a later version")
    assert await store.get("f1") is None
    new = entry()
    await put(store, new)
    assert await store.get("f1") == new


async def test_an_old_ids_sweep_spares_the_newer_answer_under_its_fingerprint(
    redis: Connection, prefix: str
) -> None:
    store = Entries(redis, prefix=prefix)
    old = entry(expires_at=time.time() + 0.05)
    await put(store, old)
    await gone_by_itself(store, "f1")  # in Redis, but not yet from the accounts
    new = entry()
    await put(store, new)
    while old.id in await command(redis, "HKEYS", f"{prefix}ids"):
        await store.upkeep()
    assert await store.get("f1") == new
    assert await vectors(store) == {new.id}


async def test_lookups_of_one_moment_share_a_connection(store: Entries, redis: Connection) -> None:
    stored = [entry(f"f{n}") for n in range(64)]
    await put(store, *stored)

    async def connections() -> int:
        stats = await command(redis, "INFO", "stats")
        return int(stats["total_connections_received"])

    before = await connections()
    assert await asyncio.gather(*(store.get(one.fingerprint) for one in stored)) == stored
    assert await answers(store, [(one.fingerprint, one.id) for one in stored]) == stored
    assert await connections() == before


async def test_more_lookups_than_one_command_holds_are_all_answered(store: Entries) -> None:
    stored = [entry(f"f{n}") for n in range(600)]
    await asyncio.gather(*(put(store, one) for one in stored))
    assert await asyncio.gather(*(store.get(one.fingerprint) for one in stored)) == stored
    refs = [(one.fingerprint, one.id) for one in stored]
    assert await answers(store, refs) == stored


async def test_a_lookup_given_up_harms_no_other(store: Entries) -> None:
    one = entry()
    await put(store, one)
    first = asyncio.create_task(store.get("f1"))
    second = asyncio.create_task(store.get("f1"))
    await asyncio.sleep(0)  # both have asked
    first.cancel()
    assert await second == one
    assert first.cancelled()
    assert await store.get("f1") == one


async def test_a_store_that_is_away_is_a_store_error_everywhere(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    store = Entries(client)
    one = entry()
    attempts: list[Awaitable[object]] = [
        store.get("f1"),
        answers(store, [("f1", one.id)]),
        store.by_id("acme", one.id),
        store.put(one, keep_s=0, vector=None, asked_at=time.time()),
        store.purge_id("acme", one.id),
        store.purge_tag("acme", "t"),
        store.purge_namespace("acme", "n"),
        store.purge_tenant("acme"),
        live_ids(store),
        store.upkeep(),
        vectors(store),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError):
            await attempt
    both = await asyncio.gather(store.get("f1"), store.get("f2"), return_exceptions=True)
    assert [type(error) for error in both] == [StoreError, StoreError]
    assert both[0] is not both[1]
    await client.aclose()


async def test_upkeep_in_the_background_survives_a_store_that_is_away(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/nobody.sock")
    async with Entries(client) as store:
        while store.failures == 0:  # each look-up lets the upkeep run on
            with pytest.raises(StoreError):
                await store.get("f1")
    await store.close()
    await client.aclose()


async def test_a_new_deadline_is_in_all_that_is_stored_of_an_entry(
    redis: Connection, prefix: str
) -> None:
    store = Entries(redis, prefix=prefix, max_bytes=1_000_000)
    one = entry(tags=("t",))
    await put(store, one, keep_s=10)
    assert await store.pin(one, pinned=True)
    ends = time.time() + 100.125
    found = await store.deadlines.set("acme", one.id, ends, keep_s=20)
    assert found is not None
    assert found[0] == replace(one, expires_at=ends)
    assert await store.by_id("acme", one.id) == found[0]
    assert [row.expires_at async for row in store.vectors.scan()] == [ends]
    for kind in "evs":
        assert 119_000 < await command(redis, "PTTL", f"{prefix}{kind}:f1") <= 120_125
    score = float(await command(redis, "ZSCORE", f"{prefix}deadlines", one.id))
    assert score == pytest.approx((ends + 20) * 1000, abs=2)
    assert (await store.grouped([("f1", one.id)]))[0] == Stored(
        found[0], one.id, corroborated=True, pinned=True
    )
    assert await store.deadlines.set("other", one.id, ends, keep_s=0) is None
    assert await store.deadlines.set("acme", "0" * 32, ends, keep_s=0) is None
    assert await store.purge_tag("acme", "t") == 1
    assert await store.used_bytes() == 0
    assert await store.deadlines.set("acme", one.id, ends, keep_s=0) is None


async def test_a_deadline_of_an_entry_that_was_replaced_is_not_the_newer_ones(
    store: Entries,
) -> None:
    old, new = entry(), entry()
    await put(store, old, new)
    assert await store.deadlines.set("acme", old.id, time.time() + 1, keep_s=0) is None
    assert await store.get("f1") == new


async def test_an_entry_is_replaced_only_while_it_is_the_one_that_was_read(store: Entries) -> None:
    old, newer, curated = entry(), entry(), entry(cost=0, made_up=True, curated_by="ann")
    now = time.time()
    await put(store, old, newer)
    for replaced in (Replaced(old.id, 5), Replaced("0" * 32, 5)):
        done = await store.put(curated, keep_s=0, vector=HALF, asked_at=now, replaces=replaced)
        assert not done
    assert await store.get("f1") == newer
    replaced = Replaced(newer.id, 5)
    assert await store.put(curated, keep_s=0, vector=HALF, asked_at=now, replaces=replaced)
    assert await store.get("f1") == curated
    assert await store.by_id("acme", newer.id) is None
    await store.purge_id("acme", curated.id)
    assert await store.used_bytes() == 0
