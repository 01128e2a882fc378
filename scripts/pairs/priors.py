"""The prior's report: weights, reliability, and figures on the tune sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cacheserver.index.errors import Unknown
from cacheserver.index.models import OnnxEmbedder
from scripts.pairs import evaluate, fit
from scripts.pairs.types import Pair

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[tuple[str, str]]

CHECKLIST_WEIGHT = 0.03  # its templates are few; more of it costs real questions
WEIGHTS = Path(__file__).parents[2] / "cacheserver/matching/data/prior_weights.json"


def report(data: Path, cosine: fit.Score, *, write: bool) -> None:
    """Print the figures of the prior; `write` stores its weights."""
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
    if write:
        write_weights(chosen, WEIGHTS)


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


def cosine_of(folder: Path) -> fit.Score:
    """Cosines by the embedder in `folder`; 0 where a text holds nothing that it knows."""
    embedder = OnnxEmbedder(folder)

    def vector(text: str) -> NDArray[np.float32]:
        try:
            return np.asarray(embedder.embed([text])[0])
        except Unknown:
            return np.zeros(embedder.dim, dtype=np.float32)

    def cosine(texts: Texts) -> Floats:
        vectors = {text: vector(text) for text in sorted({t for pair in texts for t in pair})}
        return np.array([float(vectors[a] @ vectors[b]) for a, b in texts])

    return cosine


def write_weights(weights: Mapping[str, float], to: Path) -> None:
    """The weights as a JSON object, in the order of the terms."""
    rounded = {name: round(weight, 4) for name, weight in weights.items()}
    to.write_text(json.dumps(rounded, indent=1) + "\n")
