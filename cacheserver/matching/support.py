"""Support: does a question lie where the labels of its scope, or the prior's pairs, came from?

A probability says how often answers served under such evidence were right, and evidence compares
neighbours with each other: five that agree look the same whether they lie near or far, and whether
they say the question's words or others. So a question about something new gets a high probability
as soon as its neighbours agree, and nothing fitted on the scope's own traffic can know better. Two
measures tell it apart: it lies far from all of them (the crowd), or it has words that none with
that answer has (the coverage). Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

from cacheserver.matching.neighbours import Evidence

# Without labels: of the train pairs of QQP that the prior gives 0.9 or more none is below 0.88.
PRIOR_COSINE = 0.85
# One word in four may be new there. Three easy streams (4,736 requests) served 81.2% with it, as
# with 1.0, and 81.4% without.
PRIOR_COVERAGE = 0.7
# Whatever labels say, below this a question lies near nothing: so do 76 to 95% of QQP's and
# AskUbuntu's questions asked of BANKING77 or CLINC150, and 0.1 to 5% of these streams' own.
LEAST_CROWD = 0.35
# Standard deviations below the means of right labels, of both measures together, down to which a
# question is supported; a group with labels of its own has means of its own, held towards those of
# all. Together: on the halves that docs/quality.md calls `tune` each within a bound of its own
# served more strangers for the same right hits. The value was chosen on all rows:
# at 1.5 CLINC150 served 40.5% instead of 43.6% over five seeds, which differ by ten; at 2, 18
# instead of 10 of 360 near questions were served.
REACH = 1.75
_HELD = 10.0  # labels' worth of the scope's mean in a group's
_FIRST = 20  # sure labels; fewer tell nothing
_MANY = 0.2  # of the sure labels: who has so many is left out alone, not in an envelope of all
_NARROWEST = 0.01  # deviation; all alike, rounding would decide


@dataclass(frozen=True, slots=True)
class Usual:
    """Where one measure lies for right labels."""

    mean: float
    deviation: float
    groups: Mapping[str, float] = field(default_factory=dict)  # means of answer groups

    def shortfall(self, value: float, group: str) -> float:
        """Standard deviations below the mean; 0 above it."""
        return max(0.0, self.groups.get(group, self.mean) - value) / self.deviation


@dataclass(frozen=True, slots=True)
class Support:
    """The region of a scope in which hits are supported."""

    crowd: Usual | None = None  # None: no labels tell, the prior's own region holds
    coverage: Usual | None = None
    least: float = LEAST_CROWD
    rests: tuple[Support, ...] = ()  # without each caller who has many of the labels

    def holds(self, evidence: Evidence) -> bool:
        """Return True if a candidate is supported; a twin asks the very same, wherever it lies."""
        if evidence.twin:
            return True
        return self._reaches(evidence) and all(rest.holds(evidence) for rest in self.rests)

    def _reaches(self, evidence: Evidence) -> bool:
        short = 0.0
        if self.crowd is None:
            if evidence.cosine < PRIOR_COSINE:
                return False
        elif evidence.crowd < self.least:
            return False
        else:
            short += self.crowd.shortfall(evidence.crowd, evidence.group)
        if evidence.coverage is None:  # a label of an older version: the crowd alone tells
            pass
        elif self.coverage is None:
            if evidence.coverage < PRIOR_COVERAGE:
                return False
        else:
            short += self.coverage.shortfall(evidence.coverage, evidence.group)
        return short <= REACH


def narrower(one: Support, other: Support) -> Support:
    """The region within both, of two that were learned of the same labels."""
    return replace(one, rests=(*one.rests, other))


def learned(right: Sequence[tuple[Evidence, float, str]], floor: float) -> Support:
    """The support shown by labels that were right: their evidence, probability and caller.

    Sure labels, of at least `floor`, say where right hits lie; all say it of their group. What one
    caller's labels alone would widen is not in it: it lies within what is left without any one of
    them, where others tell enough. Without a caller of few labels little changes, and an envelope
    stands for all of these regions.
    """
    sure = Counter(caller for _, p, caller in right if p >= floor)
    many = {caller for caller, count in sure.items() if count >= _MANY * sure.total()}
    rests = [
        _region([one for one in right if one[2] != caller], floor, {caller})
        for caller in many
        if sure.total() - sure[caller] >= _FIRST
    ]
    return replace(_region(right, floor, many), rests=tuple(rests))


def _region(
    right: Sequence[tuple[Evidence, float, str]], floor: float, apart: Container[str]
) -> Support:
    """The support by these labels, and without any one caller who is not in `apart`."""
    return Support(
        crowd=_usual([(e.crowd, e.group, p >= floor, caller) for e, p, caller in right], apart),
        coverage=_usual(
            [
                (e.coverage, e.group, p >= floor, caller)
                for e, p, caller in right
                if e.coverage is not None
            ],
            apart,
        ),
    )


def _usual(right: Iterable[tuple[float, str, bool, str]], apart: Container[str]) -> Usual | None:
    every, by_caller = _Sums(), defaultdict[str, _Sums](_Sums)
    groups = defaultdict[str, _Sums](_Sums)
    of_caller = defaultdict[tuple[str, str], _Sums](_Sums)
    for value, group, sure, caller in right:
        groups[group].add(value)
        if sure:
            every.add(value)
        if caller not in apart:
            of_caller[group, caller].add(value)
            if sure:
                by_caller[caller].add(value)
    if every.count < _FIRST:
        return None
    told = [every, *[every.without(own) for own in by_caller.values() if own.count < every.count]]
    mean, deviation = max(sums.mean for sums in told), min(sums.deviation for sums in told)
    means = {group: sums.held(mean) for group, sums in groups.items()}
    for (group, _), own in of_caller.items():
        means[group] = max(means[group], groups[group].without(own).held(mean))
    return Usual(mean, max(_NARROWEST, deviation), means)


@dataclass(slots=True)
class _Sums:
    """Some values, summed."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value

    def without(self, other: _Sums) -> _Sums:
        return _Sums(
            self.count - other.count, self.total - other.total, self.squares - other.squares
        )

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def deviation(self) -> float:
        return sqrt(max(0.0, self.squares / self.count - self.mean**2))

    def held(self, mean: float) -> float:
        """The mean, held towards another."""
        return (self.total + _HELD * mean) / (self.count + _HELD)
