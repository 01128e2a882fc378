"""Curves and intervals: what a bar would have served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.calibration.precision_curve import Scored, at, curve, fewest, recommended, safest
from cacheserver.matching.conformal_bound import wilson

scored = st.lists(
    st.builds(Scored, score=st.sampled_from([0.1, 0.5, 0.9, 0.95, 0.99]), right=st.booleans()),
    max_size=60,
)


@pytest.mark.parametrize(
    ("wrong", "of", "low", "high"),
    [(0, 299, 0.0, 0.01268), (5, 100, 0.02154, 0.11175), (0, 0, 0.0, 1.0), (10, 10, 0.72247, 1.0)],
)
def test_the_interval_is_wilsons(wrong: int, of: int, low: float, high: float) -> None:
    assert wilson(wrong, of) == pytest.approx((low, high), abs=1e-4)


@given(scored)
def test_a_looser_bar_serves_no_fewer_and_counts_add_up(found: list[Scored]) -> None:
    points = curve(found, total=100)
    assert [p.hits for p in points] == sorted(p.hits for p in points)
    for point in points:
        served = [one for one in found if one.score >= point.bar]
        assert (point.hits, point.wrong) == (len(served), sum(not s.right for s in served))
        assert point.wrong_low <= point.wrong_rate <= point.wrong_high


@given(scored, st.floats(0.01, 0.5))
def test_what_is_recommended_keeps_the_target_and_nothing_looser_does(
    found: list[Scored], target: float
) -> None:
    best = recommended(found, target, total=100)
    right = {one.score for one in found if one.right}  # a bar is at the score of a right pair
    kept = [p for p in curve(found, total=100) if p.wrong_high <= target and p.bar in right]
    if best is None:
        assert not kept
    else:
        assert best.wrong_high <= target
        assert all(best.bar <= point.bar for point in kept)


def test_a_bar_is_inclusive() -> None:
    assert at([Scored(0.9, True)], 0.9, total=2).hit_rate == 0.5


@pytest.mark.parametrize(("target", "count"), [(0.01, 381), (0.05, 73), (0.1, 35), (0.5, 4)])
def test_how_many_right_hits_show_a_target(target: float, count: int) -> None:
    assert fewest(target) == count


@given(st.floats(0.0005, 0.5))
def test_one_hit_less_shows_it_no_longer(target: float) -> None:
    count = fewest(target)
    assert wilson(0, count)[1] <= target
    assert count == 1 or wilson(0, count - 1)[1] > target


@given(scored)
def test_the_safest_bar_is_bounded_lowest(found: list[Scored]) -> None:
    best = safest(found, total=100)
    bounds = [point.wrong_high for point in curve(found, total=100)]
    assert (best.wrong_high if best else None) == (min(bounds) if bounds else None)


def test_easy_pairs_pay_for_no_score_that_only_wrong_ones_had() -> None:
    scored = [Scored(0.97, True)] * 300 + [Scored(0.1, False)] * 2
    best = recommended(scored, 0.05, total=len(scored))
    assert best is not None
    assert (best.bar, best.wrong) == (0.97, 0)
