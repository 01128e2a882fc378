"""Scopes of an index: their order by use, and how they leave it, return, and lie in a snapshot."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cacheserver.index.snapshot import load, save
from cacheserver.index.vectors import VectorIndex
from tests.index.data import ids_in, unit_rows

DIM = 24
ROWS = unit_rows(12, DIM, seed=5)


def filled(*scopes: str) -> VectorIndex:
    index = VectorIndex(DIM)
    for scope in scopes:
        for n, row in enumerate(ROWS):
            index.add(f"{scope}{n}", scope, row, math.inf)
    return index


def test_a_new_scope_comes_before_those_that_were_searched() -> None:
    index = filled("a", "b", "c")
    assert list(index.scopes()) == ["c", "b", "a"]
    index.search("c", ROWS[0], 1, 0.0)
    index.search("b", ROWS[0], 1, 0.0)
    index.search("nowhere", ROWS[0], 1, 0.0)
    assert index.coldest() == "a"
    index.add("d", "d", ROWS[0], math.inf)
    index.add("a more", "a", ROWS[0], math.inf)  # is no use
    assert list(index.scopes()) == ["d", "a", "c", "b"]


def test_a_scope_leaves_and_returns_with_its_ids_in_their_order() -> None:
    index = filled("a", "b")
    index.remove("a3")
    index.add("a1", "a", ROWS[1], math.inf)
    ids = index.ids_of("a")
    assert ids == [f"a{n}" for n in (0, 2, *range(4, 12), 1)]
    before = index.bytes
    partition = index.detach("a")
    assert partition is not None
    assert index.search("a", ROWS[0], 5, 0.0) == []
    index.forget(partition)
    assert sorted(ids_in(index)) == sorted(f"b{n}" for n in range(12))
    assert index.bytes < before
    other = VectorIndex(DIM)
    other.extend("a", ids, ROWS[[int(id[1:]) for id in ids]], [math.inf] * len(ids))
    index.adopt(other)
    assert index.ids_of("a") == ids
    assert index.coldest() == "b"
    assert index.search("a", ROWS[4], 1, 0.0)[0].id == "a4"
    assert index.remove("a4")
    assert index.search("a", ROWS[4], 1, 0.0)[0].id != "a4"


def test_ids_that_returned_in_the_meantime_are_not_forgotten_with_the_scope_that_left() -> None:
    index = filled("a")
    partition = index.detach("a")
    assert partition is not None
    index.add("a1", "a", ROWS[1], 5.0)
    index.forget(partition)
    assert ids_in(index) == ["a1"]
    partition.expire(math.inf)  # as a sweep that had it in its list
    assert index.expire(6.0) == ["a1"]
    assert len(index) == 0


def test_a_snapshot_is_read_from_the_scope_searched_last_on_as_far_as_the_limit_goes(
    tmp_path: Path,
) -> None:
    index = filled("a", "b", "c", "d")
    for scope in ("b", "d", "a", "c"):
        index.search(scope, ROWS[0], 1, 0.0)
    save(tmp_path / "index", index, embedder_id="m")
    found = load(tmp_path / "index", embedder_id="m", dim=DIM, limit=index.bytes // 4 + 1)
    assert list(found.index.scopes()) == ["a", "c"]
    assert found.left == {scope: index.ids_of(scope) for scope in ("d", "b")}
    whole = load(tmp_path / "index", embedder_id="m", dim=DIM)
    assert list(whole.index.scopes()) == ["b", "d", "a", "c"]
    assert whole.left == {}


def test_an_index_is_saved_though_all_rows_of_a_block_were_removed(tmp_path: Path) -> None:
    index = VectorIndex(DIM)
    rows = np.repeat(ROWS, 2_000, axis=0)
    index.extend("a", [f"a{n}" for n in range(24_000)], rows, [math.inf] * 24_000)
    for n in range(5_000):  # too few to be dropped from memory yet
        index.remove(f"a{n}")
    assert save(tmp_path / "index", index, embedder_id="m") == 19_000
    assert ids_in(load(tmp_path / "index", embedder_id="m", dim=DIM).index) == ids_in(index)


def test_a_scope_of_many_blocks_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    index = VectorIndex(DIM)
    rows = np.repeat(ROWS, 1_000, axis=0)
    for scope in ("a", "b"):
        index.extend(scope, [f"{scope}{n}" for n in range(12_000)], rows, [math.inf] * 12_000)
    index.search("a", ROWS[0], 1, 0.0)
    save(tmp_path / "index", index, embedder_id="m")
    found = load(tmp_path / "index", embedder_id="m", dim=DIM, limit=1)
    assert found.index.scopes() == {"a": 12_000}
    assert len(found.left["b"]) == 12_000
