"""Nearest stored questions, and the evidence for serving the answer of one of them.

"Same answer" means the same answer group: entries whose answers say the same. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from math import exp

from cacheserver.core.evidence import Evidence
from cacheserver.matching.profile import Profile

_NEAR = 5  # neighbours in `share` and `crowd`
_REACH = 15.0  # decay of `pull` per unit of cosine: a neighbour 0.05 further counts half


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored question of the query's scope."""

    id: str
    similarity: float  # cosine, -1..1
    group: str  # of its answer; its own id if no group was found
    profile: Profile
    adjustment: float = 0.0  # log-odds added by its own labels and its group's
    preferred: bool = False  # of those that pass, it goes first: an operator vouches for it


def evidence_for(
    candidate: Neighbour,
    neighbours: Sequence[Neighbour],
    prior: float,
    *,
    coverage: float,
    twin: bool = False,
) -> Evidence:
    """Return the evidence for `candidate`, one of `neighbours` (nearest first)."""
    best = neighbours[0].similarity
    others = [n.similarity for n in neighbours if n.group != candidate.group]
    # No other answer was found: one outside the result is no nearer than the last in it.
    other = others[0] if others else min(neighbours[-1].similarity, candidate.similarity - 0.1)
    near = neighbours[:_NEAR]
    second = next((n.similarity for n in neighbours if n.id != candidate.id), 0.0)
    pulls = [exp(_REACH * (n.similarity - best)) for n in neighbours]
    same = [n.group == candidate.group for n in neighbours]
    return Evidence(
        cosine=candidate.similarity,
        margin=candidate.similarity - other,
        share=sum(same[:_NEAR]) / max(len(near), _NEAR),
        pull=sum(compress(pulls, same)) / sum(pulls),
        second=second,
        prior=prior,
        company=len(neighbours),
        twin=twin,
        group=candidate.group,
        entry=candidate.id,
        crowd=sum([n.similarity for n in near]) / len(near),
        coverage=coverage,
    )
