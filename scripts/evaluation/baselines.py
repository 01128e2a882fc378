"""What else could decide, on the same traffic: exact, a threshold, vCache, a perfect verifier."""

from __future__ import annotations

from random import Random

from scripts.evaluation.meanings import folded
from scripts.evaluation.near import Kept
from scripts.evaluation.stream import TOP, Outcome, Traffic
from scripts.evaluation.vcache import Entry, exploration

THRESHOLDS = (0.60, 0.70, 0.75, 0.80, 0.84, 0.87, 0.90, 0.92, 0.94, 0.96, 0.98, 0.99)
GPTCACHE = 0.60  # its evaluator's 0.8 on a scale where cosine 0.6 gives 0.8


def exact(traffic: Traffic) -> Outcome:
    """Hits on the same text but for case and blanks."""
    outcome, seen = Outcome(), dict[str, str]()
    for one in traffic.asked:
        key = folded(one.text)
        hit = key in seen
        outcome.note(hit=hit, right=seen.setdefault(key, one.meaning) == one.meaning)
    return outcome


def static(traffic: Traffic, threshold: float) -> Outcome:
    """Hits wherever the nearest cosine reaches `threshold`."""
    outcome, store = Outcome(), Kept(traffic.vectors)
    for at, one in enumerate(traffic.asked):
        near = store.nearest(at, 1)
        hit = bool(near) and near[0][1] >= threshold
        outcome.note(hit=hit, right=hit and traffic.asked[near[0][0]].meaning == one.meaning)
        if not hit:
            store.add(at)
    return outcome


def perfect(traffic: Traffic) -> Outcome:
    """Hits wherever any of the neighbours has the right answer: the ceiling of these neighbours."""
    outcome, store = Outcome(), Kept(traffic.vectors)
    for at, one in enumerate(traffic.asked):
        hit = any(traffic.asked[i].meaning == one.meaning for i, _ in store.nearest(at, TOP))
        outcome.note(hit=hit, right=hit)
        if not hit:
            store.add(at)
    return outcome


def vcache(traffic: Traffic, target: float, seed: int) -> Outcome:
    """vCache by its published formulas; its labels are the truth, which flatters it."""
    outcome, store, rng = Outcome(), Kept(traffic.vectors), Random(seed)
    entries: dict[int, Entry] = {}
    for at, one in enumerate(traffic.asked):
        near = store.nearest(at, 1)
        if not near:
            outcome.note(hit=False, right=False)
            entries[at] = Entry()
            store.add(at)
            continue
        nearest, similarity = near[0]
        right = traffic.asked[nearest].meaning == one.meaning
        hit = rng.random() > exploration(entries[nearest], similarity, target)
        outcome.note(hit=hit, right=right)
        if not hit:
            entries[nearest].observe(similarity, right)
            if not right:
                entries[at] = Entry()
                store.add(at)
    return outcome
