"""A stream with a set share of near misses, without which a share of wrong hits means nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from scripts.evaluation.data import Question
from scripts.pairs.types import Pair

DIALS = (0.01, 0.05, 0.20)  # traps among the requests
_SEEN_IN_TRAINING = ("checklist", "gptcache", "train")  # would flatter the prior


def traps(pairs: Mapping[str, Sequence[Pair]]) -> list[Pair]:
    """Pairs that look alike and need different answers, of sets that nothing was fitted on."""
    found: dict[tuple[str, str], Pair] = {}
    for name, listed in pairs.items():
        noisy = name.endswith("hard")  # its cleaned slice is there too
        if noisy or any(word in name for word in _SEEN_IN_TRAINING):
            continue
        found.update({(p.a, p.b): p for p in listed if p.label == 0})
    return list(found.values())


def mix(
    questions: Sequence[Question], traps: Sequence[Pair], dial: float, seed: int
) -> list[Question]:
    """`asked` with traps among it: the first question of each somewhere before the second.

    Where there are too few traps for the dial, fewer requests are taken.
    """
    rng = Random(seed)
    per_trap = (1 - 2 * dial) / dial  # each trap brings the question that it resembles
    count = min(len(traps), int(len(questions) / per_trap))
    kept = list(questions[: int(count * per_trap)])
    placed = [(rng.random(), one) for one in kept]
    for pair in rng.sample(list(traps), count):
        first, second = sorted((rng.random(), rng.random()))
        placed.append((first, Question(pair.a, f"pair: {pair.a}", pair.a)))
        placed.append((second, Question(pair.b, f"pair: {pair.b}", pair.b, trap=True)))
    return [one for _, one in sorted(placed, key=lambda at: at[0])]
