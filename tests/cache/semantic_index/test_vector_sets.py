"""Vector sets alone: segments, registers, races, servers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest

from cacheserver.cache.semantic_index.build import IndexOptions
from cacheserver.cache.semantic_index.keys import Keys, Segment, mark_of, shard_of
from cacheserver.cache.semantic_index.server import (
    OneServer,
    Word,
)
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.config.store_settings import StoreSettings
from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.embedded.process import find_server
from tests.cache.semantic_index.contents import names_in
from tests.cache.semantic_index.servers import DIM, EMBEDDER, Clock, name, one_redis8, sets
from tests.index.data import unit_rows
from tests.redis_servers import serving

ROWS = unit_rows(60, DIM, seed=7)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with one_redis8() as address:
        yield address


async def test_a_large_scope_has_several_sets_that_another_server_finds(
    url: str, prefix: str
) -> None:
    clock = Clock()
    one, other = sets(url, prefix, clock, most=8), sets(url, prefix, clock, most=8)
    await one.open()
    await one.add(name(0), "s", ROWS[0], 9_000.0)
    assert [m.id for m in await other.search("s", ROWS[0], 1, 0.0)] == [name(0)]
    for n in range(1, 40):
        await one.add(name(n), "s", ROWS[n], 9_000.0)
    clock.now += 6  # what it knows of the scope is read again
    for n in range(40):
        assert [m.id for m in await other.search("s", ROWS[n], 1, 0.0)] == [name(n)]
    keys, run = Keys(prefix, mark_of(EMBEDDER)), one._server.run
    sizes = [await run(k, "VCARD", k) for k in (keys.vectors(Segment("s", n)) for n in range(5))]
    assert sizes == [8] * 5
    for n in range(8):  # the first set is empty again: it is added to before a sixth is made
        assert await one.remove(name(n), "s")
    await one.add(name(41), "s", ROWS[41], 9_000.0)
    assert await run(keys.vectors(Segment("s", 0)), "VCARD", keys.vectors(Segment("s", 0))) == 1
    await asyncio.gather(one.close(), other.close())


class CutOff(OneServer):
    """A server that cannot be reached while commands to some keys are `lost`."""

    lost = "none"

    async def run(self, key: str, *words: Word) -> Any:
        if self.lost in key:
            raise StoreError("cut off")
        return await super().run(key, *words)


async def test_a_set_that_is_larger_than_the_limit_by_now_gets_a_second_one(
    url: str, prefix: str
) -> None:
    clock = Clock()
    old, index = sets(url, prefix, clock, most=40), sets(url, prefix, clock, most=8)
    for n in range(20):
        await old.add(name(n), "s", ROWS[n], 9_000.0)
    for n in range(20, 26):
        await index.add(name(n), "s", ROWS[n], 9_000.0)
    sizes = [await index._walk.size(Segment("s", number)) for number in range(3)]
    assert sizes == [21, 5, 0]  # it learns the size from what it adds
    for n in range(26):
        assert [m.id for m in await index.search("s", ROWS[n], 1, 0.0)] == [name(n)]
    await asyncio.gather(old.close(), index.close())


def test_a_set_is_no_larger_than_was_measured_to_find_the_nearest() -> None:
    """docs/scaling.md: 155,000 with a recall@1 of 0.99, a million with 0.883."""
    default = StoreSettings.model_fields["index_scope_vectors"].default
    assert default == IndexOptions().most <= 155_000
    assert signature(VectorSets).parameters["most"].default == default


class Gate:
    def __init__(self) -> None:
        self.met, self.open = asyncio.Event(), asyncio.Event()


class Held(OneServer):
    """A server whose next script of a key can be made to wait."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._gates = dict[str, Gate]()

    def hold(self, key: str) -> Gate:
        return self._gates.setdefault(key, Gate())

    async def run(self, key: str, *words: Word) -> Any:
        if words[0] == "EVAL" and (gate := self._gates.pop(key, None)) is not None:
            gate.met.set()
            await gate.open.wait()
        return await super().run(key, *words)


async def test_a_new_set_of_a_scope_that_could_not_be_listed_is_listed_later(
    url: str, prefix: str
) -> None:
    clock = Clock()
    server = CutOff(url)
    index, other = sets(server, prefix, clock, most=8), sets(url, prefix, clock, most=8)
    for n in range(8):
        await index.add(name(n), "s", ROWS[n], 9_000.0)
    server.lost = f"{{{mark_of(EMBEDDER)}:r"  # what lists the sets
    with pytest.raises(StoreError):
        await index.add(name(8), "s", ROWS[8], 9_000.0)
    server.lost = "none"
    await index.add(name(9), "s", ROWS[9], 9_000.0)
    assert [m.id for m in await other.search("s", ROWS[9], 1, 0.0)] == [name(9)]
    assert await other.remove(name(9), "s")
    assert await names_in(index) == {name(n) for n in range(8)}
    await asyncio.gather(index.close(), other.close())


async def test_the_number_of_sets_that_a_failover_lost_is_written_again(
    url: str, prefix: str
) -> None:
    clock = Clock()
    index, other = sets(url, prefix, clock, most=8), sets(url, prefix, clock, most=8)
    for n in range(9):
        await index.add(name(n), "s", ROWS[n], 9_000.0)
    lost = index._keys.register(shard_of("s")), index._keys.counts(shard_of("s"))
    await index._server.run(lost[0], "DEL", *lost)
    clock.now += 6  # what it knows of the scope is read again
    await index.add(name(9), "s", ROWS[9], 9_000.0)
    assert [m.id for m in await other.search("s", ROWS[8], 1, 0.0)] == [name(8)]
    assert {name(8), name(9)} <= await names_in(other)
    await asyncio.gather(index.close(), other.close())


async def test_additions_at_the_same_time_open_one_new_set(url: str, prefix: str) -> None:
    index = sets(url, prefix, Clock(), most=8)
    for n in range(8):
        await index.add(name(n), "s", ROWS[n], 9_000.0)
    await asyncio.gather(*(index.add(name(n), "s", ROWS[n], 9_000.0) for n in range(8, 28)))
    counts = index._keys.counts(shard_of("s"))
    assert await index._server.run(counts, "HGET", counts, "s") == b"2"
    await index.close()


async def test_a_set_is_listed_though_the_one_before_it_is_listed_meanwhile(
    url: str, prefix: str
) -> None:
    server = Held(url)
    index = sets(server, prefix, Clock(), most=8)
    for n in range(7):
        await index.add(name(n), "s", ROWS[n], 9_000.0)
    register, first = index._keys.register(shard_of("s")), index._keys.vectors(Segment("s", 0))
    listing = server.hold(register)
    early = asyncio.ensure_future(index.add(name(7), "s", ROWS[7], 8_000.0))
    await listing.met.wait()
    await index.add(name(8), "s", ROWS[8], 9_000.0)  # the first set is full
    removing = server.hold(first)
    last = asyncio.ensure_future(index.add(name(9), "s", ROWS[9], 9_000.0))
    await removing.met.wait()  # it has opened the second
    listing.open.set()
    await early
    removing.open.set()
    await last
    listed = await server.run(register, "ZRANGE", register, 0, -1)
    assert sorted(listed) == [b"0:s", b"1:s"]
    await index.close()


async def test_a_scope_that_stays_empty_leaves_nothing(url: str, prefix: str) -> None:
    clock = Clock()
    index = sets(url, prefix, clock)
    await index.open()
    await index.add(name(1), "s", ROWS[1], 1_010.0)
    clock.now = 1_010.0
    await index.tend()
    clock.now += 100
    await index.tend()  # condemned for less than it takes
    await index.add(name(2), "s", ROWS[2], 5_000.0)
    clock.now += 121
    await index.tend()
    assert await names_in(index) == {name(2)}  # revoked: it is listed still
    clock.now = 5_000.0
    await index.tend()
    clock.now += 121
    await index.tend()
    left = await index._server.run("", "KEYS", f"{prefix}*")
    assert [key for key in left if b"vi:" not in key and not key.endswith(b"vk")] == []
    await index.close()


async def test_what_is_removed_while_it_is_added_is_swept(url: str, prefix: str) -> None:
    """The vector comes after its deadline, so a removal in between leaves it to the sweep."""
    clock = Clock()
    index = sets(url, prefix, clock)
    await index.open()
    await index.add(name(1), "s", ROWS[1], 1_010.0)
    keys, run = Keys(prefix, mark_of(EMBEDDER)), index._server.run
    segment = Segment("s", 0)
    await run(keys.vectors(segment), "VREM", keys.vectors(segment), bytes.fromhex(name(1)))
    assert await names_in(index) == set()  # a deadline without a vector is nobody's
    assert not await index.holds(name(1), "s")
    assert not await index.remove(name(1), "s")
    late = ("VADD", keys.vectors(segment), "FP32", ROWS[1].tobytes(), bytes.fromhex(name(1)))
    await run(keys.vectors(segment), *late, "Q8")
    clock.now = 1_010.0
    await index.tend()
    assert await run(keys.vectors(segment), "VCARD", keys.vectors(segment)) == 0
    await index.close()


async def test_sets_of_another_embedder_are_deleted_once_no_server_uses_them(
    url: str, prefix: str
) -> None:
    clock = Clock()
    old, new = sets(url, prefix, clock), sets(url, prefix, clock, embedder="new")
    await old.open()
    await old.add(name(1), "s", ROWS[1], 9_000.0)
    await old.set_full(await old.version())
    assert await new.search("s", ROWS[1], 1, 0.0) == []
    await new.open()
    await tend_for(new, clock, 300)
    await old._marks.say_used(anew=True)
    await tend_for(new, clock, 600)
    assert await old.is_full()
    assert await names_in(old) == {name(1)}
    await tend_for(new, clock, 700)  # `is_full` has said so again
    assert not await old.is_full()
    assert await names_in(old) == set()
    await asyncio.gather(old.close(), new.close())


async def test_sets_that_are_filled_again_for_another_embedder_are_deleted_too(
    url: str, prefix: str
) -> None:
    """An old server that was silent for long, while servers are changed one by one."""
    clock = Clock()
    old, new = sets(url, prefix, clock), sets(url, prefix, clock, embedder="new")
    await old.open()
    await old.set_full(await old.version())
    await new.open()
    await tend_for(new, clock, 650)
    assert not await old.is_full()
    await old.add(name(1), "s", ROWS[1], 9_000.0)
    await old.set_full(await old.version())
    await old.close()
    await tend_for(new, clock, 700)
    left = await new._server.run("", "KEYS", f"{prefix}*")
    assert not [key for key in left if mark_of(EMBEDDER).encode() in key and b"vi:" not in key]
    assert await new._server.run("", "SMEMBERS", new._keys.marks) == [mark_of("new").encode()]
    await new.close()


async def tend_for(index: VectorSets, clock: Clock, seconds: int) -> None:
    for _ in range(seconds // 50):
        clock.now += 50
        await index.tend()


async def test_what_says_that_sets_are_used_is_not_evicted_and_needs_no_memory(
    prefix: str,
) -> None:
    with one_redis8() as url:
        index = sets(url, prefix, Clock())
        await index.open()
        await index.add(name(1), "s", ROWS[1], 9_000.0)
        run, state = index._server.run, index._keys.state
        assert await run("", "TTL", state) == -1  # `volatile-*` would evict it first
        before = await run("", "HGET", state, "used")
        await run("", "CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreError):
            await index.add(name(2), "s", ROWS[2], 9_000.0)
        await index._marks.say_used(anew=True)
        assert await run("", "HGET", state, "used") != before
        await index.close()


async def test_sets_whose_servers_could_not_say_that_they_use_them_stay(
    url: str, prefix: str
) -> None:
    clock = Clock()
    old, new = sets(url, prefix, clock), sets(url, prefix, clock, embedder="new")
    await old.open()
    await old.add(name(1), "s", ROWS[1], 9_000.0)
    await old._server.run("", "DEL", old._keys.state)  # lost by a failover
    await new.open()
    await tend_for(new, clock, 500)
    run = new._server.run

    async def away(key: str, *words: Word) -> Any:
        raise StoreError("the server is away")

    new._server.run = away  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await new.tend()
    new._server.run = run  # type: ignore[method-assign]
    await tend_for(new, clock, 500)
    assert await names_in(old) == {name(1)}
    clock.now += 600  # another server swept
    await tend_for(new, clock, 600)
    assert await names_in(old) == {name(1)}
    await tend_for(new, clock, 100)
    assert await names_in(old) == set()
    await asyncio.gather(old.close(), new.close())


async def test_a_node_that_does_not_know_whether_sets_are_used_stops_no_addition(
    url: str, prefix: str
) -> None:
    clock, tries = Clock(), 0
    index = sets(url, prefix, clock)
    await index.open()
    run, state = index._server.run, index._keys.state

    async def without_state(key: str, *words: Word) -> Any:
        nonlocal tries
        if key == state:
            tries += 1
            raise StoreError("this node is away")
        return await run(key, *words)

    index._server.run = without_state  # type: ignore[method-assign]
    clock.now += 60
    for n in range(3):
        await index.add(name(n), "s", ROWS[n], 9_000.0)
    assert tries == 1
    assert index.failing
    assert await names_in(index) == {name(n) for n in range(3)}
    clock.now += 5  # it is tried again soon: another server may take the sets for unused
    await index.add(name(3), "s", ROWS[3], 9_000.0)
    assert tries == 2
    await index.close()


async def test_a_server_without_vector_sets_is_refused() -> None:
    with serving(find_server()) as url:
        index = sets(url, "x:", Clock())
        with pytest.raises(SettingsError, match=r"Valkey .* no vector sets.*Redis 8"):
            await index.open()
        await index.close()


async def test_a_server_that_is_away_fails_and_shows(prefix: str) -> None:
    with one_redis8() as url:
        index = sets(url, prefix, Clock())
        await index.open()
        await index.add(name(1), "s", ROWS[1], 9_000.0)
        assert not index.failing
    with pytest.raises(StoreError):
        await index.search("s", ROWS[1], 1, 0.0)
    assert index.failing
    with pytest.raises(StoreError):
        await index.add(name(2), "s", ROWS[2], 9_000.0)
    await index.close()
