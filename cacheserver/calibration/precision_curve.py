"""Precision against hit rate: what a bar would have served of labelled pairs or shadow records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from cacheserver.matching.conformal_bound import wilson

_POINTS = 50  # of a curve: more cannot be told apart on a screen
_Z = 1.96  # two-sided 95%, as in `wilson`


@dataclass(frozen=True, slots=True)
class Scored:
    """One question with a candidate: how sure, and whether its answer would have served."""

    score: float  # a probability or a cosine
    right: bool


@dataclass(frozen=True, slots=True)
class Point:
    """What a bar at `bar` serves: `hits` of all, `wrong` of them; the interval is Wilson's, 95%."""

    bar: float
    hits: int
    hit_rate: float
    wrong: int
    wrong_rate: float
    wrong_low: float
    wrong_high: float


def at(scored: Sequence[Scored], bar: float, *, asked: int) -> Point:
    """What a bar serves, inclusive. `asked` counts all questions, those without candidate too."""
    served = [one for one in scored if one.score >= bar]
    wrong = sum(not one.right for one in served)
    low, high = wilson(wrong, len(served))
    return Point(
        bar=bar,
        hits=len(served),
        hit_rate=len(served) / asked if asked else 0.0,
        wrong=wrong,
        wrong_rate=wrong / len(served) if served else 0.0,
        wrong_low=low,
        wrong_high=high,
    )


def curve(scored: Sequence[Scored], *, asked: int) -> list[Point]:
    """Points from the strictest bar to the loosest, each at a score that was seen."""
    scores = sorted({one.score for one in scored}, reverse=True)
    step = max(1, len(scores) // _POINTS)
    return [at(scored, bar, asked=asked) for bar in scores[::step]]


def recommended(scored: Sequence[Scored], target: float, *, asked: int) -> Point | None:
    """The loosest bar whose upper bound of wrong hits is at most `target`; None: there is none.

    It lies at the score of a right pair: many easy pairs pay for no score that only wrong ones had.
    """
    best: Point | None = None
    for bar in sorted({one.score for one in scored if one.right}, reverse=True):
        point = at(scored, bar, asked=asked)
        if point.wrong_high <= target:
            best = point
    return best


def safest(scored: Sequence[Scored], *, asked: int) -> Point | None:
    """The bar with the lowest upper bound of wrong hits; None where nothing was scored."""
    points = (at(scored, bar, asked=asked) for bar in {one.score for one in scored})
    return min(points, key=lambda point: (point.wrong_high, -point.bar), default=None)


def fewest(target: float) -> int:
    """The fewest hits, none of them wrong, that show that at most `target` are."""
    count = max(1, ceil(_Z * _Z * (1 / target - 1)) - 1)  # Wilson's upper bound solved for it
    while wilson(0, count)[1] > target:  # as rounded there
        count += 1
    return count
