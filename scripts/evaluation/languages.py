"""Our pairs in other languages, and those in English beside them, in a scope without labels.

Judged as the part `cold` does, by the serving decision alone, and with a verifying model of stated
rates. The pairs of a language are a set.
"""

from __future__ import annotations

from collections.abc import Iterator

from scripts.evaluation import halves
from scripts.evaluation.verify.step import Simulated
from scripts.pairs.own import language_pairs, own_pairs
from scripts.pairs.types import Pair

ENGLISH = "en"
VERIFIERS = {"95/2": Simulated(0.95, 0.02), "90/10": Simulated(0.90, 0.10)}


def sets(half: halves.Half) -> Iterator[tuple[str, list[Pair]]]:
    """Yield each language with its pairs; twins of the English ones are left out."""
    found = {ENGLISH: own_pairs(), **language_pairs()}
    for code, listed in found.items():
        pairs = [
            Pair(a, b, int(expected == "paraphrase"), kind)
            for a, b, expected, kind in listed
            if expected in ("paraphrase", "miss")
        ]
        yield code, halves.of_pairs(pairs, half)
