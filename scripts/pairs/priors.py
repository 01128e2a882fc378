"""The prior's report: scale, weights, reliability, and figures on the tune sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cacheserver.index.errors import Unreadable
from cacheserver.index.models import Embedder
from cacheserver.matching.cosine_scale import CosineScale, match_quantiles
from cacheserver.matching.prior import Prior
from scripts.pairs import evaluate, fit
from scripts.pairs.types import Pair

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[tuple[str, str]]

_BATCH = 64
_KNOTS = 60  # of the scale: some 100 pairs between two
CHECKLIST_WEIGHT = 0.03  # its templates are few; more of it costs real questions
WEIGHTS = Path(__file__).parents[2] / "cacheserver/matching/data/prior_weights.json"


class Cosines:
    """Cosines of pairs by an embedder; 0 where it cannot read a text."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Texts) -> Floats:
        listed = sorted({t for pair in texts for t in pair} - self._vectors.keys())
        for start in range(0, len(listed), _BATCH):
            part = listed[start : start + _BATCH]
            self._vectors.update(zip(part, self._embedded(part), strict=True))
        return np.array([float(self._vectors[a] @ self._vectors[b]) for a, b in texts])

    def _embedded(self, texts: Sequence[str]) -> Sequence[NDArray[np.float32]]:
        try:
            return list(self._embedder.embed(texts))
        except Unreadable:
            if len(texts) == 1:
                return [np.zeros(self._embedder.dim, dtype=np.float32)]
            return [row for text in texts for row in self._embedded([text])]


def measured_scale(data: Path, ours: fit.Score, theirs: fit.Score) -> CosineScale:
    """Return the scale from one embedder's cosines to another's, over the pairs of the fit.

    As many unlike pairs are added: most neighbours of a question are none of its paraphrases.
    """
    pairs = [(p.a, p.b) for p, _ in fit.pairs_for_prior(data)]
    rng = Random(11)
    lefts, rights = [a for a, _ in pairs], [b for _, b in pairs]
    rng.shuffle(rights)
    listed = [*pairs, *zip(lefts, rights, strict=True)]
    one, other = ours(listed), theirs(listed)
    read = (one != 0) & (other != 0)
    return match_quantiles(one[read].tolist(), other[read].tolist(), _KNOTS)


def report(data: Path, raw: fit.Score, scale: CosineScale | None = None) -> Prior:
    """Print the figures of the prior, and return it."""
    scale = scale or CosineScale()

    def cosine(texts: Texts) -> Floats:
        return np.array([scale(float(c)) for c in raw(texts)])

    pairs = fit.pairs_for_prior(data)
    tune = evaluate.tune_sets(data)
    checklist = tune["checklist"]
    weighted = [*pairs, *((p, CHECKLIST_WEIGHT / len(checklist)) for p in checklist)]
    rows = fit.rows(weighted, cosine)
    chosen = fit.fit(rows)
    predicted = fit.held_out(rows, fit.groups_of([p for p, _ in weighted]))
    print("Reliability, held out by questions:")
    hard = np.array([p.source == "qqp:hard" for p, _ in weighted])
    for low, count, share in fit.reliability(predicted[hard], rows.labels[hard]):
        print(f"  from {low:.2f}: {count:5d} pairs, {share:.3f} served rightly")
    _print_folds(rows, checklist, len(pairs))
    for title, listed in tune.items():
        if title != "checklist":
            tuned = fit.rows([(p, 1.0) for p in listed], cosine)
            _print(title, fit.probabilities(chosen, tuned), listed)
    for title, listed in tune.items():
        texts = [(p.a, p.b) for p in listed]
        _print(f"cosine alone, {title}", cosine(texts), listed)
    return Prior(chosen, scale)


def _print_folds(rows: fit.Rows, checklist: Sequence[Pair], first: int) -> None:
    """CheckList by folds over its tests: each test told by weights fitted without it."""
    tests = sorted({p.source for p in checklist})
    folds = [0] * first + [tests.index(p.source) % 5 for p in checklist]
    predicted = np.empty(len(checklist))
    for fold in range(5):
        out = np.array([i >= first and folds[i] == fold for i in range(len(folds))])
        kept = fit.Rows(rows.names, rows.terms[~out], rows.labels[~out], rows.weights[~out])
        left = fit.Rows(rows.names, rows.terms[out], rows.labels[out], rows.weights[out])
        predicted[out[first:]] = fit.probabilities(fit.fit(kept), left)
    _print("checklist by folds over tests", predicted, checklist)


def _print(title: str, predicted: Floats, pairs: Sequence[Pair]) -> None:
    made = evaluate.figures(predicted, np.array([p.label for p in pairs]))
    print(
        f"  {title}: {made.pairs} pairs, AUC {made.auc:.3f}, traps served while keeping 60 / 80% "
        f"of the duplicates: {100 * made.traps_at_60:.1f} / {100 * made.traps_at_80:.1f}%"
    )


def write_weights(weights: Mapping[str, float], to: Path) -> None:
    """The weights as a JSON object, in the order of the terms."""
    rounded = {name: round(weight, 4) for name, weight in weights.items()}
    to.write_text(json.dumps(rounded, indent=1) + "\n")
