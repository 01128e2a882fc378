"""Figures of a scorer on the pair sets of a data folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scripts.pairs import sets
from scripts.pairs.types import Pair

Scores: TypeAlias = NDArray[np.float64]
Scorer: TypeAlias = Callable[[Sequence[Pair]], Scores]


@dataclass(frozen=True, slots=True)
class Figures:
    """Measures of how well a score separates duplicates from traps."""

    pairs: int
    auc: float
    traps_at_60: float  # share of the traps served at the score that keeps 60% of the duplicates
    traps_at_80: float


def figures(scores: Scores, labels: NDArray[np.int64]) -> Figures:
    """Compute the measures. A tie counts half in the AUC, and as a served trap."""
    good, bad = scores[labels == 1], scores[labels == 0]
    ranks = (
        np.searchsorted(np.sort(bad), good, "left"),
        np.searchsorted(np.sort(bad), good, "right"),
    )
    auc = float((ranks[0] + ranks[1]).mean() / 2 / len(bad))

    def traps(kept: float) -> float:
        bar = np.sort(good)[::-1][max(0, int(np.ceil(kept * len(good))) - 1)]
        return float((bad >= bar).mean())

    return Figures(len(scores), auc, traps(0.6), traps(0.8))


def cleaned(pairs: Sequence[Pair]) -> list[Pair]:
    """QQP without two kinds of wrong labels: same words marked different, and families of
    templated questions ("... in Idaho?", "... in Maine?") marked the same."""
    heads: dict[str, int] = defaultdict(int)
    for pair in pairs:
        heads[_head(pair.a)] += 1
    return [
        p
        for p in pairs
        if not (p.label == 0 and _words(p.a) == _words(p.b))
        and not (p.label == 1 and heads[_head(p.a)] > 8 and _head(p.a) == _head(p.b))
    ]


def tune_sets(data: Path) -> Mapping[str, list[Pair]]:
    """The sets to report: none that the prior was fitted on, but for CheckList's."""
    hard = sets.read_qqp(data / "qqp/tune.tsv", hard=True)
    checklist = sets.read(data / "checklist/mft_train.tsv", "checklist", by="test")
    return {
        "qqp-hard tune": hard,
        "qqp-hard tune, cleaned": cleaned(hard),
        "qqp-easy tune": sets.read_qqp(data / "qqp/tune.tsv", hard=False)[:1_200],
        "kmemo tuned": sets.read(data / "kmemo/tuned.tsv", "kmemo", by="category"),
        "checklist": checklist[::12],  # 80 of each test tell as much as 1,000
    }


def by_source(scores: Scores, pairs: Sequence[Pair], bar: float) -> Mapping[str, tuple[int, float]]:
    """(label, share served at `bar`) of each source."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        groups[f"{pair.source} [{pair.label}]"].append(i)
    return {
        name: (pairs[rows[0]].label, float((scores[rows] >= bar).mean()))
        for name, rows in sorted(groups.items())
    }


def _head(text: str) -> str:
    return " ".join(text.lower().split()[:6])


def _words(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
