"""An index that lacks what the store has, in a move too: the next comparison adds it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from cacheserver.cache.semantic_index.pair import Pair
from cacheserver.cache.semantic_index.server import Word, open_server
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.cache.store.index_upkeep import failed_changes
from cacheserver.cache.store.index_upkeep import view as index_view
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Entry
from cacheserver.index.models import Vectors
from cacheserver.storage.connection import Connection
from tests.cache.semantic_index.contents import names_in
from tests.cache.semantic_index.limited import DIM, EMBEDDER, POOL, Server, question, serving
from tests.cache.semantic_index.servers import Clock, one_redis8
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures

SCOPE = "one scope"


@pytest.fixture(scope="module")
def redis8() -> Iterator[str]:
    with one_redis8() as address:
        yield address


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_view, "_AGREE_S", -math.inf)


class Sets(VectorSets):
    """Vector sets whose additions fail while `away`, and that can be held up."""

    away = False
    held_up: Literal["add", "pages"] | None = None  # the next such call
    held = ""  # the id that is not added yet

    def hold_up(self, call: Literal["add", "pages"]) -> None:
        self.held_up, self.begun, self.go_on = call, asyncio.Event(), asyncio.Event()

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        if self.away:
            raise StoreError("the index is away")
        if self.held_up == "add":
            self.held = id
            await self._wait()
        await super().add(id, scope, vector, expires_at)

    async def pages(self) -> AsyncIterator[Sequence[str]]:
        if self.held_up == "pages":
            await self._wait()
        async for page in super().pages():
            yield page

    async def _wait(self) -> None:
        self.held_up = None
        self.begun.set()
        await self.go_on.wait()


@dataclass
class Both:
    """A server, sets beside its FAISS index, and the time of all."""

    server: Server
    sets: Sets
    clock: Clock

    async def put(self, number: int, **more: float) -> Entry:
        stored = question(SCOPE, number, self.clock.now, **more)
        await self.server.semantic.put_vector(
            stored, POOL[number], keep_s=0, asked_at=self.clock.now
        )
        return stored

    async def in_sets(self, entry: Entry) -> bool:
        return await self.sets.holds(entry.id + entry.fingerprint, SCOPE)

    async def extend(self, entry: Entry, ends: float) -> None:
        semantic = self.server.semantic
        found = await semantic.set_deadline(entry.tenant, entry.id, ends, keep_s=1_000)
        assert found is not None

    async def found(self, number: int) -> list[str]:
        near = await self.server.ask(SCOPE, number)
        return [one.entry.id for one in near.candidates]


@asynccontextmanager
async def both(redis: Connection, prefix: str, redis8: str, folder: Path) -> AsyncIterator[Both]:
    clock = Clock()
    async with serving(redis, prefix, folder, clock, None) as server:
        sets = Sets(open_server(redis8), prefix=prefix, dim=DIM, embedder_id=EMBEDDER, clock=clock)
        await sets.open()
        try:
            yield Both(server, sets, clock)
        finally:
            await sets.close()


async def test_what_the_new_index_of_a_move_did_not_take_is_added_to_it(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path
) -> None:
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic = there.server.semantic
        semantic.index = Pair(there.server.index, there.sets)
        there.sets.away = True
        lost = await there.put(1)
        there.sets.away = False
        assert semantic.incomplete
        assert not await there.in_sets(lost)
        await semantic.tend()
        assert not semantic.incomplete
        assert await there.in_sets(lost)


async def test_sets_that_lost_their_data_during_a_move_are_filled_before_they_count_as_full(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path
) -> None:
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic = there.server.semantic
        semantic.index = Pair(there.sets, there.server.index)
        lost = await there.put(1)
        await there.sets.wipe()
        await semantic.tend()
        assert await there.sets.is_full()
        assert await there.in_sets(lost)
        assert await there.found(1) == [lost.id]


async def test_sets_that_a_move_deletes_while_they_are_compared_stay_deleted(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path
) -> None:
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic = there.server.semantic
        semantic.index = Pair(there.sets, there.server.index)
        await there.put(1)
        semantic.incomplete = True
        there.sets.hold_up("pages")
        tending = asyncio.create_task(semantic.tend())
        await there.sets.begun.wait()
        semantic.index = there.server.index  # the move ends
        await there.sets.wipe()
        there.sets.go_on.set()
        with pytest.raises(StoreError, match="replaced"):
            await tending
        assert not await there.sets.is_full()
        assert await names_in(there.sets) == set()
        await semantic.tend()
        assert not semantic.incomplete


@pytest.mark.parametrize("ends", ["before", "after", "lost"])
async def test_sets_that_are_deleted_while_they_are_compared_are_filled_again(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path, ends: str
) -> None:
    """By a server of another embedder, say, before or after the comparison ends; or by Redis."""
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic = there.server.semantic
        semantic.index = there.sets
        stored = [await there.put(n) for n in range(3)]
        await semantic.tend()
        assert await there.sets.is_full()
        semantic.incomplete = True
        there.sets.hold_up("pages")
        tending = asyncio.create_task(semantic.tend())
        await there.sets.begun.wait()
        other = Sets(
            open_server(redis8), prefix=prefix, dim=DIM, embedder_id=EMBEDDER, clock=there.clock
        )
        if ends != "after":
            await (other.wipe() if ends == "before" else lose(other, prefix))
            there.sets.go_on.set()
            with pytest.raises(StoreError, match="deleted meanwhile"):
                await tending
        else:
            reached, go_on, run = asyncio.Event(), asyncio.Event(), other._server.run

            async def slowly(key: str, *words: Word) -> Any:
                if words[0] == "ZRANGE":
                    reached.set()
                    await go_on.wait()
                return await run(key, *words)

            tending.cancel()
            other._server.run = slowly  # type: ignore[method-assign]
            wiping = asyncio.create_task(other.wipe())
            await reached.wait()
            assert not await there.sets.is_full()  # also if nothing ends the deletion
            await semantic.tend()  # finds all in the sets still
            go_on.set()
            await wiping
        await other.close()
        await semantic.tend()
        assert await there.sets.is_full()
        assert not semantic.incomplete
        for n, one in enumerate(stored):
            assert one.id in await there.found(n)


async def lose(sets: VectorSets, prefix: str) -> None:
    """Have the server of some sets lose all, as by a restart without a file."""
    await sets._server.run("", "UNLINK", *await sets._server.run("", "KEYS", f"{prefix}v*"))


@pytest.mark.parametrize("many", [False, True])
async def test_a_deadline_that_the_index_did_not_take_holds_once_it_does(
    redis: Connection,
    prefix: str,
    redis8: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    many: bool,
) -> None:
    monkeypatch.setattr(failed_changes, "_MOST", 1 if many else 9)
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic, now = there.server.semantic, there.clock.now
        semantic.index = there.sets
        longer, shorter, third = [await there.put(n, lives_s=100.0) for n in range(3)]
        await semantic.tend()
        there.sets.away = True
        await there.extend(longer, now + 500)
        await there.extend(third, now + 500)
        there.sets.away = False
        await semantic.tend()
        assert not semantic.incomplete
        there.clock.now = now + 200
        await semantic.tend()  # sweeps what has expired
        assert not await there.in_sets(shorter)
        assert longer.id in await there.found(0)
        assert third.id in await there.found(2)


async def test_an_answer_that_was_ended_while_the_index_was_away_leaves_it(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path
) -> None:
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic = there.server.semantic
        semantic.index = there.sets
        ended = await there.put(0)
        there.sets.away = True
        await there.extend(ended, there.clock.now + 1)
        there.sets.away = False
        there.clock.now += 2
        await semantic.tend()
        assert not await there.in_sets(ended)


async def test_a_deadline_that_is_set_while_the_index_is_compared_holds(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path
) -> None:
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic, now = there.server.semantic, there.clock.now
        semantic.index = there.sets
        there.sets.away = True
        stored = [await there.put(n, lives_s=100.0) for n in range(3)]
        there.sets.away = False
        there.sets.hold_up("add")
        tending = asyncio.create_task(semantic.tend())
        await there.sets.begun.wait()  # all were read
        for one in stored:
            await there.extend(one, now + 500)
        there.sets.go_on.set()
        await tending
        await semantic.tend()  # of the one whose change met its addition
        there.clock.now = now + 200
        await semantic.tend()
        assert {one.id for one in stored} == set(await there.found(0))


async def test_what_is_erased_while_the_index_is_compared_is_not_added_behind_the_erasure(
    redis: Connection, prefix: str, redis8: str, tmp_path: Path
) -> None:
    async with both(redis, prefix, redis8, tmp_path) as there:
        semantic = there.server.semantic
        semantic.index = there.sets
        there.sets.away = True
        stored = [await there.put(n) for n in range(3)]
        there.sets.away = False
        there.sets.hold_up("add")
        tending = asyncio.create_task(semantic.tend())
        await there.sets.begun.wait()  # all were read
        await semantic.entries.purge_tenant(stored[0].tenant)
        await semantic.drop_gone()
        there.clock.now += 1
        kept = await there.put(3)
        there.sets.go_on.set()
        await tending
        assert await names_in(there.sets) == {kept.id + kept.fingerprint}
