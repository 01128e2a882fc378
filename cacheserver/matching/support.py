"""Support: the region of a scope in which its labels, or the prior's pairs, are evidence.

A probability says how often answers served with such evidence were right. But evidence compares
neighbours with each other: five that agree look the same whether they are near or far, and whether
or not they hold the question's words. So a question about something new gets a high probability as
soon as its neighbours agree, and no model fitted to the scope's own traffic can correct that. Two
measures detect it: the mean cosine of its neighbours (`crowd`) is low, or it has words that no
question with that answer has (`coverage`). Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

from cacheserver.core.evidence import Evidence

# Without labels: no train pair of QQP to which the prior gives 0.9 or more is below 0.88.
PRIOR_COSINE = 0.85
# Without labels: one word in four may be new. Three easy streams (4,736 requests) served 81.2% with
# it, as with 1.0, and 81.4% without.
PRIOR_COVERAGE = 0.7
# Whatever the labels, a question below this is near nothing: 76 to 95% of QQP's and AskUbuntu's
# questions asked of BANKING77 or CLINC150 are, and 0.1 to 5% of these streams' own questions.
LEAST_CROWD = 0.35
# Greatest sum of both measures' shortfalls, in standard deviations, of a supported question. A
# group with labels has means of its own, shrunk towards the scope's. A sum: one bound for each
# measure served more foreign questions for the same right hits (`tune` halves of docs/quality.md).
# The value was chosen on all rows: at 1.5 CLINC150 served 40.5% instead of 43.6% over five seeds,
# which differ by ten; at 2, 18 instead of 10 of 360 near questions were served.
REACH = 1.75
_HELD = 10.0  # labels that the scope's mean counts for in a group's mean
_FIRST = 20  # sure labels needed
_MANY = 0.2  # share of the sure labels from which a caller is left out alone, not in the envelope
_NARROWEST = 0.01  # deviation; if all values are equal, rounding would decide


@dataclass(frozen=True, slots=True)
class ReferenceRange:
    """Mean and deviation of one measure over right labels."""

    mean: float
    deviation: float
    groups: Mapping[str, float] = field(default_factory=dict)  # means of answer groups

    def shortfall(self, value: float, group: str) -> float:
        """Return the standard deviations by which `value` is below the mean; 0 above it."""
        return max(0.0, self.groups.get(group, self.mean) - value) / self.deviation


@dataclass(frozen=True, slots=True)
class Support:
    """The region of a scope in which hits are supported."""

    crowd: ReferenceRange | None = None  # None: too few labels, the prior's region applies
    coverage: ReferenceRange | None = None
    least: float = LEAST_CROWD
    leave_one_out: tuple[Support, ...] = ()  # without each caller who has many of the labels

    def contains(self, evidence: Evidence) -> bool:
        """Return True if a candidate is supported. Twins always are."""
        if evidence.twin:
            return True
        return self._reaches(evidence) and all(
            rest.contains(evidence) for rest in self.leave_one_out
        )

    def _reaches(self, evidence: Evidence) -> bool:
        short = 0.0
        if self.crowd is None:
            if evidence.cosine < PRIOR_COSINE:
                return False
        elif evidence.crowd < self.least:
            return False
        else:
            short += self.crowd.shortfall(evidence.crowd, evidence.group)
        if evidence.coverage is None:  # a label of an older version: only the crowd counts
            pass
        elif self.coverage is None:
            if evidence.coverage < PRIOR_COVERAGE:
                return False
        else:
            short += self.coverage.shortfall(evidence.coverage, evidence.group)
        return short <= REACH


def intersection(one: Support, other: Support) -> Support:
    """Return the support within both; both were learned from the same labels."""
    return replace(one, leave_one_out=(*one.leave_one_out, other))


def learn_support(right: Sequence[tuple[Evidence, float, str]], floor: float) -> Support:
    """Learn the support from right labels: (evidence, probability, caller).

    Labels with a probability of at least `floor` ("sure") set the scope's means, all labels their
    group's. No single caller may widen the region: it is also required without that caller's
    labels, if enough others remain. Callers with few labels are covered together by one envelope.
    """
    sure = Counter(caller for _, p, caller in right if p >= floor)
    many = {caller for caller, count in sure.items() if count >= _MANY * sure.total()}
    rests = [
        _region([one for one in right if one[2] != caller], floor, {caller})
        for caller in many
        if sure.total() - sure[caller] >= _FIRST
    ]
    return replace(_region(right, floor, many), leave_one_out=tuple(rests))


def _region(
    right: Sequence[tuple[Evidence, float, str]], floor: float, apart: Container[str]
) -> Support:
    """Return the support by these labels and without any one caller who is not in `apart`."""
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


def _usual(
    right: Iterable[tuple[float, str, bool, str]], apart: Container[str]
) -> ReferenceRange | None:
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
    candidates = [
        every,
        *[every.without(own) for own in by_caller.values() if own.count < every.count],
    ]
    mean, deviation = (
        max(sums.mean for sums in candidates),
        min(sums.deviation for sums in candidates),
    )
    means = {group: sums.held(mean) for group, sums in groups.items()}
    for (group, _), own in of_caller.items():
        means[group] = max(means[group], groups[group].without(own).held(mean))
    return ReferenceRange(mean, max(_NARROWEST, deviation), means)


@dataclass(slots=True)
class _Sums:
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
        """Return the mean, shrunk towards `mean`."""
        return (self.total + _HELD * mean) / (self.count + _HELD)
