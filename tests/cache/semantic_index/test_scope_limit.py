"""Scopes that leave memory and come back: the answers are those of an index without a limit."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.cache.semantic_index import scope_limit
from cacheserver.cache.semantic_index.scope_limit import Rows
from cacheserver.cache.store.stored_entry import Replaced
from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import Connection
from tests.cache.semantic_index.contents import names_in
from tests.cache.semantic_index.limited import POOL, Oracle, Server, question, serving
from tests.cache.semantic_index.servers import Clock

SCOPES = ["a", "b", "c", "d"]
ONE_SCOPE = 6_000  # bytes: a scope of the tests with some questions, not two
KEEP_S = 10_000  # so that time of ours, not the store's, says what is over

scopes = st.sampled_from(SCOPES)
numbers = st.integers(0, 11)
places = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("put"), places, scopes, numbers, st.sampled_from([2, 100])),
    st.tuples(st.just("put"), places, scopes, numbers, st.sampled_from([2, 100])),
    st.tuples(st.just("ask"), places, scopes, numbers),
    st.tuples(st.just("ask"), places, scopes, numbers),
    st.tuples(st.just("ask all"), places, numbers),
    st.tuples(st.just("replace"), places, scopes, numbers),
    st.tuples(st.just("purge"), places, scopes, numbers),
    st.tuples(st.just("purge all"), places),
    st.tuples(st.just("deadline"), places, scopes, numbers, st.sampled_from([0, 5, 500])),
    st.tuples(st.just("later"), st.sampled_from([1, 3])),
    st.tuples(st.just("tend"), places),
    st.tuples(st.just("erase"), places),
    st.tuples(st.just("limit"), places, st.sampled_from([ONE_SCOPE, 3 * ONE_SCOPE, None])),
    st.tuples(st.just("restart"), places),
)


class World:
    """Two servers over one store, and the oracle."""

    def __init__(self, redis: Connection, folder: Path) -> None:
        self.redis = redis
        self.prefix = f"{uuid.uuid4().hex}:"
        self.folder = folder / self.prefix[:-1]
        self.clock = Clock(time.time())
        self.oracle = Oracle()
        self.servers: list[Server] = []
        self.stacks: list[AsyncExitStack] = []
        self.limits: list[int | None] = [ONE_SCOPE, ONE_SCOPE]

    async def start(self, place: int) -> None:
        stack = AsyncExitStack()
        folder = self.folder / str(place)
        found = await stack.enter_async_context(
            serving(self.redis, self.prefix, folder, self.clock, self.limits[place])
        )
        self.servers[place : place + 1] = [found]
        self.stacks[place : place + 1] = [stack]

    async def tell(self, place: int, name: str) -> None:
        """Tell the other server, as the stream of changes does."""
        await self.servers[1 - place].semantic._stored([name])

    async def put(self, place: int, scope: str, number: int, lives_s: float) -> None:
        self.clock.now += 0.001
        one = question(scope, number, self.clock.now, lives_s=lives_s)
        put = self.servers[place].semantic.put
        if await put(one, keep_s=KEEP_S, asked_at=self.clock.now):
            self.oracle.held[one.fingerprint] = one, number
            await self.tell(place, one.id + one.fingerprint)

    async def check(self, place: int, scope: str, number: int) -> None:
        found = await self.servers[place].found(scope, number, self.clock.now)
        assert found == self.oracle.nearest(scope, number, self.clock.now)

    async def do(self, step: tuple[object, ...]) -> None:
        held = self.oracle.held
        match step:
            case ("put", int(place), str(scope), int(number), int(lives_s)):
                await self.put(place, scope, number, lives_s)
            case ("ask", int(place), str(scope), int(number)):
                await self.check(place, scope, number)
            case ("ask all", int(place), int(number)):
                await asyncio.gather(*(self.check(place, scope, number) for scope in SCOPES))
            case ("replace", int(place), str(scope), int(number)):
                name = question(scope, number, 0).fingerprint
                if name in held:
                    self.clock.now += 0.001
                    one = question(scope, number, self.clock.now, message=b'{"new":1}')
                    assert await self.servers[place].semantic.put(
                        one,
                        keep_s=KEEP_S,
                        asked_at=self.clock.now,
                        replaces=Replaced(held[name][0].id, worth=1),
                    )
                    held[name] = one, number
                    await self.tell(place, one.id + one.fingerprint)
            case ("purge", int(place), str(scope), int(number)):
                gone = held.pop(question(scope, number, 0).fingerprint, None)
                if gone is not None:
                    entries = self.servers[place].semantic.entries
                    assert await entries.purge_id("acme", gone[0].id) == 1
            case ("purge all", int(place)):
                await self.servers[place].semantic.entries.purge_tenant("acme")
                held.clear()
                self.clock.now += 0.001
            case ("deadline", int(place), str(scope), int(number), int(more_s)):
                name = question(scope, number, 0).fingerprint
                if name in held:
                    until = self.clock.now + more_s
                    changed = await self.servers[place].semantic.set_deadline(
                        "acme", held[name][0].id, until, keep_s=KEEP_S
                    )
                    assert changed is not None
                    held[name] = changed, number
                    await self.tell(place, changed.id + changed.fingerprint)
            case ("later", int(seconds)):
                self.clock.now += seconds
            case ("tend", int(place)):
                await self.servers[place].semantic.tend()
            case ("erase", int(place)):
                server = self.servers[place]
                await server.semantic.drop_gone()
                live = {one.id + one.fingerprint for one, _ in held.values()}
                assert await names_in(server.index) <= live
            case ("limit", int(place), limit):
                assert limit is None or isinstance(limit, int)
                self.limits[place] = self.servers[place].limit.bytes = limit
            case ("restart", int(place)):
                await self.stacks[place].aclose()
                await self.start(place)
            case _:
                raise AssertionError(step)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, min_size=5, max_size=50))
async def test_whatever_happens_answers_are_those_of_an_index_without_a_limit(
    redis: Connection, tmp_path: Path, plan: list[tuple[object, ...]]
) -> None:
    world = World(redis, tmp_path)
    for place in (0, 1):
        await world.start(place)
    try:
        for step in plan:
            await world.do(step)
        for place in (0, 1):
            for scope in SCOPES:
                await world.check(place, scope, 3)
            server = world.servers[place]
            server.index._scopes.evict()
            await server.settled()
            if world.limits[place] == ONE_SCOPE:
                assert server.index.scopes.loaded <= 1
            assert server.counted.sites == []
    finally:
        for stack in world.stacks:
            await stack.aclose()


@pytest.fixture
async def world(redis: Connection, tmp_path: Path) -> AsyncIterator[World]:
    world = World(redis, tmp_path)
    await world.start(0)
    await world.start(1)
    yield world
    for stack in world.stacks:
        await stack.aclose()


class Held:
    """Holds a server's loads up between what they read and its arrival in the index."""

    def __init__(self, server: Server) -> None:
        self.reached, self.released = asyncio.Event(), asyncio.Event()
        loading = server.index._scopes._loading
        assert loading is not None
        self._read = loading.read
        server.index._scopes._loading = type(loading)(self.read, loading.limit, loading.counts)

    async def read(self, scope: str, names: Sequence[str]) -> AsyncIterator[Rows]:
        rows = [one async for one in self._read(scope, names)]
        self.reached.set()
        await self.released.wait()
        for one in rows:
            yield one


async def unloaded(world: World, scope: str, *numbers: int) -> Server:
    """Store questions and have the first server drop their scope from memory."""
    for number in numbers:
        await world.put(0, scope, number, 100)
    await world.put(0, "other", 0, 100)
    server = world.servers[0]
    await world.check(0, "other", 0)
    for number in range(1, 6):
        await world.put(0, "other", number, 100)
    await server.settled()
    assert server.index.scopes.loaded == 1
    assert scope in server.index._scopes.unloaded
    server.counted.loads.clear()
    return server


async def test_what_changes_while_a_scope_is_loaded_holds_afterwards(world: World) -> None:
    server = await unloaded(world, "a", 1, 2, 3)
    held = Held(server)
    asking = asyncio.create_task(server.found("a", 1, world.clock.now))
    await held.reached.wait()
    await world.put(0, "a", 4, 100)
    await world.put(1, "a", 5, 100)
    name = question("a", 1, 0).fingerprint
    gone, _ = world.oracle.held.pop(name)
    await world.servers[1].semantic.entries.purge_id("acme", gone.id)
    await server.index.remove(gone.id + name, "a")
    held.released.set()
    await asking
    await world.check(0, "a", 1)
    await world.check(0, "a", 4)
    await world.check(0, "a", 5)
    assert gone.id + name not in await names_in(server.index)


async def test_an_erasure_holds_for_a_scope_that_is_being_loaded_and_on_disk(
    world: World,
) -> None:
    server = await unloaded(world, "a", 1, 2)
    held = Held(server)
    # Not a question: that would drop what it finds without an entry.
    asking = asyncio.create_task(server.index._scopes.load("a"))
    await held.reached.wait()
    name = question("a", 1, 0).fingerprint
    gone, _ = world.oracle.held.pop(name)
    await world.servers[1].semantic.entries.purge_id("acme", gone.id)
    erasing = asyncio.create_task(server.semantic.drop_gone())
    await asyncio.wait({erasing}, timeout=0.1)
    assert not erasing.done()  # what was read before it may still arrive
    held.released.set()
    assert await erasing == 1
    await asking
    snapshot = (world.folder / "0" / "index.snapshot").read_bytes()
    packed = bytes.fromhex(gone.id + name)
    assert packed not in snapshot
    assert name.encode() not in snapshot
    assert gone.id + name not in await names_in(server.index)
    await world.check(0, "a", 1)


class Seen(Collection[str]):
    """A name, and what happens each time that it is looked at."""

    def __init__(self, name: str, happens: Iterable[Callable[[], object]]) -> None:
        self._name = name
        self._happens = iter(happens)

    def __iter__(self) -> Iterator[str]:
        next(self._happens, bool)()
        yield self._name

    def __len__(self) -> int:
        return 1

    def __contains__(self, name: object) -> bool:
        return name == self._name


async def test_an_erasure_holds_for_a_scope_that_is_loaded_and_evicted_meanwhile(
    world: World,
) -> None:
    server = await unloaded(world, "a", 1)
    server.limit.bytes = None  # nothing leaves by itself
    loop, scopes = asyncio.get_running_loop(), server.index._scopes
    name = "0" * 32 + question("b", 2, 0).fingerprint

    def loaded() -> None:
        scopes.add(name, "b", POOL[2], world.clock.now + 100)

    async def evict() -> None:
        with scopes._moving("b", scope_limit._Move()):
            await scopes._evict("b")

    def evicted() -> None:
        asyncio.run_coroutine_threadsafe(evict(), loop).result()

    # It is looked for in memory, in what is not in memory, and in memory again.
    await server.index.discard(Seen(name, (bool, loaded, evicted)))
    assert name not in await names_in(server.index)


async def test_a_look_up_does_not_wait_long_for_a_scope_and_the_next_finds_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope_limit, "WAIT_S", 0.01)
    server = await unloaded(world, "a", 1)
    held = Held(server)
    near = await server.ask("a", 1)
    assert near.skipped == "warming"
    assert near.vector is not None
    held.released.set()
    await world.check(0, "a", 1)
    assert len(server.counted.loads) == 1  # the load went on


async def test_many_look_ups_load_a_scope_once(world: World) -> None:
    server = await unloaded(world, "a", 1, 2)
    await asyncio.gather(*(world.check(0, "a", 1) for _ in range(50)))
    assert len(server.counted.loads) == 1


async def test_a_store_that_fails_loses_nothing_of_a_scope(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However busy the machine: who no longer waits is told that the scope is being loaded.
    monkeypatch.setattr(scope_limit, "WAIT_S", None)
    server = await unloaded(world, "a", 1, 2)
    held = Held(server)

    async def fails(scope: str, names: Sequence[str]) -> AsyncIterator[Rows]:
        raise StoreError("away")
        yield  # a generator

    works, held._read = held._read, fails
    held.released.set()
    with pytest.raises(StoreError):
        await server.ask("a", 1)
    assert server.counted.sites == ["scope-load"]
    held._read = works
    await world.check(0, "a", 1)


async def test_a_server_that_starts_reads_what_was_asked_last_and_no_more(world: World) -> None:
    for scope in SCOPES:
        for number in range(4):
            await world.put(0, scope, number, 100)
    world.servers[0].limit.bytes = None
    for scope in ("b", "d", "a", "c"):
        await world.check(0, scope, 1)
    world.limits[0] = 13_000
    await world.stacks[0].aclose()
    await world.start(0)
    server = world.servers[0]
    await server.settled()
    assert list(server.index.vectors.scopes()) == ["a", "c"]
    assert (server.index.scopes.loaded, server.index.scopes.known) == (2, 4)
    assert len(server.index) == 16
    await world.put(0, "b", 5, 100)  # so that a snapshot is written, with names only of the others
    await world.stacks[0].aclose()
    await world.start(0)
    server = world.servers[0]
    assert (len(server.index), server.index.scopes.loaded) == (17, 2)
    for scope in SCOPES:
        await world.check(0, scope, 2)


async def test_names_without_an_entry_are_swept_though_nobody_asks(world: World) -> None:
    server = await unloaded(world, "a", 1, 2)
    for number in (1, 2):
        gone, _ = world.oracle.held.pop(question("a", number, 0).fingerprint)
        await world.servers[1].semantic.entries.purge_id("acme", gone.id)
    assert len(server.index) == 8
    await server.semantic.tend()
    assert len(server.index) == 6
    assert "a" not in server.index._scopes.unloaded


async def test_a_scope_larger_than_the_limit_serves(world: World) -> None:
    server = world.servers[0]
    for number in range(12):
        await world.put(0, "a", number, 100)
    server.limit.bytes = 1_000
    await server.semantic.tend()
    await server.settled()
    for number in range(12):
        await world.check(0, "a", number)
    assert server.counted.loads == []
