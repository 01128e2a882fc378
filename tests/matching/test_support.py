"""Support lies near right hits and in their words; for a group, near its own."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.evidence import Evidence
from cacheserver.matching import support
from cacheserver.matching.support import (
    LEAST_CROWD,
    PRIOR_COSINE,
    PRIOR_COVERAGE,
    REACH,
    ReferenceRange,
    Support,
    learn_support,
)

FLOOR = 0.9
Told = tuple[Evidence, float, str]

crowds = st.floats(-1, 1)
shares = st.floats(0, 1)
callers = st.sampled_from("abc")
told = st.tuples(
    st.builds(
        lambda crowd, coverage, group: found(crowd=crowd, coverage=coverage, group=group),
        crowds,
        st.none() | shares,
        st.sampled_from("ghk"),
    ),
    st.sampled_from((0.5, 0.99)),
    callers,
)
some = st.lists(told, max_size=80)


def found(
    *,
    crowd: float,
    coverage: float | None = 1.0,
    cosine: float = 0.9,
    group: str = "g",
    twin: bool = False,
) -> Evidence:
    return Evidence(
        *(cosine, 0.2, 1.0, 1.0, 0.8, 2.0),
        company=10,
        group=group,
        crowd=crowd,
        twin=twin,
        coverage=coverage,
    )


def drawn(
    mean: float, count: int, *, group: str = "g", caller: str = "", seed: int = 1, new: float = 0.0
) -> list[Told]:
    """Labels with crowds about `mean`; a share `new` of them with a word that is new."""
    rng = Random(seed)
    return [
        (
            found(
                crowd=rng.gauss(mean, 0.05),
                group=group,
                coverage=0.5 if rng.random() < new else 1.0,
            ),
            0.99,
            caller,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("cosine", "coverage", "held"),
    [
        (PRIOR_COSINE, PRIOR_COVERAGE, True),
        (0.849, 1.0, False),
        (0.1, 1.0, False),
        (1.0, PRIOR_COVERAGE - 0.01, False),
    ],
)
def test_without_labels_cosine_and_words_say_whether_the_prior_knows_such_pairs(
    cosine: float, coverage: float, held: bool
) -> None:
    told = found(cosine=cosine, crowd=0.1, coverage=coverage)
    assert Support().contains(told) is held
    assert Support().contains(replace(told, twin=True))


def test_with_labels_the_crowd_says_it_and_no_cosine() -> None:
    told = Support(ReferenceRange(0.75, 0.1, {"other": 0.55}), ReferenceRange(1.0, 0.1))
    least = 0.75 - REACH * 0.1
    assert told.contains(found(crowd=least + 0.01, cosine=0.3))
    assert not told.contains(found(crowd=least - 0.01, cosine=0.99))
    assert told.contains(found(crowd=least - 0.01, group="other"))
    assert told.contains(found(crowd=-0.5, twin=True))


def test_so_does_the_share_of_words_that_others_with_the_answer_say() -> None:
    told = Support(ReferenceRange(0.7, 0.1), ReferenceRange(0.95, 0.1, {"other": 0.6}))
    least = 0.95 - REACH * 0.1
    assert told.contains(found(crowd=0.9, coverage=least + 0.01))
    assert not told.contains(found(crowd=0.9, coverage=least - 0.01))
    assert told.contains(found(crowd=0.9, coverage=least - 0.2, group="other"))
    assert told.contains(found(crowd=0.9, coverage=0.0, twin=True))


def test_what_lacks_of_both_adds_up() -> None:
    told, short = (
        Support(ReferenceRange(0.7, 0.1), ReferenceRange(0.9, 0.1)),
        0.09,
    )  # of 0.1 deviations
    assert told.contains(found(crowd=0.7 - short * REACH, coverage=0.9))
    assert told.contains(found(crowd=0.7, coverage=0.9 - short * REACH))
    assert told.contains(found(crowd=0.7 - short * REACH / 2, coverage=0.9 - short * REACH / 2))
    assert not told.contains(found(crowd=0.7 - short * REACH, coverage=0.9 - short * REACH))


def test_labels_of_an_older_version_tell_of_the_crowd_alone() -> None:
    right = drawn(0.8, 200)
    old = [(replace(evidence, coverage=None), p, caller) for evidence, p, caller in right]
    before, after = learn_support(old, FLOOR), learn_support(right, FLOOR)
    assert before.coverage is None
    assert before.crowd == after.crowd
    assert before.contains(old[0][0])
    # Until there are labels that tell, a word more than the prior's pairs lack is too many.
    assert not before.contains(found(crowd=0.9, coverage=PRIOR_COVERAGE - 0.01))
    assert (
        learn_support([*old, *right[:100]], FLOOR).coverage
        == learn_support(right[:100], FLOOR).coverage
    )


def test_fewer_than_twenty_sure_labels_tell_nothing() -> None:
    unsure = [(evidence, FLOOR - 0.01, caller) for evidence, _, caller in drawn(0.8, 200)]
    assert learn_support([*drawn(0.8, 19), *unsure], FLOOR) == Support()
    told = learn_support([*drawn(0.8, 20), *unsure], FLOOR)
    assert None not in (told.crowd, told.coverage)


def test_most_of_the_sure_ones_are_within_and_what_lies_far_is_not() -> None:
    right = drawn(0.8, 400)
    told = learn_support(right, FLOOR)
    assert told.crowd is not None
    assert told.crowd.mean == pytest.approx(0.8, abs=0.01)
    assert told.crowd.deviation == pytest.approx(0.05, abs=0.01)
    assert sum(told.contains(evidence) for evidence, _, _ in right) > 0.85 * len(right)
    assert not told.contains(found(crowd=0.6))


@pytest.mark.parametrize(("new", "held"), [(0.0, False), (0.05, False), (0.4, True)])
def test_a_new_word_is_supported_where_right_hits_often_had_one(new: float, held: bool) -> None:
    told = learn_support(drawn(0.8, 400, new=new), FLOOR)
    assert told.contains(found(crowd=0.85, coverage=1.0))
    assert told.contains(found(crowd=0.85, coverage=0.5)) is held


def test_labels_of_a_group_move_its_own_means_and_no_others() -> None:
    common = drawn(0.8, 300) + drawn(0.8, 50, group="h")
    unsure = [(found(crowd=0.5, coverage=0.2), 0.5, "") for _ in range(50)]  # right, and not sure
    before, after = learn_support(common, FLOOR), learn_support(common + unsure, FLOOR)
    for one, other in ((before.crowd, after.crowd), (before.coverage, after.coverage)):
        assert one is not None
        assert other is not None
        assert other.groups["g"] < one.groups["g"]
        assert (other.mean, other.deviation) == (one.mean, one.deviation)
        assert other.groups["h"] == one.groups["h"]


@given(some, st.floats(-1, LEAST_CROWD, exclude_max=True), st.sampled_from("ghkz"))
def test_whatever_was_right_a_crowd_below_the_least_is_not_supported(
    right: list[Told], crowd: float, group: str
) -> None:
    told = learn_support(right, FLOOR)
    if told.crowd is not None:
        assert not told.contains(found(crowd=crowd, cosine=1.0, group=group))


@given(some, st.sampled_from("ghkz"), crowds, crowds, shares, shares)
def test_nearer_or_fewer_new_words_never_lose_support(
    right: list[Told], group: str, near: float, far: float, more: float, less: float
) -> None:
    told = learn_support(right, FLOOR)
    near, far, more, less = max(near, far), min(near, far), max(more, less), min(more, less)
    if told.contains(found(crowd=far, coverage=less, group=group)):
        assert told.contains(found(crowd=near, coverage=more, group=group))


@given(some, st.lists(st.tuples(crowds, shares), max_size=60), st.booleans())
def test_one_caller_never_widens_what_the_others_show(
    others: list[Told], sent: list[tuple[float, float]], sure: bool
) -> None:
    """Not of the scope, nor of a group that others have labels of."""
    mine = [(found(crowd=c, coverage=v), 0.99 if sure else 0.5, "mallory") for c, v in sent]
    alone, after = _plain(others), learn_support(others + mine, FLOOR)
    for mean in ("crowd", "coverage"):
        one, other = getattr(alone, mean), getattr(after, mean)
        if one is None:
            continue
        assert other.mean >= one.mean - 1e-6
        assert other.deviation <= one.deviation + 1e-6
        for group in one.groups:
            assert other.groups[group] >= one.groups[group] - 1e-6


def _plain(right: list[Told]) -> Support:
    """Learn from these as labels of one caller."""
    return learn_support([(evidence, p, "") for evidence, p, _ in right], FLOOR)


def test_a_scope_with_one_caller_is_told_by_that_caller() -> None:
    assert learn_support(drawn(0.8, 100, caller="a"), FLOOR) == learn_support(
        drawn(0.8, 100), FLOOR
    )
    few = drawn(0.5, support._FIRST - 1, caller="b")
    with_few, alone = (
        learn_support(drawn(0.8, 100, caller="a") + few, FLOOR),
        learn_support(drawn(0.8, 100), FLOOR),
    )
    assert with_few.crowd is not None
    assert alone.crowd is not None
    assert with_few.crowd.mean == pytest.approx(alone.crowd.mean)
    assert with_few.crowd.deviation == pytest.approx(alone.crowd.deviation)


def test_a_word_more_or_less_is_no_matter_of_rounding() -> None:
    """Where all labels are alike the deviation is 0, and sums of many are not exact."""
    right = [(found(crowd=0.8, coverage=0.7), 0.99, "") for _ in range(333)]
    told = learn_support(right, FLOOR)
    assert told.contains(right[0][0])
    assert not told.contains(found(crowd=0.8, coverage=0.7 - 2 * REACH * support._NARROWEST))
