"""Pairs through the serving decision: one question stored, the other asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cacheserver.languages.rules import languages
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.decision import judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.prior import MINILM, Prior
from scripts.evaluation.vectors import Embeddings
from scripts.pairs import evaluate
from scripts.pairs.types import Pair

KEPT = 0.6  # share of the duplicates served, at which served traps are counted
_CURVE = tuple(n / 20 for n in range(1, 21))

Floats: TypeAlias = NDArray[np.float64]
Curve: TypeAlias = Sequence[tuple[float, float]]  # (duplicates kept, traps served)


@dataclass(frozen=True, slots=True)
class Figures:
    """Results of one way to decide on one set of pairs."""

    name: str
    way: str
    scores: evaluate.Figures
    interval: tuple[float, float]  # Wilson, 95%, of the share of traps served at `KEPT`
    curve: Curve
    vetoed_traps: float = 0.0  # share of the traps that a veto refuses
    vetoed_duplicates: float = 0.0
    served_traps: float = 0.0  # share served by a scope that has learned nothing
    served_duplicates: float = 0.0
    by_source: Mapping[str, tuple[int, float]] | None = None  # (label, share served at `KEPT`)


def cosines(pairs: Sequence[Pair], embeddings: Embeddings) -> Floats:
    """Return the similarity of each pair's two questions, on the scale."""
    ones, others = (embeddings.of([getattr(p, side) for p in pairs]) for side in ("a", "b"))
    found = np.einsum("ij,ij->i", ones, others)
    return np.array([embeddings.prior.scale(float(cosine)) for cosine in found], np.float64)


def threshold(name: str, pairs: Sequence[Pair], near: Floats) -> Figures:
    """The figures of a threshold on the cosine."""
    return figures(name, "cosine", near, pairs)


def replay(
    name: str,
    way: str,
    pairs: Sequence[Pair],
    near: Floats,
    target: float,
    enabled: frozenset[str] = ALL_VETOES,
    prior: Prior = MINILM,
) -> Figures:
    """The figures of what serves, by the shipped prior: no scope has learned anything."""
    labels = np.array([p.label for p in pairs])
    made = [_score(p, float(c), enabled, prior) for p, c in zip(pairs, near, strict=True)]
    scores = np.array([p for p, _ in made])
    vetoed = np.array([v for _, v in made])
    level = conformal_bound.bar_for(Calibration(), target).level
    good, bad = labels == 1, labels == 0
    found = figures(name, way, scores, pairs)
    return replace(
        found,
        vetoed_traps=float(vetoed[bad].mean()),
        vetoed_duplicates=float(vetoed[good].mean()),
        served_traps=float((scores[bad] >= level).mean()),
        served_duplicates=float((scores[good] >= level).mean()),
        by_source=evaluate.by_source(scores, pairs, _bar(scores[good], KEPT)),
    )


def judgeable(pairs: Sequence[Pair]) -> bool:
    """Return whether there are both duplicates and traps."""
    return len({p.label for p in pairs}) == 2


def figures(name: str, way: str, scores: Floats, pairs: Sequence[Pair]) -> Figures:
    """Compute the results from `scores`: probabilities, or any score that orders the pairs."""
    labels = np.array([p.label for p in pairs])
    good, bad = scores[labels == 1], scores[labels == 0]
    served = int((bad >= _bar(good, KEPT)).sum())
    curve = [(kept, float((bad >= _bar(good, kept)).mean())) for kept in _CURVE]
    return Figures(name, way, evaluate.figures(scores, labels), wilson(served, len(bad)), curve)


def _bar(good: Floats, kept: float) -> float:
    return float(np.sort(good)[::-1][max(0, int(np.ceil(kept * len(good))) - 1)])


def _score(pair: Pair, cosine: float, enabled: frozenset[str], prior: Prior) -> tuple[float, bool]:
    """(probability, vetoed); a vetoed pair has probability 0 and is the last to be served."""
    language = languages()
    stored = Neighbour("stored", cosine, "stored", language.profile(pair.a))
    verdict = judge(
        language.profile(pair.b),
        [stored],
        Calibration(),
        conformal_bound.UNREACHED,
        language=language,
        enabled=enabled,
        prior=prior,
    )
    (judged,) = verdict.candidates
    return judged.probability, judged.veto is not None
