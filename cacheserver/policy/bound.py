"""How sure is sure enough: the lowest probability at which an error target is still kept.

The wrong share among what a bar would serve is told by the scope's own logistic, pooled over all
labels, corrected by what was seen against what was told, and widened by how well the weights are
known. A label that had one chance in twenty of being taken stands for twenty. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal, TypeAlias

from cacheserver.policy.calibrate import Calibration, Label, left_out, terms, variance

Basis: TypeAlias = Literal["prior", "labels", "closed"]

CLOSED = 2.0  # a level that no probability reaches
LEAST = 100  # labels before a scope's own count; below them the prior decides
FLOOR = 0.01  # least share of hits that is audited
CEILING = 0.3  # and most, while nothing is known
# Where no bar is shown to keep the target, every single hit must keep it by itself: a quarter of
# it by the prior, whose held-out reliability is no better than that; all of it by a fitted scope.
CAUTION = 0.25
# Standard errors of the weights, and wrong labels' worth of doubt in "seen against told" (the
# "+1" of a conformal bound is 1). On BANKING77 0.75 for both serves 44.0% at 0.80% wrong; 0.5
# served 47.5% at 1.03% (docs/quality.md): trust first.
_SIGMA = 0.75
_DOUBT = 0.75
_STEPS = 60  # bars tried
_FIRST = 20  # labels; fewer show nothing
_RECENT = 300  # labels that the drift monitor looks at
_ALARM = 2.33  # one-sided 99%


@dataclass(frozen=True, slots=True)
class Bar:
    """What a candidate's probability must reach, inclusive."""

    target: float  # greatest wrong share among semantic hits, 0..0.5
    level: float
    basis: Basis
    upper: float  # bound on the wrong share at this level; 1 where none is shown
    labels: int  # that show it
    audits: int  # labels of hits among all


@dataclass(frozen=True, slots=True)
class Point:
    """What one level would have done on the window."""

    level: float
    served: float  # share of the look-ups with a candidate
    upper: float  # bound on the wrong share
    labels: int


def bar_for(state: Calibration, target: float, previous: Bar | None = None) -> Bar:
    """The bar at which the most is served with `target` kept. Raises nothing.

    It rises at once and falls half of the way from `previous`: bars set by luck are the low ones,
    and what they let through is wrong more often than was shown.
    """
    audits = sum(label.served for label in state.labels)
    shown: Point | None = None
    if len(state.labels) >= LEAST:
        if broken(state.labels, target):
            return Bar(target, CLOSED, "closed", 1.0, len(state.labels), audits)
        shown = next((p for p in reversed(curve(state)) if p.upper <= target), None)
    if shown is not None:
        level = shown.level
        if previous is not None and previous.target == target and level < previous.level <= 1:
            level = (level + previous.level) / 2
        return Bar(target, level, "labels", shown.upper, shown.labels, audits)
    caution = CAUTION if len(state.labels) < LEAST else 1.0
    return Bar(target, 1 - caution * target, "prior", 1.0, len(state.labels), audits)


def curve(state: Calibration) -> tuple[Point, ...]:
    """Levels from the strictest down: the trade between hits and errors."""
    told_of = list(zip(left_out(state), state.labels, strict=True))
    told_of.sort(key=lambda pair: -pair[0])
    whole = sum(label.weight for label in state.labels)
    every = max(1, len(told_of) // _STEPS)
    along = [0.0] * len(state.weights)
    points: list[Point] = []
    since = 0
    total = told = halves = half_squares = half_told = wrong = 0.0
    for at, (p, label) in enumerate(told_of, 1):
        weight = label.weight
        total += weight
        told += weight * (1 - p)
        half = sqrt(weight)
        halves += half
        half_squares += weight
        half_told += half * (1 - p)
        wrong += 0.0 if label.right else half
        steep = weight * p * (1 - p)
        for i, x in enumerate(terms(label.evidence)):
            along[i] += steep * x
        since += 1
        tied = at < len(told_of) and told_of[at][0] == p  # a level takes all of its own
        if at >= _FIRST and since >= every and not tied:
            since = 0
            doubt = _DOUBT * half_squares / halves
            corrected = told * (wrong + doubt) / (half_told + doubt)
            upper = (corrected + _SIGMA * sqrt(variance(state, along))) / total
            points.append(Point(p, total / whole, min(1.0, upper), at))
    return tuple(points)


def broken(labels: Sequence[Label], target: float) -> bool:
    """Whether recent hits were wrong more often than `target` beyond chance.

    A closed scope only misses, and a miss is a label: the hits leave the recent labels and the
    scope opens again, with a bar made of what was learned.
    """
    served = [label for label in labels[-_RECENT:] if label.served]
    if not served:
        return False
    total = sum(label.weight for label in served)
    effective = total * total / sum(label.weight**2 for label in served)
    wrong = [label for label in served if not label.right]
    if len(wrong) < 2:  # one may be chance, whatever it stands for
        return False
    share = sum(label.weight for label in wrong) / total
    return wilson(share * effective, effective, _ALARM)[0] > target


def audit_share(bar: Bar, probability: float) -> float:
    """Chance with which a hit of this probability is asked again, in the background.

    From `CEILING` down to `FLOOR` as the window fills with as many audits as the target needs
    (one in 1 / target). Hits just over the bar are audited most: that is where errors are.
    """
    needed = 1 / bar.target
    share = max(FLOOR, CEILING * max(0.0, 1 - bar.audits / needed))
    if bar.level < 1:
        share *= sqrt(min(1.0, (1 - probability) / (1 - bar.level)))
    return max(FLOOR, share)


def wilson(wrong: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share; (0, 1) where nothing was counted."""
    if count <= 0:
        return 0.0, 1.0
    share, room = wrong / count, z * z / count
    middle = share + room / 2
    reach = sqrt(share * (1 - share) * room + room * room / 4)
    return max(0.0, (middle - reach) / (1 + room)), min(1.0, (middle + reach) / (1 + room))
