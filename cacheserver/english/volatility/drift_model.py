"""Model of questions whose answer slowly goes out of date ("who is the president").

Logistic over words (`<year>`, `<num>`), pairs of neighbours ("how many") and the first word
("^ who"). The shipped weights, in log-odds, are in `english/data/volatility_weights.json`. They
were written by hand and fitted to nothing: SituatedQA, to which they could be fitted, states no
licence. `scripts/train_volatility` fits that variant and compares both on unseen questions. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cacheserver.core import data_files

# The model is for short factual questions; its sums mean nothing for a page of prose.
_MAX_WORDS = 30
# Nor for talk between two people: "I need a new card" is no question about the world.
_PRIVATE = frozenset({"i", "i'm", "i've", "i'd", "my", "me", "you", "your", "please", "we", "our"})

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+")
_YEAR = re.compile(r"(?:1[7-9]|20)\d\d")


@dataclass(frozen=True, slots=True)
class DriftModel:
    """Additive model of an answer that changes over months."""

    bias: float
    threshold: float  # probability, inclusive, from which a question is volatile
    weights: Mapping[str, float]  # log-odds by feature


def load(table: Mapping[str, Any]) -> DriftModel:
    """Build the model from its file. A feature listed twice has the later weight."""
    weights = {
        feature.replace("_", " "): float(row["weight"])
        for group in table["groups"]
        for row in group["weights"]
        for feature in row["features"].split()
    }
    return DriftModel(bias=table["bias"], threshold=table["threshold"], weights=weights)


# Of the unseen half of SituatedQA 91% of what it flags depends on the time; it finds 54%.
SHIPPED = load(data_files.table("cacheserver.english", "volatility_weights.json"))


def drift_probability(words: Sequence[str], model: DriftModel) -> float:
    """Return the probability that the answer changes over months.

    0.0 for texts that the model is not made for.
    """
    if not 0 < len(words) <= _MAX_WORDS or not _PRIVATE.isdisjoint(words):
        return 0.0
    weigh = model.weights.get
    odds = model.bias + sum(weigh(feature, 0.0) for feature in features(words))
    return 1.0 / (1.0 + math.exp(-odds))


def features(words: Iterable[str]) -> set[str]:
    """Return the features of a text: its words and pairs of neighbours, digits replaced."""
    found: set[str] = set()
    last = "^"
    for word in words:
        if word[0].isdigit():
            word = "<year>" if _YEAR.fullmatch(word) else "<num>"
        found.add(word)
        found.add(f"{last} {word}")
        last = word
    return found


def tokenize(lowered: str) -> list[str]:
    """Return the words and numbers of a lower-case text."""
    return _WORD.findall(lowered)
