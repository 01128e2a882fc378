"""Complexity classifier: SIMPLE, MEDIUM or COMPLEX, from a request's embedding and words.

An additive model over `features` and, if there is one, the embedding's coordinates. Its weights
come from `scripts/train_router`; its probabilities are calibrated on prompts that the weights have
not seen. It does not choose an expensive model alone: see `level`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final, Literal, TypeAlias

from cacheserver.core.rules.routing import RoutingRules
from cacheserver.routing.complexity_words import GROUPS_OF, STEM
from cacheserver.routing.task_inference import edges

Level: TypeAlias = Literal["SIMPLE", "MEDIUM", "COMPLEX"]

_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[?!:;{}()=<>+*/^]|```")
_DIGITS: Final = re.compile(r"\d+")
_NUMBER: Final = "#"
SIZES: Final = frozenset({"size", "short", "long", "lines", "clauses", "numbers", "sentences"})
_PLAIN: Final = str.maketrans("äöüéèêëàâáãçñíïîóôõúùû", "aoueeeeaaaacniiiooouuu", "ß")


@dataclass(frozen=True, slots=True)
class Weights:
    """Log-odds of SIMPLE and of COMPLEX against MEDIUM. `vector` is empty for words alone."""

    bias: tuple[float, float]
    vector: tuple[tuple[float, ...], tuple[float, ...]]
    features: Mapping[str, tuple[float, float]]
    temperature: float = 1.0  # what odds are divided by to become probabilities that hold


@dataclass(frozen=True, slots=True)
class Complexity:
    """Probabilities of the three levels; they sum to one."""

    simple: float
    medium: float
    complex: float
    embedded: bool = True  # False: made of words alone

    @property
    def confidence(self) -> float:
        return max(self.simple, self.medium, self.complex)


def features(text: str, task: str | None) -> dict[str, float]:
    """Return the features of a text: words, pairs of neighbours, word groups, its task, its size.

    `task` is the result of `infer_task`. Words come from both ends of a long text, where its
    instruction usually is. Each counts once: a repeated word makes nothing harder.
    """
    read = edges(text)
    found: dict[str, float] = {}
    groups: dict[str, set[str]] = {}
    last = "^"
    for piece in _WORD.findall(read.translate(_PLAIN)):
        word = _NUMBER if piece.isdigit() else piece[:STEM]
        pair = f"{last} {word}"
        found[word] = found[pair] = 1.0
        for stem in (word, pair):
            for group in GROUPS_OF.get(stem, ()):
                groups.setdefault(group, set()).add(stem)
        last = word
    for group, stems in groups.items():
        found[f"group:{group}"] = 1.0 + math.log(len(stems))
    found[f"task:{task}"] = 1.0
    found["size"] = math.log1p(len(text)) / 4.0  # about 1 for a sentence, 2 for a page
    found["short"] = 1.0 if len(text) < 60 else 0.0
    found["long"] = 1.0 if len(text) > 600 else 0.0
    found["lines"] = math.log1p(text.count("\n")) / 2.0
    found["numbers"] = math.log1p(len(_DIGITS.findall(read))) / 2.0
    found["sentences"] = math.log1p(read.count(". ") + read.count("? ") + read.count("\n")) / 2.0
    found["clauses"] = math.log1p(read.count(",") + read.count(";")) / 2.0
    return found


def read(
    text: str,
    task: str | None,
    vector: Sequence[float] | None,
    *,
    with_vector: Weights,
    without: Weights,
) -> Complexity:
    """Classify a request. Finite and summing to one whatever `vector` holds."""
    if vector is None or len(vector) != len(with_vector.vector[0]):
        return read_projected(text, task, (0.0, 0.0), without, embedded=False)
    simple = sum(map(mul, with_vector.vector[0], vector))
    complex = sum(map(mul, with_vector.vector[1], vector))
    return read_projected(text, task, (simple, complex), with_vector, embedded=True)


def read_projected(
    text: str, task: str | None, projected: tuple[float, float], weights: Weights, *, embedded: bool
) -> Complexity:
    """Classify a request of which `weights.vector` times its embedding is known."""
    simple, complex = projected[0] + weights.bias[0], projected[1] + weights.bias[1]
    look = weights.features.get
    for name, value in features(text, task).items():
        if (pair := look(name)) is not None:
            simple += value * pair[0]
            complex += value * pair[1]
    if not (math.isfinite(simple) and math.isfinite(complex)):
        return Complexity(0.0, 1.0, 0.0)  # a damaged embedding: nothing is known
    heat = weights.temperature
    return _shares(simple / heat, complex / heat, embedded=embedded)


def level(reading: Complexity, rules: RoutingRules) -> Level | None:
    """Return the level to act on; None if none is sure enough.

    Not the most probable one: a hard request answered by a cheap model is the costlier mistake, so
    SIMPLE also requires COMPLEX to be improbable.
    """
    if reading.complex >= rules.complex_from:
        return "COMPLEX"
    most = rules.simple_complex_most if reading.embedded else rules.words_complex_most
    if reading.simple >= rules.simple_from and reading.complex <= most:
        return "SIMPLE"
    if reading.medium >= max(reading.simple, reading.complex):
        return "MEDIUM"
    return None


def _shares(simple: float, complex: float, *, embedded: bool) -> Complexity:
    most = max(simple, complex, 0.0)
    odds = math.exp(simple - most), math.exp(-most), math.exp(complex - most)
    whole = sum(odds)
    return Complexity(odds[0] / whole, odds[1] / whole, odds[2] / whole, embedded)
