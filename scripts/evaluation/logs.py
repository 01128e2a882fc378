"""A real query log without labels: how much of it each tier would answer, nothing about errors.

A log says what repeats. Whether a semantic hit was right it cannot say, so no label is made and no
scope learns: what is served is what the shipped prior serves. A sample of the hits is kept, to be
read, and of a plain threshold's hits is counted how many a veto contradicts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from cacheserver.languages.rules import languages
from cacheserver.matching import conformal_bound
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.decision import Verdict, judge
from cacheserver.matching.language import ALL_VETOES
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Profile
from scripts.evaluation.data import Logged
from scripts.evaluation.meanings import folded
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.stream import TOP
from scripts.evaluation.vectors import Embeddings

TIERS = ("exact", "folded", "semantic")  # each beyond the ones before
STATIC = (0.90, 0.95)  # cosines that a plain threshold would serve at, beyond exact and folded
_SAMPLE = 300


@dataclass(frozen=True, slots=True)
class Figures:
    """Results of one log. Shares are of its requests."""

    name: str
    requests: int
    shares: Mapping[str, float]  # by tier
    static: Mapping[str, float]  # by threshold
    contradicted: Mapping[str, float]  # share of these hits that a veto refuses
    days: Sequence[tuple[str, int, Mapping[str, float]]]  # (day, requests, shares by tier)
    entries: int  # stored at the end
    decision_ms: tuple[float, float]  # p50, p95 of search and decision, thread's own time
    sample: Sequence[tuple[str, str]]  # (asked, served), drawn from different semantic hits


class Replay:
    """Replay of one log, in its order."""

    def __init__(
        self,
        queries: Sequence[Logged],
        embeddings: Embeddings,
        target: float,
    ) -> None:
        self._queries = queries
        self._vectors = embeddings.of([q.text for q in queries])
        self._prior = embeddings.prior
        self._language = languages()
        self._bar = conformal_bound.bar_for(Calibration(), target)
        self._kept = StoredVectors(self._vectors, embeddings.prior.scale)
        self._profiles: dict[int, Profile] = {}
        self._exact = set[str]()
        self._folded = set[str]()
        self._took: list[float] = []
        self._static = dict.fromkeys(STATIC, 0)
        self._refused = dict.fromkeys(STATIC, 0)
        self._served: list[tuple[str, str]] = []

    def run(self, name: str) -> Figures:
        tiers = [self._ask(at) for at in range(len(self._queries))]
        total, served = len(tiers), list(dict.fromkeys(self._served))
        by_day: dict[str, list[str]] = {}
        for query, tier in zip(self._queries, tiers, strict=True):
            by_day.setdefault(query.day, []).append(tier)
        return Figures(
            name=name,
            requests=total,
            shares=_shares(tiers),
            static={f"{at:.2f}": count / total for at, count in self._static.items()},
            contradicted={
                f"{at:.2f}": self._refused[at] / max(1, count) for at, count in self._static.items()
            },
            days=[(day, len(listed), _shares(listed)) for day, listed in sorted(by_day.items())],
            entries=len(self._kept.ids),
            decision_ms=(_percentile(self._took, 50), _percentile(self._took, 95)),
            sample=Random(1).sample(served, min(_SAMPLE, len(served))),
        )

    def _ask(self, at: int) -> str:
        text = self._queries[at].text
        plain = folded(text)
        if text in self._exact:
            return "exact"
        if plain in self._folded:
            return "folded"
        begun = time.thread_time()
        near = self._kept.nearest(at, TOP)
        verdict = self._decide(at, near)
        self._took.append(1e3 * (time.thread_time() - begun))
        for level in STATIC:
            if near and near[0][1] >= level:
                self._static[level] += 1
                nearest = next((j for j in verdict.candidates if j.id == str(near[0][0])), None)
                self._refused[level] += nearest is not None and nearest.veto is not None
        if verdict.serve is not None:
            self._served.append((text, self._queries[int(verdict.serve.id)].text))
            return "semantic"
        self._exact.add(text)
        self._folded.add(plain)
        self._kept.add(at)
        return "miss"

    def _decide(self, at: int, near: Sequence[tuple[int, float]]) -> Verdict:
        neighbours = [Neighbour(str(r), c, str(r), self._profile(r)) for r, c in near]
        return judge(
            self._profile(at),
            neighbours,
            Calibration(),
            self._bar,
            language=self._language,
            enabled=ALL_VETOES,
            prior=self._prior,
        )

    def _profile(self, at: int) -> Profile:
        if at not in self._profiles:
            self._profiles[at] = self._language.profile(self._queries[at].text)
        return self._profiles[at]


def _shares(tiers: Sequence[str]) -> dict[str, float]:
    return {tier: tiers.count(tier) / len(tiers) for tier in TIERS}


def _percentile(values: Sequence[float], which: float) -> float:
    return float(np.percentile(values, which)) if values else 0.0
