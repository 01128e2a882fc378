"""How sure is sure enough: the lowest probability at which an error target is still kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from cacheserver.policy import calibrate as C
from typing import Literal, TypeAlias

Basis: TypeAlias = Literal["prior", "labels", "closed"]


@dataclass(frozen=True, slots=True)
class Scored:
    probability: float
    right: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Bar:
    target: float
    level: float
    basis: Basis
    upper: float = 1.0
    labels: int = 0


Z = 1.0
SHRINK = 3.0
PRIOR_K = 0.25
STEPS = 60
ZE = 0.0
LEAST = 100


def bar_for(state: C.Calibration, target: float) -> Bar:
    ranked = sorted(
        ((C.probability(state, l.evidence), l) for l in state.labels), key=lambda x: -x[0]
    )
    n = len(ranked)
    if n < LEAST:
        return Bar(target, 1 - target * PRIOR_K, "prior")
    total = wrong = told = sq = 0.0
    along = [0.0] * len(state.weights)
    best = None
    every = max(1, n // STEPS)
    for at, (p, one) in enumerate(ranked):
        w = one.weight
        total += w
        sq += w * w
        told += w * (1 - p)
        wrong += w * (not one.right)
        f = w * p * (1 - p)
        for i, x in enumerate(C.terms(one.evidence)):
            along[i] += f * x
        if (at + 1) % every or at < 20:
            continue
        a = SHRINK * sq / total
        ratio = (wrong + a) / (told + a)
        sd = sqrt(C.variance(state, along))
        upper = (ratio * told + Z * sd + ZE * sqrt(told * sq / total)) / total
        if upper <= target:
            best = Bar(target, p, "labels", upper, at + 1)
    return best or Bar(target, 1 - target * PRIOR_K, "prior")


def audit_share(state: C.Calibration, target: float) -> float:
    """The share of hits to ask again: high in a new scope, down to 1% once it has told enough."""
    told = sum(label.source == "audit" for label in state.labels)
    enough = 3 / target  # clean audits that bound an error of `target` at 95% (rule of three)
    return max(0.01, 0.2 * (1 - told / enough))
