"""Offsets of groups and entries: what a past adds, and how far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.evidence import Evidence
from cacheserver.matching.offsets import Offsets, WeightedOutcome, fit_offsets

rights = st.lists(st.booleans(), max_size=40)


def shown(
    right: bool, *, group: str = "g", entry: str = "e", logit: float = 3.0
) -> WeightedOutcome:
    return WeightedOutcome(_of(group, entry), logit, right, 1.0)


def _of(group: str, entry: str) -> Evidence:
    return Evidence(0.9, 0.1, 1.0, 1.0, 0.8, 2.0, company=10, group=group, entry=entry)


def test_nothing_is_added_where_nothing_is_known() -> None:
    assert Offsets().log_odds(_of("g", "e")) == 0
    known = fit_offsets([shown(False)])
    assert known.log_odds(_of("other", "another")) == 0
    assert fit_offsets([shown(False, group="", entry="")]) == Offsets()


@given(rights)
def test_a_wrong_one_more_never_raises_and_a_right_one_never_lowers(past: list[bool]) -> None:
    window = [shown(right) for right in past]
    before = fit_offsets(window).log_odds(_of("g", "e"))
    slack = 1e-9
    assert fit_offsets([*window, shown(False)]).log_odds(_of("g", "e")) <= before + slack
    assert fit_offsets([*window, shown(True, logit=30.0)]).log_odds(_of("g", "e")) >= before - slack


@given(rights, st.floats(-20, 20))
def test_doubt_goes_further_than_trust(past: list[bool], logit: float) -> None:
    added = fit_offsets([shown(right, logit=logit) for right in past]).log_odds(_of("g", "e"))
    assert -12.0 <= added <= 3.0


def test_what_a_group_explains_is_not_held_against_its_entry_again() -> None:
    many = [shown(False, entry=f"e{at}") for at in range(30)]
    offsets = fit_offsets(many)
    alone = fit_offsets([shown(False, group="")])
    of_one = offsets.log_odds(_of("", "e0"))  # what its entry adds beyond the group
    assert alone.log_odds(_of("", "e")) < of_one < 0


def test_a_wrong_hit_counts_most_against_its_own_entry() -> None:
    offsets = fit_offsets([shown(False)])
    own, other = offsets.log_odds(_of("g", "e")), offsets.log_odds(_of("g", "another"))
    assert own < other < 0
    assert other == pytest.approx(-0.91, abs=0.01)
