"""Support: does a question lie where the labels of its scope, or the prior's pairs, came from?

A probability says how often answers served under such evidence were right, and evidence compares
neighbours with each other: five that agree look the same whether they lie near or far. So a
question about something new gets a high probability as soon as its neighbours agree, and nothing
fitted on the scope's own traffic can know better. What tells it apart is that it lies far from all
of them. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

from cacheserver.policy.neighbours import Evidence

# Without labels: of the train pairs of QQP that the prior gives 0.9 or more none is below 0.88.
PRIOR_COSINE = 0.85
# Whatever labels say, below this a question lies near nothing: so do 76 to 95% of QQP's and
# AskUbuntu's questions asked of BANKING77 or CLINC150, and 0.1 to 5% of these streams' own.
LEAST_CROWD = 0.35
# Standard deviations below the mean crowd of the right labels, down to which a question is
# supported; a group with labels of its own has a mean of its own, held towards that of all.
# A choice between right hits lost and foreign questions served, made on the halves that
# docs/quality.md calls `tune`; `scripts/evaluate --parts shift streams` prints both.
_BELOW = 0.7
_HELD = 10.0  # labels' worth of the scope's mean in a group's
_FIRST = 20  # sure labels; fewer tell nothing


@dataclass(frozen=True, slots=True)
class Support:
    """The region of a scope in which hits are supported."""

    least: float | None = None  # crowd; None: no labels tell, the prior's own region holds
    groups: Mapping[str, float] = field(default_factory=dict)  # crowd, where labels tell another

    def holds(self, evidence: Evidence) -> bool:
        """Return True if a candidate is supported; a twin asks the very same, wherever it lies."""
        if evidence.twin:
            return True
        if self.least is None:
            return evidence.cosine >= PRIOR_COSINE
        return evidence.crowd >= self.groups.get(evidence.group, self.least)


def learned(right: Sequence[tuple[Evidence, float, str]], floor: float) -> Support:
    """The support shown by labels that were right: their evidence, probability and caller.

    Sure labels, of at least `floor`, say how near right hits lie; all say it of their group. What
    one caller's labels alone would widen is not in it: it is the narrowest that is left without
    any one of them, where others tell enough.
    """
    every, by_caller = _Crowds(), defaultdict[str, _Crowds](_Crowds)
    for evidence, probability, caller in right:
        if probability >= floor:
            every.add(evidence.crowd)
            by_caller[caller].add(evidence.crowd)
    if every.count < _FIRST:
        return Support()
    rests = {caller: every.without(own) for caller, own in by_caller.items()}
    rests = {caller: rest for caller, rest in rests.items() if rest.count >= _FIRST}
    told = max([every, *rests.values()], key=lambda crowds: crowds.mean - crowds.reach)
    groups = defaultdict[str, _Crowds](_Crowds)
    of_caller = defaultdict[tuple[str, str], _Crowds](_Crowds)
    for evidence, _, caller in right:
        groups[evidence.group].add(evidence.crowd)
        of_caller[evidence.group, caller].add(evidence.crowd)
    least = {group: _held(crowds, told) for group, crowds in groups.items()}
    for (group, _), own in of_caller.items():
        if rests:  # beside others
            least[group] = max(least[group], _held(groups[group].without(own), told))
    return Support(max(LEAST_CROWD, told.mean - told.reach), least)


@dataclass(slots=True)
class _Crowds:
    """Crowds of some labels, summed."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, crowd: float) -> None:
        self.count += 1
        self.total += crowd
        self.squares += crowd * crowd

    def without(self, other: _Crowds) -> _Crowds:
        return _Crowds(
            self.count - other.count, self.total - other.total, self.squares - other.squares
        )

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def reach(self) -> float:
        return _BELOW * sqrt(max(0.0, self.squares / self.count - self.mean**2))


def _held(group: _Crowds, told: _Crowds) -> float:
    """The least crowd of a group, whose mean is held towards that of all."""
    mean = (group.total + _HELD * told.mean) / (group.count + _HELD)
    return max(LEAST_CROWD, mean - told.reach)
