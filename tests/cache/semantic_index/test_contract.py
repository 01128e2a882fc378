"""Contract of every index, whatever holds its vectors."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest

from cacheserver.cache.semantic_index.keys import Segment
from cacheserver.cache.semantic_index.port import SemanticIndex
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.index.errors import BadVector
from cacheserver.index.models import Vectors
from tests.cache.semantic_index.contents import all_but, names_in
from tests.cache.semantic_index.servers import DIM, Clock, name, one_redis8, opened
from tests.index.data import near, unit_rows
from tests.redis_clusters import cluster

POOL = unit_rows(12, DIM, seed=5)
ON_A_CLUSTER = "cluster-"
KINDS = ["faiss", "vector-sets", "split", "cluster-vector-sets", "cluster-split"]
FAR = math.inf


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with one_redis8() as address:
        yield address


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with cluster(server="redis8") as nodes:
        yield nodes.url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str) -> str:
    """The URL of what a kind is kept in; only what a test needs is started."""
    found: str = request.getfixturevalue("cluster_url" if kind.startswith(ON_A_CLUSTER) else "url")
    return found


def opened_at(
    place: str, kind: str, prefix: str, folder: Path, clock: Clock, *, dim: int = DIM
) -> AbstractAsyncContextManager[SemanticIndex]:
    return opened(kind.removeprefix(ON_A_CLUSTER), place, prefix, folder, clock, dim=dim)


@pytest.fixture
async def index(
    place: str, kind: str, prefix: str, tmp_path: Path, clock: Clock
) -> AsyncIterator[SemanticIndex]:
    async with opened_at(place, kind, prefix, tmp_path, clock) as found:
        yield found


async def found(index: SemanticIndex, scope: str, vector: Vectors, k: int, now: float) -> list[str]:
    return [match.id for match in await index.search(scope, vector, k, now)]


async def test_the_most_similar_come_first_with_their_cosines(index: SemanticIndex) -> None:
    for n, row in enumerate(POOL):
        await index.add(name(n), "s", row, FAR)
    matches = await index.search("s", POOL[3], 5, 0.0)
    cosines = POOL @ POOL[3]
    order = np.argsort(-cosines)
    assert [match.id for match in matches] == [name(int(n)) for n in order[:5]]
    assert [match.cosine for match in matches] == pytest.approx(cosines[order[:5]], abs=0.01)
    assert all(match.cosine <= 1.0 for match in matches)
    assert len(index) == len(POOL)
    assert await names_in(index) == {name(n) for n in range(len(POOL))}


@pytest.mark.parametrize("kind", ["split", "cluster-split"])
async def test_a_scope_of_a_split_kind_is_in_several_sets(index: SemanticIndex) -> None:
    assert isinstance(index, VectorSets)
    for n, row in enumerate(POOL):
        await index.add(name(n), "s", row, FAR)
    segments = [Segment("s", n) for n in range((await index._learned("s")).count)]
    sizes = [await index._walk.size(segment) for segment in segments]
    assert (sum(sizes), max(sizes)) == (len(POOL), 3)


async def test_another_scope_is_never_searched(index: SemanticIndex) -> None:
    for scope in range(40):
        await index.add(name(scope), f"scope {scope}", POOL[scope % 12], FAR)
    for scope in range(40):
        assert await found(index, f"scope {scope}", POOL[0], 5, 0.0) == [name(scope)]
    assert await found(index, "scope 40", POOL[0], 5, 0.0) == []


async def test_an_id_that_is_added_again_is_replaced(index: SemanticIndex) -> None:
    for n in range(7):
        await index.add(name(n), "s", POOL[n], FAR)
    await index.add(name(0), "s", POOL[9], FAR)
    best = (await index.search("s", POOL[9], 1, 0.0))[0]
    assert best.id == name(0)
    assert best.cosine == pytest.approx(1.0, abs=0.01)
    assert (await found(index, "s", POOL[9], 20, 0.0)).count(name(0)) == 1
    assert len(await names_in(index)) == 7


async def test_what_is_removed_is_not_found(index: SemanticIndex) -> None:
    for n in range(7):
        await index.add(name(n), "s", POOL[n], FAR)
    assert await index.holds(name(3), "s")
    assert await index.remove(name(3), "s")
    assert not await index.remove(name(3), "s")
    assert not await index.holds(name(3), "s")
    assert name(3) not in await found(index, "s", POOL[3], 20, 0.0)
    assert not await index.remove(name(99), "s")


async def test_what_has_no_entry_leaves_all_scopes(index: SemanticIndex) -> None:
    for n in range(8):
        await index.add(name(n), f"scope {n % 2}", POOL[n], FAR)
    assert await index.discard_gone(all_but([name(1), name(2), name(77)])) == 2
    assert await names_in(index) == {name(n) for n in (0, 3, 4, 5, 6, 7)}
    assert await index.discard_gone(all_but([])) == 0


async def test_a_deadline_is_the_first_moment_that_is_too_late(
    index: SemanticIndex, clock: Clock
) -> None:
    await index.add(name(1), "s", POOL[0], 2_000.0)
    await index.add(name(2), "s", POOL[1], 3_000.0)
    assert await found(index, "s", POOL[0], 5, 1_999.999) == [name(1), name(2)]
    assert await found(index, "s", POOL[0], 5, 2_000.0) == [name(2)]
    clock.now = 1_999.0
    await index.tend()
    assert len(await names_in(index)) == 2
    clock.now = 2_000.0
    await index.tend()
    assert await names_in(index) == {name(2)}
    assert len(index) == 1


async def test_an_earlier_deadline_holds_once_it_is_set(index: SemanticIndex, clock: Clock) -> None:
    await index.add(name(1), "s", POOL[0], 9_000.0)
    await index.add(name(1), "s", POOL[0], 2_000.0)
    assert await found(index, "s", POOL[0], 5, 2_000.0) == []
    clock.now = 2_000.0
    await index.tend()
    assert await names_in(index) == set()


async def test_of_equals_the_newer_comes_first(index: SemanticIndex) -> None:
    for n in (1, 3, 2):
        await index.add(name(n), "s", POOL[0], FAR)
    ids = await found(index, "s", POOL[0], 3, 0.0)
    assert set(ids) == {name(1), name(2), name(3)}
    if index.spare:  # by id, which is in the order of times
        assert ids == [name(3), name(2), name(1)]


async def test_asking_for_none_finds_none(index: SemanticIndex) -> None:
    await index.add(name(1), "s", POOL[0], FAR)
    assert await index.search("s", POOL[0], 0, 0.0) == []


@pytest.mark.parametrize(
    "vector",
    [POOL[0] * 1.01, POOL[0] * 0, np.full(DIM, np.nan, np.float32), POOL[0][:-1]],
    ids=["long", "zero", "nan", "short"],
)
async def test_what_is_no_unit_vector_of_the_dimension_is_refused(
    index: SemanticIndex, vector: Vectors
) -> None:
    with pytest.raises(BadVector):
        await index.add(name(1), "s", vector, FAR)
    with pytest.raises(BadVector):
        await index.search("s", POOL[0][:-1], 1, 0.0)
    assert await names_in(index) == set()


async def test_a_deadline_that_is_no_time_is_refused(index: SemanticIndex) -> None:
    with pytest.raises(ValueError, match="not a time"):
        await index.add(name(1), "s", POOL[0], math.nan)
    assert await names_in(index) == set()


async def test_a_zero_vector_finds_some(index: SemanticIndex) -> None:
    await index.add(name(1), "s", POOL[0], FAR)
    assert await found(index, "s", np.zeros(DIM, np.float32), 5, 0.0) == [name(1)]


async def test_a_wiped_index_is_empty_and_takes_more(index: SemanticIndex) -> None:
    for n in range(9):
        await index.add(name(n), f"scope {n % 2}", POOL[n], FAR)
    await index.wipe()
    assert (len(index), await names_in(index)) == (0, set())
    assert await found(index, "scope 0", POOL[0], 5, 0.0) == []
    await index.add(name(1), "s", POOL[0], FAR)
    assert await found(index, "s", POOL[0], 5, 0.0) == [name(1)]


@pytest.mark.parametrize("kind", ["faiss", "vector-sets", "cluster-vector-sets"])
async def test_recall_against_all_that_is_there(
    kind: str, place: str, prefix: str, tmp_path: Path, clock: Clock
) -> None:
    rows = unit_rows(2_000, 384, seed=3)
    async with opened_at(place, kind, prefix, tmp_path, clock, dim=384) as index:
        for n, row in enumerate(rows):
            await index.add(name(n), "s", row, FAR)
        asked = near(rows[:300], 0.92)
        truth = (asked @ rows.T).argmax(axis=1)
        first = [(await index.search("s", question, 5, 0.0))[0].id for question in asked]
    assert np.mean([int(id[:32], 16) for id in first] == truth) >= 0.99
