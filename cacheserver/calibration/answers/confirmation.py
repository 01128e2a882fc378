"""A surprising contradiction is asked twice before it counts. Pure.

Comparing answers errs: one in twenty of the same was called different. Where the decision was sure
that the answer serves, most of what is called different is such an error, and a few of them close a
scope whose target is 1%. So a second opinion is had: of a judge, or of one more fresh answer.

Rule: a second opinion that contradicts as well confirms. Where none could be had the first counts:
doubt is wrong. Where it does not contradict, the two teach nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.calibration.answers.comparison import Outcome

SURE = 0.9  # a decision's probability from which on a contradiction surprises
# What is called different is a part of what is: of a share d found, each stands for 1 / d, so that
# 100 wrong ones of which 100 d are found count 100 d x 1 / d = 100. Of pairs of prose whose answers
# serve one question each, 64 of 91 were called different, and of 26 that were, 25 again by another
# wording (`scripts/evaluate --parts prose`); both rounded down. Of the same 53% are found, which is
# not made up for: that errs on the safe side.
FOUND = 0.67
CONFIRMED = 0.9


@dataclass(frozen=True, slots=True)
class Settled:
    """A label for a candidate; none where `right` is None."""

    right: bool | None
    weight: float = 1.0  # labels that it stands for


def surprising(first: Outcome, probability: float | None) -> bool:
    """Return True if a comparison's outcome needs a second opinion."""
    return first == "different" and probability is not None and probability >= SURE


def settle(first: Outcome, probability: float | None, second: Outcome | None = None) -> Settled:
    """Settle what a comparison teaches; `second` is None where no second opinion was had."""
    if first == "open":
        return Settled(None)
    if first == "same":
        return Settled(True)
    if second is None or not surprising(first, probability):
        return Settled(False, 1 / FOUND)
    return Settled(False, 1 / (FOUND * CONFIRMED)) if second == "different" else Settled(None)
