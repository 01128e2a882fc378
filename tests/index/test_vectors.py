from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.index.errors import BadVector
from cacheserver.index.models import Vectors
from cacheserver.index.vectors import VectorIndex
from tests.index.data import ids_in, near, unit_rows

DIM = 24
# Few, so that equal vectors meet; far enough apart that half precision cannot reorder them.
POOL = unit_rows(12, DIM, seed=5)
COSINES = POOL @ POOL.T
FAR = math.inf


def test_the_pool_has_no_near_ties() -> None:
    gaps = np.diff(np.sort(COSINES, axis=1), axis=1)
    assert gaps.min() > 1e-3


@dataclass
class Oracle:
    """What the index should be: a dict and a sort."""

    held: dict[str, tuple[str, int, float, int]] = field(default_factory=dict)
    added: int = 0

    def add(self, id: str, scope: str, which: int, expires_at: float) -> None:
        self.added += 1
        self.held[id] = (scope, which, expires_at, self.added)

    def search(self, scope: str, which: int, k: int, now: float) -> list[str]:
        live = [
            (COSINES[which, vector], age, id)
            for id, (its, vector, expires_at, age) in self.held.items()
            if its == scope and expires_at > now
        ]
        return [id for _, _, id in sorted(live, reverse=True)[:k]]

    def expire(self, now: float) -> list[str]:
        gone = [id for id, (_, _, expires_at, _) in self.held.items() if expires_at <= now]
        for id in gone:
            del self.held[id]
        return gone


Step: TypeAlias = Callable[[VectorIndex, Oracle], None]

names = st.integers(0, 60).map(str)
scopes = st.sampled_from(["a", "a", "b"])
which = st.integers(0, len(POOL) - 1)
times = st.sampled_from([1.0, 2.0, 3.0, FAR])


def adding(id: str, scope: str, vector: int, expires_at: float) -> Step:
    def step(index: VectorIndex, oracle: Oracle) -> None:
        index.add(id, scope, POOL[vector], expires_at)
        oracle.add(id, scope, vector, expires_at)

    return step


def adding_many(scope: str, vector: int, expires_at: float, many: list[str]) -> Step:
    def step(index: VectorIndex, oracle: Oracle) -> None:
        index.extend(scope, many, POOL[[vector] * len(many)], [expires_at] * len(many))
        for id in many:
            oracle.add(id, scope, vector, expires_at)

    return step


def removing(id: str) -> Step:
    def step(index: VectorIndex, oracle: Oracle) -> None:
        assert index.remove(id) == (oracle.held.pop(id, None) is not None)

    return step


def sweeping(now: float) -> Step:
    def step(index: VectorIndex, oracle: Oracle) -> None:
        assert sorted(index.expire(now)) == sorted(oracle.expire(now))

    return step


def searching(scope: str, vector: int, k: int, now: float) -> Step:
    def step(index: VectorIndex, oracle: Oracle) -> None:
        found = index.search(scope, POOL[vector], k, now)
        assert [match.id for match in found] == oracle.search(scope, vector, k, now)
        wanted = [COSINES[vector, oracle.held[match.id][1]] for match in found]
        assert [match.cosine for match in found] == pytest.approx(wanted, abs=1e-3)

    return step


def training(index: VectorIndex, oracle: Oracle) -> None:
    index.maintain()


def copying(index: VectorIndex, oracle: Oracle) -> None:
    copied = {
        id: (block.scope, float(expires_at))
        for block in index.blocks()
        for id, expires_at in zip(block.ids, block.expires_at, strict=True)
    }
    assert copied == {id: (scope, end) for id, (scope, _, end, _) in oracle.held.items()}


steps = st.lists(
    st.one_of(
        st.builds(adding, names, scopes, which, times),
        st.builds(adding_many, scopes, which, times, st.lists(names, unique=True, max_size=40)),
        st.builds(removing, names),
        st.builds(sweeping, times.filter(math.isfinite)),
        st.builds(searching, scopes, which, st.integers(1, 8), st.sampled_from([0.0, 1.0, 2.0])),
        st.just(training),
        st.just(copying),
    ),
    max_size=60,
)


@pytest.mark.parametrize("ivf_from", [10_000, 3])
@given(steps=steps)
def test_it_finds_what_a_sort_of_everything_live_would(ivf_from: int, steps: list[Step]) -> None:
    index, oracle = VectorIndex(DIM, ivf_from=ivf_from), Oracle()
    for step in steps:
        step(index, oracle)
    assert sorted(ids_in(index)) == sorted(oracle.held)
    assert len(index) == len(oracle.held)
    assert all(id in index for id in oracle.held)
    counts = [scope for scope, *_ in oracle.held.values()]
    assert index.scopes() == {scope: counts.count(scope) for scope in counts}


def filled(count: int, *, ivf_from: int, expires_at: float = FAR) -> tuple[VectorIndex, Vectors]:
    index, rows = VectorIndex(64, ivf_from=ivf_from), unit_rows(count, 64)
    index.extend("s", [str(n) for n in range(count)], rows, [expires_at] * count)
    return index, rows


def test_a_trained_scope_still_finds_near_duplicates() -> None:
    index, rows = filled(20_000, ivf_from=20_000)
    assert index.pending() == ["s"]
    assert index.maintain() == ["s"]
    assert index.pending() == []
    asked = near(rows[:1000], 0.92)
    truth = (asked @ rows.T).argmax(axis=1)
    found = [index.search("s", question, 5, 0.0)[0].id for question in asked]
    assert np.mean([int(id) for id in found] == truth) >= 0.99


def test_a_scope_is_trained_again_when_it_has_doubled() -> None:
    index, _ = filled(2000, ivf_from=2000)
    index.maintain()
    more = unit_rows(2000, 64, seed=2)
    index.extend("s", [f"n{n}" for n in range(1999)], more[:1999], [FAR] * 1999)
    assert index.pending() == []
    index.add("last", "s", more[1999], FAR)
    assert index.maintain() == ["s"]
    assert index.search("s", more[1999], 1, 0.0)[0].id == "last"
    assert len(ids_in(index)) == len({id for block in index.blocks() for id in block.ids}) == 4000


# 24,000: there are more groups of lists than a search looks into.
@pytest.mark.parametrize(("count", "ivf_from"), [(2_000, 10_000), (2_000, 2_000), (24_000, 24_000)])
def test_the_living_are_found_behind_a_crowd_of_the_expired(count: int, ivf_from: int) -> None:
    index, rows = filled(count, ivf_from=ivf_from, expires_at=1.0)
    index.add("alive", "s", -rows[7], FAR)  # the farthest there is
    index.maintain()
    assert [match.id for match in index.search("s", rows[7], 5, now=1.0)] == ["alive"]


def test_ids_that_differ_in_capitals_or_spaces_are_different() -> None:
    index, ids = VectorIndex(DIM), ["ab", "AB", "a b", "abc", "ab ab", "abab", "", "\u00e4"]
    index.extend("s", ids, POOL[: len(ids)], [FAR] * len(ids))
    found = [index.search("s", row, 1, 0.0)[0].id for row in POOL[: len(ids)]]
    assert found == ids == index.ids_of("s") == ids_in(index)
    assert index.remove("AB")
    assert "AB" not in index
    assert "ab" in index


def test_a_deadline_is_the_first_moment_that_is_too_late() -> None:
    index = VectorIndex(DIM)
    index.add("x", "s", POOL[0], 10.0)
    assert index.search("s", POOL[0], 1, now=9.999)
    assert index.search("s", POOL[0], 1, now=10.0) == []
    assert index.expire(9.999) == []
    assert index.expire(10.0) == ["x"]


def test_what_is_added_and_removed_during_a_training_is_neither_lost_nor_brought_back() -> None:
    index, rows = filled(30_000, ivf_from=30_000)
    late = unit_rows(500, 64, seed=3)
    begun = Barrier(2)

    def train() -> list[str]:
        begun.wait()
        return index.maintain()

    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(train)
        begun.wait()
        for n in range(500):
            index.add(f"late{n}", "s", late[n], FAR)
            index.remove(str(n))
            index.search("s", rows[n], 1, 0.0)
        assert trained.result() == ["s"]
    for n in range(500):
        assert index.search("s", late[n], 1, 0.0)[0].id == f"late{n}"
        assert index.search("s", rows[n], 1, 0.0)[0].id != str(n)
    assert len(index) == 30_000


@pytest.mark.parametrize("looks", [1, 5, 12, 20])
def test_a_training_that_is_given_up_leaves_the_scope_as_it_was(looks: int) -> None:
    index, rows = filled(30_000, ivf_from=30_000)
    left = iter(range(looks))
    assert index.maintain(lambda: next(left, None) is None) == []
    assert index.pending() == ["s"]
    assert index.search("s", rows[7], 1, 0.0)[0].id == "7"
    assert index.maintain() == ["s"]
    assert index.search("s", rows[7], 1, 0.0)[0].id == "7"


def test_a_scope_that_is_emptied_during_its_training_is_gone() -> None:
    index, rows = filled(20_000, ivf_from=20_000)
    begun = Barrier(2)

    def train() -> None:
        begun.wait()
        index.maintain()

    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(train)
        begun.wait()
        for id in ids_in(index):
            index.remove(id)
        trained.result()
    assert (len(index), index.scopes(), index.search("s", rows[0], 5, 0.0)) == (0, {}, [])
    index.add("again", "s", rows[0], FAR)
    assert [match.id for match in index.search("s", rows[0], 5, 0.0)] == ["again"]


def test_a_copy_in_progress_survives_removals_and_keeps_the_untouched() -> None:
    index, _ = filled(20_000, ivf_from=100_000)
    blocks = index.blocks()
    copied = set(next(blocks).ids)
    for n in range(0, 20_000, 2):  # enough to compact, were rows free to move
        index.remove(str(n))
    for block in blocks:
        copied.update(block.ids)
    assert {str(n) for n in range(1, 20_000, 2)} <= copied
    assert {id for block in index.blocks() for id in block.ids} == set(ids_in(index))


def test_searches_in_threads_see_only_their_scope_while_others_write() -> None:
    index, rows = VectorIndex(64, ivf_from=500), unit_rows(400, 64)
    for n in range(400):
        index.add(f"a{n}", "a", rows[n], FAR)

    def search(thread: int) -> None:
        for n in range(300):
            found = index.search("a", rows[(n * 7 + thread) % 400], 5, 0.5)
            assert len(found) == 5
            assert all(match.id.startswith("a") for match in found)

    def write() -> None:
        for n in range(1500):
            index.add(f"a-new{n % 200}", "a", rows[n % 400], FAR)
            index.add(f"b{n % 50}", "b", rows[n % 400], n % 3)
            index.remove(f"b{n % 70}")
            index.expire(1.0)
            index.maintain()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(search, thread) for thread in range(3)] + [pool.submit(write)]
        for job in jobs:
            job.result()


@pytest.mark.parametrize(
    "vector",
    [
        POOL[0] * 1.01,
        POOL[0] * 0,
        np.full(DIM, np.nan, np.float32),
        POOL[0][:-1],
        POOL[:2],
    ],
    ids=["long", "zero", "nan", "short", "two"],
)
def test_what_is_no_unit_vector_of_the_dimension_is_refused(vector: Vectors) -> None:
    index = VectorIndex(DIM)
    with pytest.raises(BadVector):
        index.add("x", "s", vector, FAR)
    assert len(index) == 0


def test_a_question_of_another_dimension_is_refused() -> None:
    with pytest.raises(BadVector):
        VectorIndex(DIM).search("s", POOL[0][:-1], 1, 0.0)


@pytest.mark.parametrize(
    ("ids", "deadline"), [(["x", "x"], 1.0), (["x", "y"], math.nan), (["x", "y"], -math.inf)]
)
def test_ids_given_twice_and_deadlines_that_are_no_times_are_refused(
    ids: list[str], deadline: float
) -> None:
    index = VectorIndex(DIM)
    with pytest.raises(ValueError, match="twice"):
        index.extend("s", ids, POOL[:2], [FAR, deadline])
    assert len(index) == 0


def test_asking_for_none_finds_none() -> None:
    index = VectorIndex(DIM)
    index.add("x", "s", POOL[0], FAR)
    assert index.search("s", POOL[0], 0, 0.0) == []
    assert index.search("elsewhere", POOL[0], 5, 0.0) == []


def test_a_cosine_never_exceeds_one() -> None:
    rows = unit_rows(200, 384)
    index = VectorIndex(384)
    index.extend("s", [str(n) for n in range(200)], rows, [FAR] * 200)
    cosines = [index.search("s", row, 1, 0.0)[0].cosine for row in rows]
    assert max(cosines) <= 1.0
    assert min(cosines) > 0.999


@pytest.mark.parametrize("ivf_from", [10_000, 10])
def test_of_a_crowd_of_equals_the_newest_are_found(ivf_from: int) -> None:
    index = VectorIndex(DIM, ivf_from=ivf_from)
    for n in range(60):
        index.add(str(n), "s", POOL[0], FAR)
    index.maintain()
    assert [match.id for match in index.search("s", POOL[0], 3, 0.0)] == ["59", "58", "57"]


@pytest.mark.parametrize("ivf_from", [10_000, 2_000])
def test_after_most_were_removed_the_rest_are_found_under_their_own_names(ivf_from: int) -> None:
    index, rows = filled(2_000, ivf_from=ivf_from)
    index.maintain()
    gone, kept = set(range(0, 2_000, 3)) | set(range(1, 2_000, 3)), range(2, 2_000, 3)
    for n in gone:
        assert index.remove(str(n))
    assert [index.search("s", rows[n], 1, 0.0)[0].id for n in kept] == [str(n) for n in kept]
    for n in gone:
        found = index.search("s", rows[n], 5, 0.0)
        assert [float(rows[n] @ rows[int(match.id)]) for match in found] == pytest.approx(
            [match.cosine for match in found], abs=1e-3
        )
        assert len({match.id for match in found}) == 5
