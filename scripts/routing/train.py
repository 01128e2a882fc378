"""Trains the complexity classifier on prompts written for it, and holds it against the test half.

Train: `prompts_train.tsv`; `own_*.txt`, written beside the features; and `later_*.txt`, written
after reading which prompts of the train half went wrong. Settings and temperatures come from folds
of the train half without the latter, which would flatter them. The test half is read by `--score`
only.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np

from cacheserver.core.rules.routing import RoutingRules
from cacheserver.index.errors import IndexingError
from cacheserver.index.models import OnnxEmbedder
from cacheserver.routing import complexity
from cacheserver.routing.complexity import Weights
from cacheserver.routing.task_inference import infer_task
from scripts.routing import keywords
from scripts.routing.fitting import (
    LEVELS,
    Example,
    Fitted,
    Matrix,
    Settings,
    calibration_error,
    softmax,
    temperature,
)

HERE = Path(__file__).parent
WITH_VECTOR = Settings(vector_l2=0.1, word_l2=1.0)
WITHOUT = Settings(word_l2=1.0)
OWN_WEIGHT = 0.6  # by another hand than the halves
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a way of deciding, and how it did."""

    name: str
    right: float
    recall: tuple[float, float, float]
    complex_to_low: float  # share of COMPLEX called SIMPLE
    unsure: float = 0.0  # share that went to the middle for want of confidence
    error: float | None = None  # of the confidence


class Vectors:
    """Embeddings as the server makes them; None where its window is too short for the text."""

    def __init__(self, model: Path) -> None:
        self._embedder = OnnxEmbedder(model)

    def give(self, examples: Sequence[Example]) -> list[Example]:
        return [replace(e, vector=self._one(e.prompt)) for e in examples]

    def _one(self, text: str) -> Matrix | None:
        try:
            row: Matrix = self._embedder.embed([text])[0].astype(np.float64)
            return row
        except IndexingError:
            return None


def half(name: str) -> list[Example]:
    """The prompts of one half; `\\n` stands for a line break."""
    with (HERE / f"prompts_{name}.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Example(r["prompt"].replace("\\n", "\n"), r["label"], r["kind"]) for r in rows]


def own(kind: str = "own") -> list[Example]:
    """Prompts written beside the features, one a line, in a file for each label."""
    return [
        Example(line.replace("\\n", "\n"), label, kind, OWN_WEIGHT)
        for label in LEVELS
        for line in (HERE / f"{kind}_{label.lower()}.txt").read_text().splitlines()
        if line.strip()
    ]


def desk_examples(data: Path, rows: int, seed: int) -> list[Example]:
    """Questions to a help desk and to an assistant, of BANKING77 and CLINC150: a look at reality.

    Nobody has labelled them by difficulty; nearly all of them are one step from an answer.
    """
    chosen: list[Example] = []
    for path in (data / "banking77/train.tsv", data / "clinc150/train.tsv"):
        with path.open(newline="") as file:
            texts = {
                row["query"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            }
        picked = Random(seed).sample(sorted(texts), rows)
        chosen += [Example(text, "SIMPLE", "support") for text in picked]
    return chosen


def folds(
    examples: Sequence[Example], more: Sequence[Example], settings: Settings, *, vector: bool
) -> Matrix:
    """Logits of each example by a fit that has not seen it; `more` is in every fit."""
    found = np.zeros((len(examples), 3))
    order = np.random.default_rng(1).permutation(len(examples))
    for fold in range(FOLDS):
        out = set(order[fold::FOLDS].tolist())
        seen = [e for i, e in enumerate(examples) if i not in out]
        fit = Fitted([*seen, *more], vector=vector, settings=settings)
        for i in sorted(out):
            found[i] = fit.logits([examples[i]])[0]
    return found


def judged(
    name: str, shares: Matrix, examples: Sequence[Example], rules: RoutingRules, *, embedded: bool
) -> Row:
    """Compare the levels that `rules` derive from calibrated shares with the labels."""
    found = levels(shares, rules, embedded=embedded)
    row = counted(name, [one or "MEDIUM" for one in found], examples)
    labels = [e.label for e in examples]
    return replace(
        row, unsure=found.count(None) / len(found), error=calibration_error(shares, labels)
    )


def levels(shares: Matrix, rules: RoutingRules, *, embedded: bool) -> list[complexity.Level | None]:
    """Return the level the server would act on for each row; None where it is not sure."""
    return [
        complexity.level(complexity.Complexity(simple, medium, hard, embedded), rules)
        for simple, medium, hard in shares.tolist()
    ]


def counted(name: str, found: Sequence[str], examples: Sequence[Example]) -> Row:
    labels = [e.label for e in examples]
    pairs = list(zip(labels, found, strict=True))
    recall = [sum(p == (k, k) for p in pairs) / labels.count(k) for k in LEVELS]
    low = pairs.count(("COMPLEX", "SIMPLE")) / labels.count("COMPLEX")
    right = sum(a == b for a, b in pairs) / len(pairs)
    return Row(name, right, (recall[0], recall[1], recall[2]), low)


def shipped(examples: Sequence[Example], with_vector: Weights, without: Weights) -> Matrix:
    """Shares as the server computes them."""
    read = [
        complexity.read(
            e.prompt, infer_task({}, e.prompt), e.vector, with_vector=with_vector, without=without
        )
        for e in examples
    ]
    return np.array([[r.simple, r.medium, r.complex] for r in read])


def table(rows: Sequence[Row]) -> str:
    """A Markdown table; shares in per cent."""
    lines = [
        "| decided by | right | SIMPLE | MEDIUM | COMPLEX | COMPLEX to low | unsure | off by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = (row.right, *row.recall, row.complex_to_low, row.unsure)
        cells = [f"{100 * share:.1f}" for share in shares]
        error = "" if row.error is None else f"{100 * row.error:.1f}"
        lines.append(f"| {row.name} | {' | '.join(cells)} | {error} |")
    return "\n".join(lines)


def baseline(examples: Sequence[Example]) -> Row:
    """The keyword heuristic, its four tiers brought to three."""
    return counted("keywords", [keywords.level(e.prompt) for e in examples], examples)


def calibrated(logits: Matrix, examples: Sequence[Example]) -> tuple[Matrix, float]:
    heat = temperature(logits, [e.label for e in examples])
    return softmax(logits / heat), heat
