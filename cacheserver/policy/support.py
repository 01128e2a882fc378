"""Support: does a question lie where the labels of its scope, or the prior's pairs, came from?

A probability says how often answers served under such evidence were right, and evidence compares
neighbours with each other: five that agree look the same whether they lie near or far. So a
question about something new gets a high probability as soon as its neighbours agree, and nothing
fitted on the scope's own traffic can know better. What tells it apart is that it lies far from all
of them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

from cacheserver.policy.neighbours import Evidence

# Without labels: the pairs that the prior was fitted on and is sure of have a cosine above this.
PRIOR_COSINE = 0.85
# Whatever labels say, below this a question lies near nothing: so do 76 to 95% of QQP's and
# AskUbuntu's questions asked of BANKING77 or CLINC150, and 0.1 to 5% of these streams' own.
LEAST_CROWD = 0.35
# Standard deviations below the mean crowd of the right labels, down to which a question is
# supported; a group with labels of its own has a mean of its own, held towards that of all.
# On halves of BANKING77 and CLINC150 0.7 and 10 lose 2 to 3% of the right hits and serve 0.12 to
# 0.16% of the foreign questions above; 1.0 serves 0.2%, no test of the group loses 5% for as much.
_BELOW = 0.7
_HELD = 10.0  # labels' worth of the scope's mean in a group's
_FIRST = 20  # sure labels; fewer tell nothing


@dataclass(frozen=True, slots=True)
class Support:
    """The region of a scope in which hits are supported."""

    least: float | None = None  # crowd; None: no labels tell, the prior's own region holds
    groups: Mapping[str, float] = field(default_factory=dict)  # crowd, where labels tell another

    def holds(self, evidence: Evidence) -> bool:
        """Whether a candidate may be served; a twin asks the very same, wherever it lies."""
        if evidence.twin:
            return True
        if self.least is None:
            return evidence.cosine >= PRIOR_COSINE
        return evidence.crowd >= self.groups.get(evidence.group, self.least)


def learned(right: Sequence[tuple[Evidence, float]], floor: float) -> Support:
    """The support shown by labels that were right: their evidence and probability.

    Sure labels, of at least `floor`, say how near right hits lie; all say it of their group.
    """
    sure = [evidence.crowd for evidence, probability in right if probability >= floor]
    if len(sure) < _FIRST:
        return Support()
    mean = sum(sure) / len(sure)
    reach = _BELOW * sqrt(sum((crowd - mean) ** 2 for crowd in sure) / len(sure))
    sums: dict[str, tuple[float, int]] = {}
    for evidence, _ in right:
        total, count = sums.get(evidence.group, (0.0, 0))
        sums[evidence.group] = (total + evidence.crowd, count + 1)
    return Support(
        max(LEAST_CROWD, mean - reach),
        {
            group: max(LEAST_CROWD, (total + _HELD * mean) / (count + _HELD) - reach)
            for group, (total, count) in sums.items()
        },
    )
