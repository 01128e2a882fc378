"""The labelled routing set: its size, its balance, and that the halves share no wording."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from scripts import routing

HERE = Path(routing.__file__).parent
HALVES = ("train", "test")
LABELS = {"SIMPLE", "MEDIUM", "COMPLEX"}
KINDS = {
    "analysis",
    "classification",
    "code",
    "extraction",
    "general_chat",
    "math",
    "planning",
    "reasoning",
    "short_qa",
    "summarisation",
    "support",
    "translation",
    "writing",
}
Text: TypeAlias = str | tuple[str, ...]

UNKNOWN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\(?![n\\])")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row as it stands in the file: line breaks still escaped."""

    prompt: str
    label: str
    kind: str


def read(half: str) -> list[Labelled]:
    lines = (HERE / f"prompts_{half}.tsv").read_bytes().decode("utf-8").split("\n")
    assert lines[0] == "prompt\tlabel\tkind"
    assert lines[-1] == "", "the last row ends with a line break"
    return [Labelled(*line.split("\t")) for line in lines[1:-1]]


def words(prompt: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", prompt.replace("\\n", " ").lower()))


def closest(one: Sequence[Text], other: Sequence[Text]) -> tuple[float, int, int]:
    """The largest Jaccard similarity of any pair by runs of four, and the places of that pair.

    Runs are of characters or of words; a shorter text is one run.
    """
    runs = [
        {text[i : i + 4] for i in range(max(1, len(text) - 3))}
        for text in itertools.chain(one, other)
    ]
    place = {run: column for column, run in enumerate(set().union(*runs))}
    has = np.zeros(
        (len(runs), len(place)), np.float32
    )  # half a million pairs: one product, not sets
    for row, found in enumerate(runs):
        has[row, [place[run] for run in found]] = 1
    shared = has[: len(one)] @ has[len(one) :].T
    sizes = has.sum(axis=1)
    jaccard = shared / (sizes[: len(one), None] + sizes[None, len(one) :] - shared)
    i, j = divmod(int(jaccard.argmax()), len(other))
    return float(jaccard[i, j]), i, j


@pytest.mark.parametrize("half", HALVES)
def test_a_half_has_enough_of_every_label(half: str) -> None:
    counts = Counter(row.label for row in read(half))
    assert set(counts) == LABELS
    assert min(counts.values()) >= 210
    assert counts.total() >= 660


@pytest.mark.parametrize("half", HALVES)
def test_every_row_has_a_known_kind_and_every_kind_occurs(half: str) -> None:
    assert {row.kind for row in read(half)} == KINDS


@pytest.mark.parametrize("half", HALVES)
def test_no_kind_gives_its_label_away(half: str) -> None:
    labels: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for row in read(half):
        labels[row.kind].add(row.label)
    assert all(found == LABELS for found in labels.values())


@pytest.mark.parametrize("half", HALVES)
def test_a_prompt_is_one_line_of_known_escapes_without_loose_spaces(half: str) -> None:
    for prompt in (row.prompt for row in read(half)):
        assert prompt
        assert prompt == prompt.strip()
        assert prompt.isprintable()
        assert not UNKNOWN_ESCAPE.search(prompt), prompt


@pytest.mark.parametrize("half", HALVES)
def test_length_does_not_decide_the_label(half: str) -> None:
    """Long prompts are SIMPLE and short ones COMPLEX often enough to be felt."""
    rows = read(half)
    assert sum(len(r.prompt) > 300 for r in rows if r.label == "SIMPLE") >= 5
    assert sum(len(r.prompt) < 80 for r in rows if r.label == "COMPLEX") >= 20


def test_no_prompt_occurs_twice_within_or_across_the_halves() -> None:
    seen = Counter(" ".join(words(row.prompt)) for half in HALVES for row in read(half))
    assert [prompt for prompt, times in seen.items() if times > 1] == []


def test_no_prompt_of_one_half_rewords_one_of_the_other() -> None:
    """By runs of four characters, which sees a changed word order less and a changed word more."""
    train, held_out = ([" ".join(words(r.prompt)) for r in read(half)] for half in HALVES)
    similarity, i, j = closest(train, held_out)
    assert similarity < 0.5, (train[i], held_out[j])


def test_the_halves_share_hardly_any_run_of_four_words() -> None:
    train, held_out = ([words(r.prompt) for r in read(half)] for half in HALVES)
    similarity, i, j = closest(train, held_out)
    assert similarity < 0.5, (train[i], held_out[j])
