"""Traffic as it comes: few intents asked often, most hardly ever, each in any of its wordings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from scripts.evaluation.data import Question

EXPONENT = 1.0  # the n-th most frequent intent is asked 1/n as often as the first


def draw(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    """`count` requests; which intent is the frequent one, and each wording, is drawn by `seed`."""
    rng = Random(seed)
    by_intent: dict[str, list[Question]] = defaultdict(list)
    for one in questions:
        by_intent[one.intent].append(one)
    names = sorted(by_intent)
    rng.shuffle(names)
    weights = [1 / rank**EXPONENT for rank in range(1, len(names) + 1)]
    return [rng.choice(by_intent[name]) for name in rng.choices(names, weights, k=count)]
