"""Verifier scores of pairs, kept on disk by verifier and pair."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from math import exp, log
from pathlib import Path

from index.pairs import PairScorer
from scripts.evaluation.vectors import CACHE


class Scores:
    """One verifier's scores. A pair is scored when it is first asked for."""

    def __init__(self, folder: Path, cache: Path = CACHE) -> None:
        self._scorer = PairScorer(folder)
        cache.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(cache / f"scores-{self._scorer.id}.sqlite", timeout=60)
        self._kept.execute("CREATE TABLE IF NOT EXISTS scores (pair BLOB PRIMARY KEY, score REAL)")
        self._known: dict[bytes, float] = dict(self._kept.execute("SELECT pair, score FROM scores"))
        self._fresh: dict[bytes, float] = {}

    def of(self, a: str, b: str, *, both: bool) -> float:
        """Probability that one answer serves both; `both`: the mean of both orders."""
        return average([self._one(a, b), self._one(b, a)] if both else [self._one(a, b)])

    def save(self) -> None:
        """Keep what was scored since; at once, or another run would wait for the file."""
        with self._kept:
            rows = self._fresh.items()
            self._kept.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)
        self._fresh.clear()

    def _one(self, a: str, b: str) -> float:
        key = hashlib.sha1(f"{a}\t{b}".encode(), usedforsecurity=False).digest()
        score = self._known.get(key)
        if score is None:
            score = float(self._scorer.score([(a, b)])[0])
            self._known[key] = self._fresh[key] = score
        return score


def average(scores: Sequence[float]) -> float:
    """Of one order or both, on the scale of log odds, which is what the prior was fitted on."""
    logits = [log(inner / (1 - inner)) for inner in (min(max(s, 1e-6), 1 - 1e-6) for s in scores)]
    return 1 / (1 + exp(-sum(logits) / len(logits)))
