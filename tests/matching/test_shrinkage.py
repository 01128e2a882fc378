from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.matching.shrinkage import Counts, adjustment

number = st.floats(0, 500, allow_nan=False)
counts = st.tuples(number, number)
_SLACK = 1e-9  # of floating point


def plus(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1]


def test_nothing_known_changes_nothing() -> None:
    assert adjustment((0, 0)) == adjustment((0, 0), (0, 0)) == 0


@pytest.mark.parametrize(
    ("entry", "group", "told"),
    [
        ((1, 0), (1, 0), -3.81),  # a wrong hit of its own
        ((0, 0), (1, 0), -0.98),  # one of another entry that says the same
        ((0, 0), (5, 0), -4.72),
        ((1, 0), (2, 0), -4.75),
        ((0, 100), (1, 100), -0.20 + 0.81),  # a hundred right hits of its own speak louder
        ((20, 0), (20, 0), -6),  # doubt has an end
    ],
)
def test_what_a_past_takes_away(entry: Counts, group: Counts, told: float) -> None:
    assert adjustment(entry, group) == pytest.approx(told, abs=0.01)


@given(counts, counts)
def test_doubt_goes_further_than_trust_and_both_have_an_end(entry: Counts, others: Counts) -> None:
    assert -6 <= adjustment(entry, plus(entry, others)) <= 1


@given(counts, counts, st.floats(0.01, 50))
def test_a_wrong_hit_never_raises_and_a_right_one_never_lowers(
    entry: Counts, others: Counts, more: float
) -> None:
    group = plus(entry, others)
    before = adjustment(entry, group)
    for own in (True, False):  # of the entry itself, or of another one of its group
        wrong, right = (more, 0.0), (0.0, more)
        mine = plus(entry, wrong) if own else entry
        assert adjustment(mine, plus(group, wrong)) <= before + _SLACK
        mine = plus(entry, right) if own else entry
        assert adjustment(mine, plus(group, right)) >= before - _SLACK


@given(counts, st.floats(0.5, 50))
def test_the_more_is_known_of_an_entry_the_less_its_group_says(entry: Counts, wrong: float) -> None:
    def by_group(own: Counts) -> float:
        return adjustment(own, own) - adjustment(own, plus(own, (wrong, 0)))

    unknown, known = by_group((0, 0)), by_group(plus((0, 200), entry))
    assert known <= unknown + _SLACK


@given(counts)
def test_a_groups_count_without_its_entrys_is_no_news_of_others(entry: Counts) -> None:
    assert adjustment(entry) == adjustment(entry, entry)  # as where the group's has expired
