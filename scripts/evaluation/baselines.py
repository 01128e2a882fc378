"""What else could decide, on the same traffic: exact, a threshold, vCache, a perfect verifier."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from scripts.evaluation.stream import TOP, Outcome, Traffic
from scripts.evaluation.vcache import Entry, exploration

THRESHOLDS = (0.60, 0.70, 0.75, 0.80, 0.84, 0.87, 0.90, 0.92, 0.94, 0.96, 0.98, 0.99)
GPTCACHE = 0.60  # its evaluator's 0.8 on a scale where cosine 0.6 gives 0.8


def exact(traffic: Traffic) -> Outcome:
    """Hits on the same text but for case and blanks."""
    outcome, seen = Outcome(), dict[str, str]()
    for one in traffic.asked:
        key = " ".join(one.text.lower().split())
        _note(outcome, hit=key in seen, right=seen.setdefault(key, one.meaning) == one.meaning)
    return outcome


def static(traffic: Traffic, threshold: float) -> Outcome:
    """Hits wherever the nearest cosine reaches `threshold`."""
    outcome, store = Outcome(), _Store(traffic)
    for at, one in enumerate(traffic.asked):
        near = store.nearest(at, 1)
        hit = bool(near) and near[0][1] >= threshold
        _note(outcome, hit=hit, right=hit and traffic.asked[near[0][0]].meaning == one.meaning)
        if not hit:
            store.add(at)
    return outcome


def perfect(traffic: Traffic) -> Outcome:
    """Hits wherever any of the neighbours has the right answer: the ceiling of these neighbours."""
    outcome, store = Outcome(), _Store(traffic)
    for at, one in enumerate(traffic.asked):
        hit = any(traffic.asked[i].meaning == one.meaning for i, _ in store.nearest(at, TOP))
        _note(outcome, hit=hit, right=hit)
        if not hit:
            store.add(at)
    return outcome


def vcache(traffic: Traffic, target: float, seed: int) -> Outcome:
    """vCache by its published formulas; its labels are the truth, which flatters it."""
    outcome, store, rng = Outcome(), _Store(traffic), Random(seed)
    entries: dict[int, Entry] = {}
    for at, one in enumerate(traffic.asked):
        near = store.nearest(at, 1)
        if not near:
            _note(outcome, hit=False, right=False)
            entries[at] = Entry()
            store.add(at)
            continue
        nearest, similarity = near[0]
        right = traffic.asked[nearest].meaning == one.meaning
        hit = rng.random() > exploration(entries[nearest], similarity, target)
        _note(outcome, hit=hit, right=right)
        if not hit:
            entries[nearest].observe(similarity, right)
            if not right:
                entries[at] = Entry()
                store.add(at)
    return outcome


class _Store:
    """Stored rows of the traffic, searched whole."""

    def __init__(self, traffic: Traffic) -> None:
        self._vectors = traffic.vectors
        self._kept = np.empty_like(traffic.vectors)
        self._ids: list[int] = []

    def add(self, at: int) -> None:
        self._kept[len(self._ids)] = self._vectors[at]
        self._ids.append(at)

    def nearest(self, at: int, top: int) -> Sequence[tuple[int, float]]:
        if not self._ids:
            return ()
        near: NDArray[np.float32] = self._kept[: len(self._ids)] @ self._vectors[at]
        if top == 1:
            row = int(near.argmax())
            return ((self._ids[row], float(near[row])),)
        rows = np.argsort(-near, kind="stable")[:top]
        return [(self._ids[row], float(near[row])) for row in rows]


def _note(outcome: Outcome, *, hit: bool, right: bool) -> None:
    outcome.hits.append(hit)
    outcome.wrong.append(hit and not right)
    outcome.audited.append(False)
