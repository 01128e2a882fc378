"""When a verification is expected to pay, and what is learned of a tenant's pace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.rules.verification import Mode
from cacheserver.verification.pace import Pace, Paces
from cacheserver.verification.worth import Stakes, way

STAKES = Stakes(price=100, saving=1_000, call_s=0.5, answer_s=5.0, limit_s=2.0, repeats=0.5)


@pytest.mark.parametrize(
    ("mode", "chance", "changed", "expected"),
    [
        ("auto", 0.5, {}, "inline"),
        ("inline", 0.5, {}, "inline"),
        ("background", 0.5, {}, "background"),
        ("off", 1.0, {}, None),
        ("auto", 0.1, {}, None),  # it earns what it costs: that is no gain
        ("auto", 0.11, {}, "inline"),
        ("auto", 0.5, {"saving": 150}, None),
        ("auto", 0.5, {"answer_s": 0.9}, "background"),  # a no costs more time than a yes saves
        ("auto", 0.5, {"answer_s": 1.0}, "inline"),
        ("inline", 0.5, {"answer_s": 0.9}, None),
        ("inline", 0.5, {"limit_s": 0.4}, None),  # it would be cut off
        ("auto", 0.5, {"answer_s": 0.9, "repeats": 0.0}, None),
        ("background", 0.5, {"repeats": 0.2}, None),
    ],
)
def test_a_call_is_made_where_it_pays_in_money_and_time(
    mode: Mode, chance: float, changed: dict[str, float], expected: str | None
) -> None:
    assert way(mode, chance, replace(STAKES, **changed)) == expected  # type: ignore[arg-type]


@given(st.floats(0, 1), st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 10))
def test_inline_never_loses_money_or_time_on_average(
    chance: float, price: int, saving: int, answer_s: float
) -> None:
    if way("auto", chance, replace(STAKES, price=price, saving=saving, answer_s=answer_s)) == (
        "inline"
    ):
        assert chance * saving > price
        assert chance * answer_s >= STAKES.call_s - 1e-9


def test_a_pace_follows_what_is_measured() -> None:
    pace = Pace()
    for _ in range(200):
        pace.note_call(0.2)
        pace.note_answer("m", 9.0)
        pace.note_request(free=True)
    assert pace.call_s == pytest.approx(0.2, abs=0.01)
    assert pace.answer("m") == pytest.approx(9.0, abs=0.01)
    assert pace.answer("another") == 3.0
    assert pace.repeats == pytest.approx(20, rel=0.01)
    pace.note_untried()
    assert pace.call_s == pytest.approx(0.2, abs=0.01)  # only what is slow is tried again


def test_paces_of_many_tenants_and_models_are_bounded() -> None:
    paces = Paces()
    for number in range(1_500):
        paces.of(f"t{number}").note_answer(f"m{number}", 1.0)
        paces.of("one").note_answer(f"m{number}", 1.0)
    assert len(paces._paces) <= 1_000
    assert len(paces.of("one").answer_s) <= 100
