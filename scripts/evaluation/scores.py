"""What the verifier says of pairs, kept on disk by verifier and pair."""

from __future__ import annotations

import hashlib
import sqlite3
from math import exp, log
from pathlib import Path

from index.pairs import PairScorer
from scripts.evaluation.vectors import CACHE


class Scores:
    """One verifier's scores. A pair is scored when it is first asked for."""

    def __init__(self, folder: Path, cache: Path = CACHE) -> None:
        self._scorer = PairScorer(folder)
        self.id = self._scorer.id
        cache.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(cache / f"scores-{self.id}.sqlite")
        self._kept.execute("CREATE TABLE IF NOT EXISTS scores (pair BLOB PRIMARY KEY, score REAL)")
        self._known: dict[bytes, float] = dict(self._kept.execute("SELECT pair, score FROM scores"))

    def of(self, a: str, b: str, *, both: bool) -> float:
        """Probability that one answer serves both; `both`: the mean of both orders' log odds."""
        one = self._one(a, b)
        if not both:
            return one
        return 1 / (1 + exp(-(_logit(one) + _logit(self._one(b, a))) / 2))

    def save(self) -> None:
        self._kept.commit()

    def _one(self, a: str, b: str) -> float:
        key = hashlib.sha1(f"{a}\t{b}".encode(), usedforsecurity=False).digest()
        score = self._known.get(key)
        if score is None:
            score = self._known[key] = float(self._scorer.score([(a, b)])[0])
            self._kept.execute("INSERT OR REPLACE INTO scores VALUES (?, ?)", (key, score))
        return score


def _logit(score: float) -> float:
    inner = min(max(score, 1e-6), 1 - 1e-6)
    return log(inner / (1 - inner))
