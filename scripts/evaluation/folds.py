"""A templated set by folds over its tests: each test is judged by a prior that never saw it.

A test of a templated set is one phenomenon; rows of it on both sides of a split would show only
that the template was learned. The prior's weights are fitted as `scripts/fit_prior` does, without
the fold's tests. The verifier is one that never read the set (`scripts/train_verifier --variant
own`), or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cacheserver.policy import lexicon
from cacheserver.policy.evidence import compare
from cacheserver.policy.profile import read
from cacheserver.policy.vetoes import VETOES, fired
from scripts.evaluation import pairs as pairs_
from scripts.evaluation.scores import Scores
from scripts.evaluation.vectors import Embeddings
from scripts.pairs import fit
from scripts.pairs.priors import CHECKLIST_WEIGHT
from scripts.pairs.types import Pair

_FOLDS = 5


class Folds:
    """Refits the prior for each fold; the rows of other sets are read once."""

    def __init__(self, data: Path, embeddings: Embeddings, scores: Scores | None) -> None:
        self._embeddings = embeddings
        self._scores = scores
        self._others = fit.pairs_for_prior(data)

    def replay(self, name: str, way: str, listed: Sequence[Pair]) -> pairs_.Figures:
        """The figures of a set whose pairs name their test as "set:test"."""
        weight = CHECKLIST_WEIGHT / len(listed)
        weighted = [*self._others, *((pair, weight) for pair in listed)]
        verifier = None if self._scores is None else self._verified
        rows = fit.rows(weighted, self._cosines, verifier)
        tests = sorted({pair.source for pair in listed})
        first = len(self._others)
        fold = np.array([-1] * first + [tests.index(pair.source) % _FOLDS for pair in listed])
        told = np.empty(len(listed))
        for held in range(_FOLDS):
            out = fold == held
            told[out[first:]] = fit.probabilities(fit.fit(_of(rows, ~out)), _of(rows, out))
        told[np.array([_vetoed(pair) for pair in listed])] = 0.0
        return replace(pairs_.figures(name, way, told, listed), by_source=None)

    def _cosines(self, texts: Sequence[tuple[str, str]]) -> pairs_.Floats:
        made = [Pair(a, b, 0, "") for a, b in texts]
        return pairs_.cosines(made, self._embeddings)

    def _verified(self, texts: Sequence[tuple[str, str]]) -> pairs_.Floats:
        assert self._scores is not None
        return np.array([self._scores.of(a, b, both=True) for a, b in texts])


def _of(rows: fit.Rows, chosen: np.typing.NDArray[np.bool_]) -> fit.Rows:
    return fit.Rows(rows.names, rows.terms[chosen], rows.labels[chosen], rows.weights[chosen])


def _vetoed(pair: Pair) -> bool:
    words = lexicon.standard()
    difference = compare(read(pair.b, words), read(pair.a, words), words)
    return bool(fired(difference, frozenset(VETOES), words))
