"""Explanations of decisions: one reason in short, wherever a decision is shown."""

from __future__ import annotations

from typing import Any

import pytest

from cacheserver.cache import explanation
from cacheserver.commands import decisions


def candidate(entry: str, *, veto: str | None, probability: float | None) -> list[Any]:
    values = [entry, "Is it open?", 0.9, 0.0, probability, veto, True, None, 5, None, False]
    assert len(values) == len(explanation._LISTED) + 1
    return values


NEAREST = candidate("nearest", veto="tense", probability=None)
LIKELIEST = candidate("likeliest", veto=None, probability=0.2)


@pytest.mark.parametrize(
    ("candidates", "reason", "why"),
    [
        ([NEAREST, LIKELIEST], "improbable", "improbable"),  # the likeliest one decided
        ([NEAREST], "vetoed", "vetoed: tense"),
        ([LIKELIEST], "below-bar", "below-bar"),
        ([LIKELIEST], "similar", "similar"),
    ],
)
def test_a_veto_is_the_reason_only_where_it_decided(
    candidates: list[Any], reason: str, why: str
) -> None:
    shown = explanation.shown([0, candidates, 0.9, 0.01, "prior"], "miss", reason)
    assert (shown["why"], shown["reason"]) == (why, reason)
    assert shown["veto"] == candidates[0][5]
    of_caller = explanation.for_caller(shown, asked=None)
    assert of_caller["why"] == decisions._why(of_caller) == why


def test_a_decision_without_candidates_and_one_of_an_earlier_version_have_a_reason() -> None:
    shown = explanation.shown([None, [], None, None, "prior"], "miss", "empty")
    assert shown["why"] == "empty"
    assert decisions._why({"reason": "improbable", "veto": "tense"}) == "improbable"
