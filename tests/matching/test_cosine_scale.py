"""The cosine scale: one embedder's cosines on another's scale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.matching.cosine_scale import CosineScale, match_quantiles

cosines = st.floats(-1, 1)
samples = st.lists(cosines, min_size=2, max_size=80)


@given(cosines)
def test_without_knots_each_cosine_stays(cosine: float) -> None:
    assert CosineScale()(cosine) == cosine


def test_between_two_knots_it_is_a_line_and_the_outer_lines_go_on() -> None:
    scale = CosineScale(((0.7, 0.0), (0.9, 0.8), (1.0, 1.0)))
    assert [scale(c) for c in (0.7, 0.8, 0.9, 0.95, 1.0)] == pytest.approx([0, 0.4, 0.8, 0.9, 1])
    assert scale(0.6) == pytest.approx(-0.4)
    assert scale(-1.0) == -1.0


@given(samples, samples, cosines, cosines)
def test_a_measured_scale_never_falls_and_keeps_equal_texts(
    ours: list[float], theirs: list[float], one: float, other: float
) -> None:
    count = min(len(ours), len(theirs))
    scale = match_quantiles(ours[:count], theirs[:count], 10)
    low, high = sorted((one, other))
    assert -1 <= scale(low) <= scale(high) + 1e-12 <= 1 + 1e-12
    assert scale(1.0) == pytest.approx(1.0)


def test_the_same_share_of_pairs_lies_above_a_mapped_value() -> None:
    ours = [0.70 + i * 0.0003 for i in range(1_000)]
    theirs = [i * 0.00099 for i in range(1_000)]
    scale = match_quantiles(ours, theirs, 50)
    assert scale(ours[900]) == pytest.approx(theirs[900], abs=0.01)


@pytest.mark.parametrize("knots", [((0.5, 0.5),), ((0.5, 0.5), (0.4, 0.6)), ((0, 1), (1, 0))])
def test_knots_that_do_not_rise_are_refused(knots: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="rising"):
        CosineScale(knots)
