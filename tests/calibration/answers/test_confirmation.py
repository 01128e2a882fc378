from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.calibration.answers import confirmation
from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.calibration.answers.confirmation import Conclusion, conclude, surprising

OUTCOMES = st.sampled_from(("same", "different", "open"))
SURE = confirmation.SURE


@pytest.mark.parametrize(
    ("first", "probability", "second", "wanted"),
    [
        ("same", 0.99, None, Conclusion(True)),
        ("open", 0.99, None, Conclusion(None)),
        ("different", 0.5, None, Conclusion(False, 1 / confirmation.FOUND)),
        ("different", None, None, Conclusion(False, 1 / confirmation.FOUND)),
        (
            "different",
            0.99,
            None,
            Conclusion(False, 1 / confirmation.FOUND),
        ),  # no second opinion was to be had
        (
            "different",
            0.99,
            "different",
            Conclusion(False, 1 / (confirmation.FOUND * confirmation.CONFIRMED)),
        ),
        ("different", 0.99, "same", Conclusion(None)),
        ("different", 0.99, "open", Conclusion(None)),
        ("different", SURE, "same", Conclusion(None)),
    ],
)
def test_a_surprising_contradiction_counts_once_it_is_confirmed(
    first: Outcome, probability: float | None, second: Outcome | None, wanted: Conclusion
) -> None:
    assert conclude(first, probability, second) == wanted


@given(OUTCOMES, st.none() | st.floats(0, 1), st.none() | OUTCOMES)
def test_a_second_opinion_never_turns_wrong_into_right(
    first: Outcome, probability: float | None, second: Outcome | None
) -> None:
    settled = conclude(first, probability, second)
    assert settled.right is not True or first == "same"
    assert settled.right is not False or first == "different"
    if not surprising(first, probability):
        assert settled == conclude(first, probability)
