"""Support lies near right hits, and for a group near its own."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.policy import support
from cacheserver.policy.neighbours import Evidence
from cacheserver.policy.support import LEAST_CROWD, PRIOR_COSINE, Support, learned

FLOOR = 0.9
Told = tuple[Evidence, float, str]

crowds = st.floats(-1, 1)
callers = st.sampled_from("abc")
told = st.tuples(
    st.builds(lambda crowd, group: found(crowd=crowd, group=group), crowds, st.sampled_from("ghk")),
    st.sampled_from((0.5, 0.99)),
    callers,
)
some = st.lists(told, max_size=80)


def found(*, crowd: float, cosine: float = 0.9, group: str = "g", twin: bool = False) -> Evidence:
    return Evidence(
        cosine, 0.2, 1.0, 1.0, 0.8, 2.0, company=10, group=group, crowd=crowd, twin=twin
    )


def drawn(
    mean: float, count: int, *, group: str = "g", caller: str = "", seed: int = 1
) -> list[Told]:
    rng = Random(seed)
    return [(found(crowd=rng.gauss(mean, 0.05), group=group), 0.99, caller) for _ in range(count)]


@pytest.mark.parametrize(("cosine", "held"), [(PRIOR_COSINE, True), (0.849, False), (0.1, False)])
def test_without_labels_the_cosine_says_whether_the_prior_knows_such_pairs(
    cosine: float, held: bool
) -> None:
    assert Support().holds(found(cosine=cosine, crowd=0.1)) is held
    assert Support().holds(found(cosine=cosine, crowd=0.1, twin=True))


def test_with_labels_the_crowd_says_it_and_no_cosine() -> None:
    told = Support(0.6, {"other": 0.4})
    assert told.holds(found(crowd=0.6, cosine=0.3))
    assert not told.holds(found(crowd=0.59, cosine=0.99))
    assert told.holds(found(crowd=0.59, group="other"))
    assert told.holds(found(crowd=-0.5, twin=True))


def test_fewer_than_twenty_sure_labels_tell_nothing() -> None:
    unsure = [(evidence, FLOOR - 0.01, caller) for evidence, _, caller in drawn(0.8, 200)]
    assert learned([*drawn(0.8, 19), *unsure], FLOOR) == Support()
    assert learned([*drawn(0.8, 20), *unsure], FLOOR).least is not None


def test_most_of_the_sure_ones_are_within_and_what_lies_far_is_not() -> None:
    right = drawn(0.8, 400)
    told = learned(right, FLOOR)
    assert told.least == pytest.approx(0.8 - 0.7 * 0.05, abs=0.01)
    assert sum(told.holds(evidence) for evidence, _, _ in right) > 0.7 * len(right)
    assert not told.holds(found(crowd=0.6))


def test_labels_of_a_group_move_its_own_threshold_and_no_others() -> None:
    common = drawn(0.8, 300) + drawn(0.8, 50, group="h")
    unsure = [(found(crowd=0.5), 0.5, "") for _ in range(50)]  # right, and not sure
    before, after = learned(common, FLOOR), learned(common + unsure, FLOOR)
    assert after.groups["g"] < before.groups["g"]
    assert (after.least, after.groups["h"]) == (before.least, before.groups["h"])


def test_no_labels_bring_a_threshold_below_the_least() -> None:
    told = learned(drawn(0.2, 100), FLOOR)
    assert (told.least, told.groups["g"]) == (LEAST_CROWD, LEAST_CROWD)


@given(some, st.floats(-1, LEAST_CROWD, exclude_max=True), st.sampled_from("ghkz"))
def test_whatever_was_right_a_crowd_below_the_least_is_not_supported(
    right: list[Told], crowd: float, group: str
) -> None:
    told = learned(right, FLOOR)
    if told.least is not None:
        assert not told.holds(found(crowd=crowd, cosine=1.0, group=group))


@given(some, st.lists(crowds, max_size=60), st.booleans())
def test_one_caller_never_widens_what_the_others_show(
    others: list[Told], sent: list[float], sure: bool
) -> None:
    """Not of the scope, nor of a group that others have labels of."""
    mine = [(found(crowd=crowd), 0.99 if sure else 0.5, "mallory") for crowd in sent]
    before, after = learned(others, FLOOR), learned(others + mine, FLOOR)
    if before.least is None:
        return
    alone = _plain(others)
    assert after.least is not None
    assert alone.least is not None
    assert after.least >= alone.least - 1e-6
    for group in {evidence.group for evidence, _, _ in others}:
        assert after.groups[group] >= alone.groups[group] - 1e-6


def _plain(right: list[Told]) -> Support:
    """Learn from these as labels of one caller."""
    return learned([(evidence, p, "") for evidence, p, _ in right], FLOOR)


def test_a_scope_with_one_caller_is_told_by_that_caller() -> None:
    assert learned(drawn(0.8, 100, caller="a"), FLOOR) == learned(drawn(0.8, 100), FLOOR)
    few = drawn(0.5, support._FIRST - 1, caller="b")
    with_few = learned(drawn(0.8, 100, caller="a") + few, FLOOR)
    assert with_few.least == pytest.approx(learned(drawn(0.8, 100), FLOOR).least)
