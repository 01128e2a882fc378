from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.calibration.answers.comparison import Outcome, majority
from scripts.evaluation.noise import Noise, Rates

RATES = Rates(same_different=0.05, same_open=0.15, different_same=0.02, different_open=0.30)
TRIES = 20_000


def share(noise: Noise, truth: Outcome, told: Outcome) -> float:
    drawn = [noise.perturbed(truth, f"f{n}", f"s{n}") for n in range(TRIES)]
    return drawn.count(told) / TRIES


@pytest.mark.parametrize("by", ["pair", "answer"])
@pytest.mark.parametrize(
    ("truth", "told", "rate"),
    [
        ("same", "different", 0.05),
        ("same", "open", 0.15),
        ("same", "same", 0.80),
        ("different", "same", 0.02),
        ("different", "open", 0.30),
        ("different", "different", 0.68),
        ("open", "open", 1.0),
    ],
)
def test_outcomes_come_out_otherwise_at_the_given_rates(
    by: str, truth: Outcome, told: Outcome, rate: float
) -> None:
    noise = Noise(RATES, 1, "pair" if by == "pair" else "answer")
    assert share(noise, truth, told) == pytest.approx(rate, abs=0.01)


def test_without_rates_nothing_is_changed() -> None:
    assert share(Noise(Rates(), 1), "same", "same") == 1


@given(st.text(), st.text(), st.text(), st.integers(0, 3))
def test_by_answer_all_comparisons_of_a_fresh_answer_err_together(
    fresh: str, stored: str, other: str, asking: int
) -> None:
    noise = Noise(RATES, 1, "answer")
    one = noise.perturbed("same", fresh, stored, asking=asking)
    assert one == noise.perturbed("same", fresh, other, asking=asking)


@pytest.mark.parametrize("by", ["pair", "answer"])
def test_a_second_asking_draws_anew_and_the_same_asking_never(by: str) -> None:
    noise = Noise(RATES, 1, "pair" if by == "pair" else "answer")
    first = [noise.perturbed("same", f"f{n}", "s") for n in range(TRIES)]
    assert first == [noise.perturbed("same", f"f{n}", "s") for n in range(TRIES)]
    again = [noise.perturbed("same", f"f{n}", "s", asking=1) for n in range(TRIES)]
    both = sum(a == b == "different" for a, b in zip(first, again, strict=True))
    assert both / TRIES == pytest.approx(0.05**2, abs=0.002)


def test_a_group_of_three_errs_a_tenth_as_often_as_one() -> None:
    noise = Noise(RATES, 1)
    told = [
        majority([noise.perturbed("same", f"f{n}", f"s{m}") for m in range(3)])
        for n in range(TRIES)
    ]
    assert told.count("different") / TRIES < 0.007
    assert told.count("open") / TRIES < 0.06
