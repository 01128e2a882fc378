"""Labels from answers in prose: what the comparison says of pairs whose truth is known.

A line of a file is a JSON object: question_a, answer_a, question_b, answer_b, label (1: one answer
serves both questions) and source. The rates are the dials of `noise`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.calibration.answers.reader import AnswerReader, Rows, beside
from cacheserver.index.errors import Unreadable
from cacheserver.index.models import OnnxEmbedder
from cacheserver.languages.rules import languages
from cacheserver.matching.conformal_bound import wilson

GIVEN = Path("answers") / "pairs.jsonl"  # in a data folder
# Written for this project: those the comparison was tuned on, and those written after.
OWN = {name: Path(__file__).with_name(f"prose_{name}.jsonl") for name in ("tuned", "unseen")}
OUTCOMES: tuple[Outcome, ...] = ("same", "different", "open")
HEAD = f"{'answers in prose':<24} {'truth':<10} pairs  " + "  ".join(f"{o:<20}" for o in OUTCOMES)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two exchanges, and whether one answer serves both questions."""

    question_a: str
    answer_a: str
    question_b: str
    answer_b: str
    label: int
    source: str


@dataclass(frozen=True, slots=True)
class Counted:
    """Outcomes of the pairs of one set and label."""

    name: str
    label: int
    counts: Mapping[Outcome, int]

    @property
    def pairs(self) -> int:
        return sum(self.counts.values())


def measure(data: Path, embedder: Path) -> Iterator[Counted | str]:
    """Print the outcomes of each set that was found, then a line on second answers."""
    model = OnnxEmbedder(embedder)
    sets = {"given": data / GIVEN, **{f"own, {name}": path for name, path in OWN.items()}}
    own: list[Pair] = []
    for name, path in sets.items():
        if not path.exists():
            continue
        pairs = read(path)
        own += pairs if path in OWN.values() else []
        counts = asyncio.run(outcomes(pairs, model))
        for label in (1, 0):
            mine = [o for o, pair in zip(counts, pairs, strict=True) if pair.label == label]
            if mine:
                yield Counted(name, label, {o: mine.count(o) for o in OUTCOMES})
    first, again = confirmed(own, model)
    low, high = wilson(again, first)
    yield (
        f"of {first} pairs of other answers called different, with another wording {again} again "
        f"({again / max(1, first):.0%}, {low:.0%} to {high:.0%})"
    )


def line(counted: Counted) -> str:
    """One line under `HEAD`, Wilson's 95% intervals in brackets."""
    shares = []
    for outcome in OUTCOMES:
        count = counted.counts[outcome]
        low, high = wilson(count, counted.pairs)
        shares.append(f"{f'{count} [{100 * low:.0f}-{100 * high:.0f}%]':<20}")
    truth = "same" if counted.label else "different"
    return f"{counted.name:<24} {truth:<10} {counted.pairs:>5}  " + "  ".join(shares)


def read(path: Path) -> list[Pair]:
    """The pairs of a file of JSON lines."""
    return [Pair(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


async def outcomes(pairs: Iterable[Pair], embedder: OnnxEmbedder) -> list[Outcome]:
    """Compare the answers of each pair; open where an answer cannot be read."""

    async def embed(text: str) -> Rows | None:
        try:
            row: Rows = embedder.embed([text])[0]
        except Unreadable:
            return None
        return row

    answers = AnswerReader(embed, languages())
    counts: list[Outcome] = []
    for pair in pairs:
        stored = await answers.read(pair.question_a, _message(pair.answer_a))
        fresh = await answers.read(pair.question_b, _message(pair.answer_b))
        if stored is None or fresh is None:
            counts.append("open")
        else:
            counts.append(answers.outcome(fresh, [beside(fresh, stored, "")]))
    return counts


def confirmed(pairs: Sequence[Pair], embedder: OnnxEmbedder) -> tuple[int, int]:
    """Pairs of label 0 called different, and how many are again by another wording of answer a.

    The other wording is that of a pair of label 1 with the same question a.
    """
    wordings = {pair.question_a: pair.answer_b for pair in pairs if pair.label}
    first = [pair for pair in pairs if not pair.label and pair.question_a in wordings]
    again = [replace(pair, answer_a=wordings[pair.question_a]) for pair in first]
    counts = asyncio.run(outcomes([*first, *again], embedder))
    both = list(zip(counts[: len(first)], counts[len(first) :], strict=True))
    return (
        sum(one == "different" for one, _ in both),
        sum(one == other == "different" for one, other in both),
    )


def _message(text: str) -> bytes:
    return json.dumps({"content": [{"type": "text", "text": text}]}).encode()
