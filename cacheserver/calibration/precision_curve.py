"""Precision against hit rate of a bar, over labelled pairs or shadow records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from cacheserver.matching.conformal_bound import wilson

_POINTS = 50  # of a curve: more cannot be told apart on a screen
_Z = 1.96  # two-sided 95%, as in `wilson`


@dataclass(frozen=True, slots=True)
class Scored:
    """Score of one question with a candidate, and whether the candidate's answer served."""

    score: float  # a probability or a cosine
    right: bool


@dataclass(frozen=True, slots=True)
class Point:
    """Outcome at one bar: `hits` of all, `wrong` of them, with Wilson's 95% interval."""

    bar: float
    hits: int
    hit_rate: float
    wrong: int
    wrong_rate: float
    wrong_low: float
    wrong_high: float


def at(scored: Sequence[Scored], bar: float, *, total: int) -> Point:
    """Return the outcome at a bar, inclusive. `total` counts all questions."""
    served = [one for one in scored if one.score >= bar]
    wrong = sum(not one.right for one in served)
    low, high = wilson(wrong, len(served))
    return Point(
        bar=bar,
        hits=len(served),
        hit_rate=len(served) / total if total else 0.0,
        wrong=wrong,
        wrong_rate=wrong / len(served) if served else 0.0,
        wrong_low=low,
        wrong_high=high,
    )


def curve(scored: Sequence[Scored], *, total: int) -> list[Point]:
    """Return points from the strictest bar to the loosest, each at a score that occurs."""
    scores = sorted({one.score for one in scored}, reverse=True)
    step = max(1, len(scores) // _POINTS)
    return [at(scored, bar, total=total) for bar in scores[::step]]


def recommended(scored: Sequence[Scored], target: float, *, total: int) -> Point | None:
    """Return the loosest bar whose upper bound of wrong hits is at most `target`, or None.

    It is at the score of a right pair: easy pairs must not pay for a score that only wrong ones
    had.
    """
    best: Point | None = None
    for bar in sorted({one.score for one in scored if one.right}, reverse=True):
        point = at(scored, bar, total=total)
        if point.wrong_high <= target:
            best = point
    return best


def safest(scored: Sequence[Scored], *, total: int) -> Point | None:
    """Return the bar with the lowest upper bound of wrong hits; None if nothing was scored."""
    points = (at(scored, bar, total=total) for bar in {one.score for one in scored})
    return min(points, key=lambda point: (point.wrong_high, -point.bar), default=None)


def fewest(target: float) -> int:
    """Return the least number of hits, none of them wrong, that shows at most `target` wrong."""
    count = max(1, ceil(_Z * _Z * (1 / target - 1)) - 1)  # Wilson's upper bound solved for it
    while wilson(0, count)[1] > target:  # as rounded there
        count += 1
    return count
