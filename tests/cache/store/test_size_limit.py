"""The size limit, against a model of GDSF that knows nothing of Redis."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.cache.store.codec import pack_entry, pack_vectors, vector_row
from cacheserver.cache.store.entries import HALF_LIFE_S, OVERHEAD_BYTES, Entries
from cacheserver.core.types import FIRST_EMBEDDER, Entry
from cacheserver.storage.connection import Connection, command
from tests.cache.entries import HALF, entry
from tests.live_ids import live_ids


def size(one: Entry) -> int:
    return (
        len(pack_entry(one))
        + 2 * len(pack_vectors(vector_row(one, {FIRST_EMBEDDER: HALF})))
        + OVERHEAD_BYTES
    )


def noise(length: int) -> bytes:
    """Bytes that do not get smaller when they are stored."""
    return random.Random(length).randbytes(length)


async def put(store: Entries, one: Entry) -> bool:
    return await store.put(one, keep_s=0, vector=HALF, asked_at=one.created_at)


async def test_the_answers_that_save_least_per_byte_go_first(
    redis: Connection, prefix: str
) -> None:
    dear, cheap, large = (
        entry("dear", cost=9_000_000),
        entry("cheap", cost=1_000_000),
        entry("large", cost=1_000_000, message=noise(2_000)),
    )
    room = size(dear) + size(cheap) + size(large)
    left: list[str] = []
    store = Entries(redis, prefix=prefix, max_bytes=room, forget=left.extend)
    for one in (dear, cheap, large):
        assert await put(store, one)
    assert await put(store, entry("new", cost=2_000_000))
    assert left == [large.id]
    assert await store.get("large") is None
    assert await store.by_id("acme", large.id) is None
    assert large.id not in {row.entry_id async for row in store.vectors.scan()}
    assert store.evicted == 1
    assert await store.used_bytes() <= room


async def test_an_answer_asked_for_again_outlives_one_that_is_not(
    redis: Connection, prefix: str
) -> None:
    loved, lonely = entry("loved", cost=1_000), entry("lonely", cost=2_000)
    store = Entries(redis, prefix=prefix, max_bytes=size(loved) + size(lonely))
    assert await put(store, loved)
    assert await put(store, lonely)
    for _ in range(3):
        store.touch(loved)
    await store.upkeep()
    assert await put(store, entry("newer", cost=1_500))
    assert await store.get("loved") == loved
    assert await store.get("lonely") is None


async def test_an_answer_that_nobody_asks_for_goes_in_the_end_however_dear(
    redis: Connection, prefix: str
) -> None:
    dear = entry("f0", cost=10_000)
    # Compressed, two entries differ by a few bytes.
    store = Entries(redis, prefix=prefix, max_bytes=2 * size(dear) + 50)
    assert await put(store, dear)
    survived = 0
    for number in range(1, 30):
        assert await put(store, entry(f"f{number % 9 + 1}", cost=3_000))
        survived += await store.get("f0") is not None
    assert 2 <= survived <= 10


async def test_what_has_expired_makes_room_before_anything_is_evicted(
    redis: Connection, prefix: str
) -> None:
    now = time.time()
    left: list[str] = []
    over, cheap = entry("f1", cost=9_000, expires_at=now + 1), entry("f2", cost=1)
    store = Entries(
        redis, prefix=prefix, max_bytes=2 * size(over), clock=lambda: now, forget=left.extend
    )
    assert await put(store, over)
    assert await put(store, cheap)
    now += 2
    assert await put(store, entry("f3"))
    assert left == [over.id]
    assert await store.get("f2") == cheap


async def test_an_answer_larger_than_the_limit_is_refused_and_evicts_nobody(
    redis: Connection, prefix: str
) -> None:
    one = entry("one")
    store = Entries(redis, prefix=prefix, max_bytes=size(one))
    assert await put(store, one)
    assert not await put(store, entry("two", message=one.message + b" "))
    assert await store.get("one") == one


async def test_without_a_limit_nothing_is_evicted(redis: Connection, prefix: str) -> None:
    store = Entries(redis, prefix=prefix)
    stored = [entry(f"f{n}", message=noise(10_000)) for n in range(50)]
    for one in stored:
        assert await put(store, one)
        store.touch(one)
    assert await store.upkeep() == 0
    assert len(await live_ids(store)) == 50


@pytest.mark.parametrize("by", ["put", "upkeep"])
async def test_a_limit_lowered_far_is_kept_at_once_and_other_keys_stay(
    redis: Connection, prefix: str, by: str
) -> None:
    others = [f"{prefix}key:1", f"{prefix}stats", "e:f1"]
    for other in others:
        await command(redis, "SET", other, "kept")
    many = [entry(f"f{n:04}") for n in range(1_300)]
    unlimited = Entries(redis, prefix=prefix)
    await asyncio.gather(*(put(unlimited, one) for one in many))
    limit = 3 * size(many[0])
    store = Entries(redis, prefix=prefix, max_bytes=limit)
    if by == "put":
        assert await put(store, entry("f9999"))
        assert await store.get("f9999") is not None
    else:
        assert await store.upkeep() >= 1_297
    assert 0 < await store.used_bytes() <= limit
    assert len(await live_ids(store)) == 3
    assert [await command(redis, "GET", other) for other in others] == [b"kept"] * 3


@dataclass
class Model:
    """GDSF: H = L + f * c / s, and L the last H evicted."""

    limit: int
    held: dict[str, Entry] = field(default_factory=dict)
    worth: dict[str, float] = field(default_factory=dict)
    hits: dict[str, tuple[float, float]] = field(default_factory=dict)
    inflation: float = 0.0

    def drop(self, fingerprint: str) -> None:
        self.held.pop(fingerprint, None)
        self.worth.pop(fingerprint, None)
        self.hits.pop(fingerprint, None)

    def used(self) -> int:
        return sum(size(one) for one in self.held.values())

    def put(self, one: Entry, now: float) -> bool:
        if size(one) > self.limit:
            return False
        self.drop(one.fingerprint)
        self.expire(now)
        while self.used() + size(one) > self.limit:
            worst = min(self.worth, key=lambda name: (self.worth[name], self.held[name].id))
            self.inflation = self.worth[worst]
            self.drop(worst)
        self.held[one.fingerprint] = one
        self.worth[one.fingerprint] = self.inflation + max(one.cost or 0, 1) / size(one)
        return True

    def touch(self, fingerprint: str, now: float) -> None:
        one = self.held[fingerprint]
        count, when = self.hits.get(fingerprint, (1.0, now))
        count = count * 0.5 ** ((now - when) / HALF_LIFE_S) + 1
        self.hits[fingerprint] = (count, now)
        self.worth[fingerprint] = self.inflation + count * max(one.cost or 0, 1) / size(one)

    def expire(self, now: float) -> None:
        for one in [one for one in self.held.values() if one.expires_at <= now]:
            self.drop(one.fingerprint)


names = st.sampled_from([f"f{n}" for n in range(8)])
tags = st.sampled_from(["red", "blue"])
steps = st.one_of(
    st.tuples(
        st.just("put"),
        names,
        st.none() | st.integers(0, 10**7),
        st.integers(0, 6_000),
        st.integers(1, 4_000),
        tags,
    ),
    st.tuples(st.just("touch"), names),
    st.tuples(st.just("wait"), st.integers(1, 3_000)),
    st.tuples(st.just("purge"), tags),
    st.tuples(st.just("purge one"), names),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, max_size=40))
async def test_whatever_happens_redis_holds_what_gdsf_says(
    redis: Connection, plan: list[tuple[object, ...]]
) -> None:
    # Time is ours and stands before Redis's own, so only the accounts decide what is gone.
    now = time.time() + 100
    model = Model(limit=16_000)
    store = Entries(redis, prefix=f"{uuid.uuid4().hex}:", max_bytes=model.limit, clock=lambda: now)
    for step in plan:
        match step:
            case ("put", str(name), int() | None as cost, int(length), int(ttl_s), str(tag)):
                one = entry(
                    name,
                    cost=cost,
                    message=noise(length),
                    tags=(tag,),
                    created_at=now,
                    expires_at=now + ttl_s,
                )
                now += 0.001
                assert await put(store, one) == model.put(one, now)
            case ("touch", str(name)) if name in model.held:
                store.touch(model.held[name])
                model.touch(name, now)
                await store.upkeep()
                model.expire(now)
            case ("wait", int(seconds)):
                now += seconds
                await store.upkeep()
                model.expire(now)
            case ("purge", str(tag)):
                tagged = [one for one in model.held.values() if tag in one.tags]
                assert await store.purge_tag("acme", tag) == len(tagged)
                for one in tagged:
                    model.drop(one.fingerprint)
                now += 0.001
            case ("purge one", str(name)) if name in model.held:
                assert await store.purge_id("acme", model.held[name].id) == 1
                model.drop(name)
        held = {one.id for one in model.held.values()}
        assert await live_ids(store) == held
        assert {row.entry_id async for row in store.vectors.scan()} == held
        assert await store.used_bytes() == model.used() <= model.limit
        for fingerprint in (f"f{n}" for n in range(8)):
            assert await store.get(fingerprint) == model.held.get(fingerprint)
    await store.purge_tenant("acme")
    assert await store.used_bytes() == 0
    await store.close()  # hundreds of these share one pool
