"""Past decisions under another bar."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.policy.replay import (
    Past,
    Told,
    past_of,
    rate,
    rates,
    recommended,
    replay,
    serves,
)
from cacheserver.types import Bar

shares = st.floats(0, 1)
pasts = st.builds(
    Past,
    at=st.just(1.0),
    scope=st.just("s"),
    namespace=st.just("n"),
    served=st.booleans(),
    similarity=shares,
    probability=st.none() | shares,
    veto=st.sampled_from([None, "numbers"]),
    worth=st.integers(0, 10**9),
)
tolds = st.builds(
    Told,
    score=shares,
    right=st.sampled_from([True, False, None]),
    weight=st.floats(1, 100),
    worth=st.integers(0, 10**9),
)


def past(**changes: Any) -> Past:
    fields: dict[str, Any] = {
        "at": 1.0,
        "scope": "s",
        "namespace": "n",
        "served": True,
        "similarity": 0.9,
        "probability": 0.99,
        "veto": None,
        "worth": 7,
    }
    return Past(**(fields | changes))


@pytest.mark.parametrize(
    ("one", "bar", "told"),
    [
        (past(), Bar(similarity=0.9), True),
        (past(similarity=0.8999), Bar(similarity=0.9), False),
        (past(veto="numbers"), Bar(similarity=0.9), True),  # a threshold by hand asks no veto
        (past(), Bar(), False),  # exact-only
        (past(), Bar(target=0.01), True),
        (past(probability=0.9799), Bar(target=0.01), False),
        (past(probability=None), Bar(target=0.01), None),
        (past(probability=None, veto="numbers"), Bar(target=0.01), False),
        (past(probability=None, veto="numbers"), Bar(target=0.5, vetoes_off=("numbers",)), None),
        (past(probability=None, veto="dates"), Bar(target=0.5, vetoes_off=("numbers",)), False),
    ],
)
def test_what_a_bar_would_have_done(one: Past, bar: Bar, told: bool | None) -> None:
    assert serves(one, bar, 0.98) is told


@given(st.lists(pasts, max_size=30), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_stricter_bar_serves_no_more_and_the_sums_agree(
    seen: list[Past], low: float, high: float
) -> None:
    low, high = min(low, high), max(low, high)
    for bars in ((Bar(similarity=low), Bar(similarity=high)), (Bar(target=0.1),) * 2):
        loose, strict = (
            replay([(one, serves(one, bar, level)) for one in seen])
            for bar, level in zip(bars, (low, high), strict=True)
        )
        assert strict.hits_after <= loose.hits_after
        assert strict.saved_after <= loose.saved_after
        for found in (loose, strict):
            assert found.hits_after == found.hits_before + found.begun - found.ended
            assert found.decisions == len(seen)


def test_the_bar_that_was_in_force_changes_nothing() -> None:
    seen = [past(), past(served=False, similarity=0.5, probability=0.2, worth=3)]
    found = replay([(one, serves(one, Bar(similarity=0.8), 0)) for one in seen])
    assert (found.hits_before, found.hits_after, found.begun, found.ended) == (1, 1, 0, 0)
    assert (found.saved_before, found.saved_after) == (7, 7)
    assert found.expected_wrong == pytest.approx(0.01)


def test_a_record_is_read_with_its_money() -> None:
    shown = {"kind": "semantic", "similarity": 0.9, "probability": 0.99, "veto": None}
    record = {
        "at": 1.0,
        "scope": "s",
        "namespace": "n",
        "decision": shown,
        "saved_usd": "0.000000007",
        "cost_usd": "0.000000000",
    }
    assert past_of(record) == past()
    miss = {**record, "decision": {**shown, "kind": "miss"}, "cost_usd": "0.000000003"}
    assert past_of(miss) == past(served=False, worth=3)
    assert past_of({**miss, "cost_usd": None}) == past(served=False, worth=0)
    for kind, similarity in (("exact", 1.0), ("miss", None), ("bypass", None)):
        other = {"kind": kind, "similarity": similarity}
        assert past_of({**record, "decision": other}) is None


def test_a_rate_counts_the_unsure_apart_and_weighs_what_stands_for_many() -> None:
    told = [
        Told(0.9, right=True, weight=3, worth=5),
        Told(0.9, right=False, worth=2),
        Told(0.8, right=None, worth=1),
        Told(0.1, right=False, worth=100),
    ]
    found = rate(told, 0.8, asked=6)
    assert (found.hits, found.unsure, found.wrong, found.saved) == (3, 1, 1, 8)
    assert found.hit_rate == 0.5
    assert found.wrong_rate == 0.25
    assert 0 < found.wrong_low < 0.25 < found.wrong_high < 1


def test_nothing_told_is_no_certainty() -> None:
    found = rate([Told(0.9, right=None)], 0.5)
    assert (found.hits, found.wrong_low, found.wrong_high) == (1, 0, 1)
    assert found.hit_rate is None


@given(st.lists(tolds, min_size=1, max_size=40))
def test_a_curve_goes_from_the_strictest_bar_down(told: list[Told]) -> None:
    points = rates(told, asked=100)
    assert [p.bar for p in points] == sorted({p.bar for p in points}, reverse=True)
    assert [p.hits for p in points] == sorted(p.hits for p in points)
    assert [p.saved for p in points] == sorted(p.saved for p in points)
    for point in points:
        assert point == rate(told, point.bar, asked=100)
        assert 0 <= point.wrong_low <= point.wrong_high <= 1


@given(st.lists(tolds, max_size=40), st.floats(0.01, 0.5))
def test_what_is_recommended_keeps_the_target_and_nothing_looser_does(
    told: list[Told], target: float
) -> None:
    best = recommended(told, target, asked=100)
    looser = [p for p in rates(told, asked=100) if best is None or p.bar < best.bar]
    assert all(p.wrong_high > target for p in looser)
    assert best is None or best.wrong_high <= target
