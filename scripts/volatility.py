"""`scripts/train_volatility`: what the shipped weights reach, and what fitted ones would.

Prints precision and recall on the half of SituatedQA that no fit sees, and which intents of
Banking77 and CLINC150 are flagged. SituatedQA states no licence and a part of it comes from MS
MARCO (non-commercial), which the fit leaves out: `--output` is for those who hold the rights.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cacheserver.english.volatility.detector import detect_volatility
from cacheserver.english.volatility.drift_model import (
    SHIPPED,
    DriftModel,
    drift_probability,
    features,
    tokenize,
)
from cacheserver.matching.volatility import Volatility

_MIN_COUNT = 5  # 3 gains .003 of AUC for twice the words
_DECAY = 1.0  # of 0.1, 0.3 and 1 (inverse), the best AUC; steps until the loss stands still
_STEPS = 600


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    depends: bool
    source: str | None


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/train_volatility", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the sets")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the fitted weights, JSON"
    )
    args = parser.parse_args()
    learned = None
    for name in ("temp", "geo"):
        questions = _questions(args.data / "situatedqa" / f"id_{name}.train.jsonl")
        seen = [q for q in questions if not _held_out(q) and q.source != "marco"]
        unseen = [q for q in questions if _held_out(q)]
        fitted = fit(seen, threshold=0.8)
        learned = learned or fitted
        print(f"id_{name}: fitted on {len(seen)}, {len(fitted.weights)} features")
        if name == "temp":
            shipped = [(drift_probability(_words(q.text), SHIPPED), q.depends) for q in unseen]
            _report("shipped", shipped, SHIPPED.threshold)
        _report("fitted", [(_fitted(q.text, fitted), q.depends) for q in unseen], fitted.threshold)
        _flags(f"  cues only, {len(unseen)}", unseen, lambda v: v.cue not in (None, "drift"))
        _flags("  all that ships", unseen, lambda v: v.kind != "stable")
    for path in ("banking77/train.tsv", "clinc150/train.tsv", "clinc150/val.tsv"):
        _intents(args.data / path)
    if args.output and learned:
        kept = {word: round(weight, 3) for word, weight in learned.weights.items()}
        fields = {"bias": learned.bias, "threshold": learned.threshold, "weights": kept}
        args.output.write_text(json.dumps(fields, indent=0, sort_keys=True) + "\n")


def fit(questions: Sequence[Question], threshold: float) -> DriftModel:
    """Fit a logistic regression with an L2 penalty over words and pairs. Deterministic."""
    rows = [features(_words(q.text)) for q in questions]
    counts = Counter(feature for row in rows for feature in row)
    names = sorted(feature for feature, count in counts.items() if count >= _MIN_COUNT)
    at = {feature: column for column, feature in enumerate(names)}
    x = np.zeros((len(rows), len(names) + 1), np.float32)
    x[:, -1] = 1.0  # the bias, which bears no penalty
    for number, row in enumerate(rows):
        x[number, [at[feature] for feature in row if feature in at]] = 1.0
    y = np.array([q.depends for q in questions], np.float32)
    penalty = np.full(len(names) + 1, 1.0 / _DECAY, np.float32)
    penalty[-1] = 0.0
    weights = np.zeros(len(names) + 1, np.float32)
    ahead, pace = weights.copy(), 1.0
    step = 1.0 / (0.25 * np.linalg.norm(x, 2) ** 2 + 1.0 / _DECAY)  # of the loss's curvature
    for _ in range(_STEPS):  # Nesterov's method: plain descent takes ten times the steps
        slope = x.T @ (1 / (1 + np.exp(-(x @ ahead))) - y) + penalty * ahead
        after = ahead - step * slope
        next_pace = (1 + (1 + 4 * pace * pace) ** 0.5) / 2
        ahead = after + (pace - 1) / next_pace * (after - weights)
        weights, pace = after, next_pace
    return DriftModel(
        bias=float(weights[-1]),
        threshold=threshold,
        weights={name: float(weight) for name, weight in zip(names, weights, strict=False)},
    )


def _questions(path: Path) -> list[Question]:
    with path.open() as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Question(row["question"], row["is_dependent"] == "yes", row.get("source_dataset"))
        for row in rows
    ]


def _held_out(question: Question) -> bool:
    return zlib.crc32(question.text.lower().encode()) % 2 == 1


def _words(text: str) -> list[str]:
    return tokenize(text.lower())


def _fitted(text: str, model: DriftModel) -> float:
    """Return the probability for any text, without the limits of `drift_probability`."""
    odds = model.bias + sum(model.weights.get(f, 0.0) for f in features(_words(text)))
    return 1.0 / (1.0 + math.exp(-odds))


def _report(model: str, scored: Sequence[tuple[float, bool]], bar: float) -> None:
    bars = sorted({bar, 0.5, 0.7, 0.9})
    parts = [f"bar {bar}: {_of((s >= bar, y) for s, y in scored)}" for bar in bars]
    print(f"  {model:<7} AUC {_auc(scored):.3f}  " + "  ".join(parts))


def _flags(
    label: str, questions: Sequence[Question], flagged: Callable[[Volatility], bool]
) -> None:
    print(f"{label}: {_of((flagged(detect_volatility(q.text)), q.depends) for q in questions)}")


def _of(pairs: Iterable[tuple[bool, bool]]) -> str:
    rows = list(pairs)
    named = [depends for flagged, depends in rows if flagged]
    every = sum(depends for _, depends in rows)
    return f"P {sum(named) / max(1, len(named)):.3f} R {sum(named) / every:.3f}"


def _auc(scored: Sequence[tuple[float, bool]]) -> float:
    order = sorted(scored)
    values = np.array([score for score, _ in order])
    lowest = np.searchsorted(values, values, "left")
    highest = np.searchsorted(values, values, "right")
    ranks = (lowest + highest + 1) / 2  # equals share their mean rank
    positive = np.array([depends for _, depends in order])
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(order) - n)))


def _intents(path: Path) -> None:
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    of_intent = Counter(row["intent"] for row in rows)
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    took: list[float] = []
    for row in rows:
        started = time.perf_counter()
        found = detect_volatility(row["query"])
        took.append((time.perf_counter() - started) * 1e6)
        if found.kind != "stable":
            kinds[row["intent"]]["drift" if found.cue == "drift" else found.kind] += 1
    every = Counter({k: sum(c[k] for c in kinds.values()) for k in ("time", "drift")})
    every.update({k: sum(c[k] for c in kinds.values()) for k in ("place", "personal")})
    shares = ", ".join(f"{kind} {count / len(rows):.2%}" for kind, count in every.items())
    p99 = statistics.quantiles(took, n=100)[-1]
    print(f"{path.parent.name}/{path.name}: {len(rows)} texts, {shares}")
    print(f"  p50 {statistics.median(took):.1f} us, p99 {p99:.1f} us")
    flagged = {intent: found.total() / of_intent[intent] for intent, found in kinds.items()}
    for intent in sorted(flagged, key=lambda name: -flagged[name]):
        if flagged[intent] >= 0.05:
            print(f"  {intent:<46} {flagged[intent]:>4.0%}  {dict(kinds[intent])}")


if __name__ == "__main__":
    main()
