"""Pairs through the serving decision: one question stored, the other asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cacheserver.policy import bound, lexicon, vetoes
from cacheserver.policy.calibrate import Calibration
from cacheserver.policy.judge import Ask, judge
from cacheserver.policy.neighbours import Neighbour
from cacheserver.policy.profile import read
from scripts.evaluation.scores import Scores
from scripts.evaluation.vectors import Embeddings
from scripts.pairs import evaluate
from scripts.pairs.types import Pair

_UNREACHED = 2.0  # a level that keeps the verifier asked and serves nothing


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one set, by the shipped prior: no scope has learned anything."""

    name: str
    told: evaluate.Figures  # by probability, vetoed pairs at 0
    cosine: evaluate.Figures
    vetoed_traps: float  # share of the traps that a veto refuses
    vetoed_duplicates: float
    served_traps: float  # share served at the prior's own bar
    served_duplicates: float
    by_source: Mapping[str, tuple[int, float]]  # (label, share) served where 60% are kept


def replay(
    name: str,
    pairs: Sequence[Pair],
    embeddings: Embeddings,
    scores: Scores | None,
    target: float,
    enabled: frozenset[str] = frozenset(vetoes.VETOES),
) -> Figures | None:
    """The figures of a set; None where it holds one label only."""
    labels = np.array([p.label for p in pairs])
    if len(set(labels.tolist())) < 2:
        return None
    ones, others = (
        embeddings.of(list(texts)) for texts in zip(*[(p.a, p.b) for p in pairs], strict=True)
    )
    cosines = np.einsum("ij,ij->i", ones, others).astype(np.float64)
    made = [_told(p, float(c), scores, enabled) for p, c in zip(pairs, cosines, strict=True)]
    told = np.array([p for p, _ in made])
    vetoed = np.array([v for _, v in made])
    level = bound.bar_for(Calibration(), target).level
    good, bad = labels == 1, labels == 0
    bar = float(np.sort(told[good])[::-1][max(0, int(np.ceil(0.6 * good.sum())) - 1)])
    return Figures(
        name,
        evaluate.figures(told, labels),
        evaluate.figures(cosines, labels),
        float(vetoed[bad].mean()),
        float(vetoed[good].mean()),
        float((told[bad] >= level).mean()),
        float((told[good] >= level).mean()),
        evaluate.by_source(told, pairs, bar),
    )


def _told(
    pair: Pair, cosine: float, scores: Scores | None, enabled: frozenset[str]
) -> tuple[float, bool]:
    """(probability, vetoed)."""
    words = lexicon.standard()
    stored = Neighbour("stored", cosine, "stored", read(pair.a, words))
    said: dict[str, float] = {}
    while True:
        step = judge(
            read(pair.b, words),
            [stored],
            None if scores is None else said,
            Calibration(),
            _UNREACHED,
            lexicon=words,
            enabled=enabled,
        )
        if isinstance(step, Ask):
            assert scores is not None
            said[step.id] = scores.of(pair.a, pair.b, both=step.both)
            continue
        (judged,) = step.judged
        return judged.probability, judged.veto is not None
