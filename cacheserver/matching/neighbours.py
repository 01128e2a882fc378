"""The stored questions nearest to a new one, and what speaks for serving one of their answers.

"Same answer" and "different answer" are answer groups: entries whose answers say the same. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from math import exp
from typing import Any

from cacheserver.matching.profile import Profile

_NEAR = 5  # neighbours whose agreement counts most
_REACH = 15.0  # of `pull`, per unit of cosine: a neighbour 0.05 further counts half


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A stored question of the query's scope."""

    id: str
    similarity: float  # cosine, -1..1
    group: str  # of its answer; its own id where none was found
    profile: Profile
    adjustment: float = 0.0  # log odds that its own labels and its group's add


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for one candidate. Every number grows with it, but for `second`."""

    cosine: float
    margin: float  # to the nearest neighbour with a different answer; negative behind it
    share: float  # of the nearest five that have its answer, 0..1
    pull: float  # the same of all, nearer ones counting more
    second: float  # cosine of the nearest other neighbour
    prior: float  # log odds by cosine and words
    company: int = 0  # neighbours found; of few, what stands beside the candidate tells nothing
    twin: bool = False  # word for word the same question, but for the frame around it
    group: str = ""  # of the candidate's answer
    entry: str = ""  # the candidate itself
    told: float | None = None  # the probability it was decided by
    crowd: float = 0.0  # mean cosine of the nearest five: how near the question lies to any
    coverage: float | None = None  # share of its words that questions of that answer say; None: old


_FIELDS = frozenset(one.name for one in fields(Evidence))


def read_evidence(row: Mapping[str, Any]) -> Evidence:
    """Read evidence as it was stored, without the fields that only other versions have.

    Raises `TypeError` if a field is missing or `row` is no mapping.
    """
    if not isinstance(row, Mapping):
        raise TypeError("evidence is stored as an object")
    return Evidence(**{name: value for name, value in row.items() if name in _FIELDS})


def evidence_for(
    candidate: Neighbour,
    neighbours: Sequence[Neighbour],
    prior: float,
    *,
    coverage: float,
    twin: bool = False,
) -> Evidence:
    """The evidence for `candidate`, one of `neighbours`; these come nearest first."""
    best = neighbours[0].similarity
    others = [n.similarity for n in neighbours if n.group != candidate.group]
    # Nothing else in sight: what was not found is no nearer than the last that was.
    other = others[0] if others else min(neighbours[-1].similarity, candidate.similarity - 0.1)
    near = neighbours[:_NEAR]
    beside = next((n.similarity for n in neighbours if n.id != candidate.id), 0.0)
    pulls = [exp(_REACH * (n.similarity - best)) for n in neighbours]
    same = [n.group == candidate.group for n in neighbours]
    return Evidence(
        cosine=candidate.similarity,
        margin=candidate.similarity - other,
        share=sum(same[:_NEAR]) / max(len(near), _NEAR),
        pull=sum(compress(pulls, same)) / sum(pulls),
        second=beside,
        prior=prior,
        company=len(neighbours),
        twin=twin,
        group=candidate.group,
        entry=candidate.id,
        crowd=sum([n.similarity for n in near]) / len(near),
        coverage=coverage,
    )
