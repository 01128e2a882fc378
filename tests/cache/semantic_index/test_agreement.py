"""An index that lacks what the store has, in a move too: the next comparison adds it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cacheserver.cache.semantic_index.pair import Pair
from cacheserver.cache.semantic_index.server import open_server
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.cache.store.index_upkeep import view as index_view
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Entry
from cacheserver.index.models import Vectors
from cacheserver.storage.connection import Connection
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
    """Vector sets whose additions fail while `away`, and whose names can be held up."""

    away = False
    begun: asyncio.Event | None = None
    go_on: asyncio.Event | None = None

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        if self.away:
            raise StoreError("the index is away")
        await super().add(id, scope, vector, expires_at)

    async def names(self) -> set[str]:
        if self.begun is not None and self.go_on is not None:
            self.begun.set()
            await self.go_on.wait()
        return await super().names()


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
        there.sets.begun, there.sets.go_on = asyncio.Event(), asyncio.Event()
        tending = asyncio.create_task(semantic.tend())
        await there.sets.begun.wait()
        semantic.index = there.server.index  # the move ends
        await there.sets.wipe()
        there.sets.go_on.set()
        with pytest.raises(StoreError, match="replaced"):
            await tending
        assert not await there.sets.is_full()
        there.sets.begun = None
        assert await there.sets.names() == set()
        await semantic.tend()
        assert not semantic.incomplete
