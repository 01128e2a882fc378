from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.index import partition, snapshot
from cacheserver.index.errors import SnapshotRefused
from cacheserver.index.snapshot import load, save
from cacheserver.index.vectors import Block, VectorIndex
from tests.index.data import unit_rows

DIM = 8
ROWS = unit_rows(40, DIM)
MODEL = "model:int8"


def small() -> VectorIndex:
    index = VectorIndex(DIM)
    for n, row in enumerate(ROWS[:20]):
        index.add(f"id-{n}-é", f"scope {n % 3}", row, 100.0 + n if n % 4 else math.inf)
    return index


def contents(index: VectorIndex) -> dict[str, tuple[str, float, bytes]]:
    return {
        id: (block.scope, float(expires_at), vector.tobytes())
        for block in index.blocks()
        for id, expires_at, vector in zip(block.ids, block.expires_at, block.vectors, strict=True)
    }


@pytest.mark.parametrize("ivf_from", [10_000, 5])
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, ivf_from: int) -> None:
    index = VectorIndex(DIM, ivf_from=ivf_from)
    for block in small().blocks():
        index.extend(block.scope, block.ids, block.vectors, block.expires_at)
    index.maintain()
    index.remove("id-3-é")
    assert save(tmp_path / "index", index, embedder_id=MODEL, extra=b"\0since") == 19
    found = load(tmp_path / "index", embedder_id=MODEL, dim=DIM)
    assert found.extra == b"\0since"
    assert contents(found.index) == contents(index)
    assert found.index.expire(110.0) == index.expire(110.0)


def test_an_empty_index_is_saved_too(tmp_path: Path) -> None:
    assert save(tmp_path / "new" / "index", VectorIndex(DIM), embedder_id=MODEL) == 0
    found = load(tmp_path / "new" / "index", embedder_id=MODEL, dim=DIM)
    assert (len(found.index), found.extra) == (0, b"")


def test_of_equals_the_newest_is_first_after_loading_as_before(tmp_path: Path) -> None:
    index = VectorIndex(DIM, ivf_from=10)
    for n in range(60):
        index.add(str(n), "s", ROWS[0], math.inf)
    index.maintain()
    for n in range(40):  # inverted lists fill their holes from the end
        index.remove(str(n))
    save(tmp_path / "index", index, embedder_id=MODEL)
    found = load(tmp_path / "index", embedder_id=MODEL, dim=DIM).index
    assert [match.id for match in found.search("s", ROWS[0], 20, 0.0)] == [
        str(n) for n in range(59, 39, -1)
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "index"
    save(path, small(), embedder_id=MODEL, extra=b"extra")
    return path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "index"


@given(data=st.data())
def test_any_changed_byte_is_refused(saved: Path, scratch: Path, data: st.DataObject) -> None:
    whole = bytearray(saved.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(whole)
    with pytest.raises(SnapshotRefused):
        load(scratch, embedder_id=MODEL, dim=DIM)


@given(data=st.data())
def test_any_truncation_and_any_addition_is_refused(
    saved: Path, scratch: Path, data: st.DataObject
) -> None:
    whole = saved.read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    scratch.write_bytes(whole[:cut])
    with pytest.raises(SnapshotRefused):
        load(scratch, embedder_id=MODEL, dim=DIM)
    scratch.write_bytes(whole + data.draw(st.binary(min_size=1, max_size=40)))
    with pytest.raises(SnapshotRefused):
        load(scratch, embedder_id=MODEL, dim=DIM)


def test_another_embedder_another_dimension_or_no_file_is_refused(saved: Path) -> None:
    with pytest.raises(SnapshotRefused, match="other:fp32"):
        load(saved, embedder_id="other:fp32", dim=DIM)
    with pytest.raises(SnapshotRefused):
        load(saved, embedder_id=MODEL, dim=DIM + 1)
    with pytest.raises(SnapshotRefused):
        load(saved.parent / "nothing", embedder_id=MODEL, dim=DIM)


def trained(rows: int = 400) -> VectorIndex:
    """Return an index with inverted lists in one scope of two, not all of it trained on."""
    index = VectorIndex(DIM, ivf_from=rows * 3 // 4)
    drawn = unit_rows(rows, DIM)
    for n in range(rows * 3 // 4):
        index.add(str(n), "large", drawn[n], math.inf)
    assert index.maintain() == ["large"]
    for n in range(rows * 3 // 4, rows):
        index.add(str(n), "large", drawn[n], math.inf)
    index.add("other", "small", drawn[0], math.inf)
    return index


def test_inverted_lists_are_read_not_trained_anew(tmp_path: Path) -> None:
    index = trained()
    for n in range(0, 400, 7):
        index.remove(str(n))
    save(tmp_path / "index", index, embedder_id=MODEL)
    found = load(tmp_path / "index", embedder_id=MODEL, dim=DIM, ivf_from=300).index
    assert found.maintain() == []
    for row in unit_rows(400, DIM):
        assert found.search("large", row, 5, 0.0) == index.search("large", row, 5, 0.0)
    assert len(found.search("large", ROWS[0], 400, 0.0)) == len(index) - 1  # in lists, all of them


def test_lists_that_were_read_grow_shrink_and_are_saved_again(tmp_path: Path) -> None:
    save(tmp_path / "index", trained(), embedder_id=MODEL)
    index = load(tmp_path / "index", embedder_id=MODEL, dim=DIM, ivf_from=300).index
    for n, row in enumerate(unit_rows(199, DIM), 400):  # trained on 300 rows, so up to 599
        index.add(str(n), "large", row, 100.0)
    assert index.pending() == []
    index.add("599", "large", ROWS[0], math.inf)
    assert index.maintain() == ["large"]
    assert sorted(index.expire(100.0)) == [str(n) for n in range(400, 599)]
    index.compact()
    save(tmp_path / "index", index, embedder_id=MODEL)
    again = load(tmp_path / "index", embedder_id=MODEL, dim=DIM).index
    assert contents(again) == contents(index)


def test_lists_beyond_the_limit_are_left_out(tmp_path: Path) -> None:
    index = trained()
    index.search("small", ROWS[0], 1, 0.0)  # asked last, so it is read first
    save(tmp_path / "index", index, embedder_id=MODEL)
    found = load(tmp_path / "index", embedder_id=MODEL, dim=DIM, limit=0)
    assert list(found.index.scopes()) == ["small"]
    assert {scope: sorted(ids) for scope, ids in found.left.items()} == {
        "large": sorted(map(str, range(400)))
    }


@pytest.mark.parametrize("dim", [DIM, 2 * DIM])
def test_lists_that_faiss_cannot_read_or_are_of_other_vectors_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dim: int
) -> None:
    other = VectorIndex(dim, ivf_from=100)
    other.extend("s", list(map(str, range(100))), unit_rows(100, dim), np.full(100, math.inf))
    other.maintain()
    lists = next(iter(other.blocks())).lists
    assert lists is not None
    wrong = lists.centroids if dim != DIM else lists.centroids[:-100]
    monkeypatch.setattr(partition, "centroids_of", lambda index: wrong)
    save(tmp_path / "index", trained(), embedder_id=MODEL)
    with pytest.raises(SnapshotRefused):
        load(tmp_path / "index", embedder_id=MODEL, dim=DIM)


@pytest.mark.parametrize("format", [1, 3])
def test_a_file_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "_FORMAT", format)
        save(tmp_path / "index", trained(), embedder_id=MODEL)
    with pytest.raises(SnapshotRefused, match=f"is of \\({format}, "):
        load(tmp_path / "index", embedder_id=MODEL, dim=DIM)


class Broken(VectorIndex):
    """Fails half-way, as a full disk would."""

    def blocks(self) -> Generator[Block, None, None]:
        yield from itertools.islice(super().blocks(), 1)
        raise OSError("no space left")


def test_a_save_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "index"
    save(path, small(), embedder_id=MODEL)
    before = path.read_bytes()
    broken = Broken(DIM)
    broken.extend("s", ["x", "y"], ROWS[:2], [1.0, 2.0])
    with pytest.raises(OSError, match="no space"):
        save(path, broken, embedder_id=MODEL)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert broken.maintain() == []  # and nothing stays locked


def test_the_saved_vectors_are_exact(saved: Path) -> None:
    found = load(saved, embedder_id=MODEL, dim=DIM).index
    (match,) = found.search("scope 0", ROWS[0], 1, 0.0)
    assert match == small().search("scope 0", ROWS[0], 1, 0.0)[0]
    assert np.isclose(match.cosine, 1.0, atol=1e-3)


def test_a_deadline_that_is_changed_while_a_snapshot_is_written_is_in_it_or_not(
    tmp_path: Path,
) -> None:
    index, rows = VectorIndex(DIM), unit_rows(9_000, DIM)
    index.extend("s", [str(n) for n in range(9_000)], rows, [math.inf] * 9_000)
    blocks = index.blocks()
    first = next(blocks)
    index.add(first.ids[7], "s", rows[7], 5.0)  # behind all others, on the last shelf
    ids = first.ids + [id for block in blocks for id in block.ids]
    assert len(ids) == len(set(ids)) == 9_000
    index.compact()
    assert save(tmp_path / "index", index, embedder_id=MODEL) == 9_000
    found = load(tmp_path / "index", embedder_id=MODEL, dim=DIM).index
    assert found.expire(5.0) == [first.ids[7]]
