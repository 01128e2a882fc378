"""Other ways to decide, on the same traffic: exact, a threshold, vCache, a perfect decision."""

from __future__ import annotations

from random import Random

from scripts.evaluation.meanings import folded
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.stream import TOP, Outcome, Traffic
from scripts.evaluation.vcache import Entry, exploration

THRESHOLDS = (0.60, 0.70, 0.75, 0.80, 0.85, 0.87, 0.90, 0.92, 0.94, 0.95, 0.96, 0.98, 0.99)
GPTCACHE = 0.60  # its evaluator's 0.8 on a scale where cosine 0.6 gives 0.8
# RedisVL's SemanticCache: `distance_threshold` 0.1 by default, of Redis' distance 1 - cosine.
REDISVL = 0.90
PLAIN = (0.80, 0.85, 0.90, 0.95)  # thresholds that people set


def named(threshold: float) -> str:
    """The name of a threshold's row; RedisVL decides as a plain one does, so that it shares it."""
    return f"static {threshold:.2f}" + (" (RedisVL)" if threshold == REDISVL else "")


def exact(traffic: Traffic) -> Outcome:
    """Hits on the same text but for case and blanks."""
    outcome, seen = Outcome(), dict[str, str]()
    for one in traffic.questions:
        key = folded(one.text)
        hit = key in seen
        outcome.note(hit=hit, right=seen.setdefault(key, one.meaning) == one.meaning)
    return outcome


class Threshold:
    """Hits wherever the nearest cosine reaches a threshold."""

    def __init__(self, traffic: Traffic, threshold: float) -> None:
        self._traffic = traffic
        self._threshold = threshold
        self._store = StoredVectors(traffic.vectors, traffic.prior.scale)
        self._missed: set[str] = set()
        self.outcome = Outcome()

    def peek(self, at: int) -> int | None:
        """The entry whose answer serves request `at`; nothing is stored."""
        near = self._store.nearest(at, 1)
        return near[0][0] if near and near[0][1] >= self._threshold else None

    def ask(self, at: int) -> None:
        """Decide on request `at` and store it on a miss."""
        one = self._traffic.questions[at]
        if one.text in self._missed:
            self.outcome.note(hit=False, right=True, exact=True)
            return
        entry = self.peek(at)
        right = entry is not None and self._traffic.questions[entry].meaning == one.meaning
        self.outcome.note(hit=entry is not None, right=right)
        if entry is None:
            self._store.add(at)
            self._missed.add(one.text)


def static(traffic: Traffic, threshold: float) -> Outcome:
    """The outcome of a threshold on the nearest cosine."""
    return _all(Threshold(traffic, threshold), traffic)


def perfect(traffic: Traffic) -> Outcome:
    """Hits wherever any of the neighbours has the right answer: the ceiling of these neighbours."""
    outcome, store = Outcome(), StoredVectors(traffic.vectors, traffic.prior.scale)
    for at, one in enumerate(traffic.questions):
        hit = any(traffic.questions[i].meaning == one.meaning for i, _ in store.nearest(at, TOP))
        outcome.note(hit=hit, right=hit)
        if not hit:
            store.add(at)
    return outcome


class VCache:
    """vCache by its published formulas; its labels are the truth, which flatters it."""

    def __init__(self, traffic: Traffic, target: float, seed: int) -> None:
        self._traffic = traffic
        self._target = target
        self._seed = seed
        self._store = StoredVectors(traffic.vectors, traffic.prior.scale)
        self._entries: dict[int, Entry] = {}
        self._missed: set[str] = set()
        self.outcome = Outcome()

    def peek(self, at: int) -> int | None:
        """The entry whose answer serves request `at`; nothing is stored or observed."""
        near = self._store.nearest(at, 1)
        if not near:
            return None
        nearest, similarity = near[0]
        explore = exploration(self._entries[nearest], similarity, self._target)
        # Drawn by request: to look at a decision first changes none.
        return nearest if Random(f"{self._seed} {at}").random() > explore else None

    def ask(self, at: int) -> None:
        """Decide on request `at`; on a miss observe what was right, and store a new answer."""
        one = self._traffic.questions[at]
        if one.text in self._missed:
            self.outcome.note(hit=False, right=True, exact=True)
            return
        near = self._store.nearest(at, 1)
        right = bool(near) and self._traffic.questions[near[0][0]].meaning == one.meaning
        hit = self.peek(at) is not None
        self.outcome.note(hit=hit, right=right)
        if hit:
            return
        self._missed.add(one.text)
        if near:
            self._entries[near[0][0]].observe(near[0][1], right)
        if not right:
            self._entries[at] = Entry()
            self._store.add(at)


def vcache(traffic: Traffic, target: float, seed: int) -> Outcome:
    """The outcome of vCache with `target` wrong among all requests."""
    return _all(VCache(traffic, target, seed), traffic)


def _all(decider: Threshold | VCache, traffic: Traffic) -> Outcome:
    for at in range(len(traffic)):
        decider.ask(at)
    return decider.outcome
