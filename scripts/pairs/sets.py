"""The public sets, read from the folder given as `--data`, and leakage-safe splits of them."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

from scripts.pairs.types import Pair

HARD = 0.6  # 4-gram Jaccard from which a QQP pair is one that a similarity threshold lets through


def rows(path: Path) -> Iterator[Mapping[str, str]]:
    """Rows of a tab-separated file with a header and no quoting."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def read(path: Path, source: str, *, by: str | None = None) -> list[Pair]:
    """Labelled pairs of a file; `by` names a column to put behind the source, "set:value"."""
    return [
        Pair(
            row["query_a"],
            row["query_b"],
            int(row["label"]),
            source if by is None else f"{source}:{row[by]}",
        )
        for row in rows(path)
    ]


def read_qqp(path: Path, *, hard: bool | None = None) -> list[Pair]:
    """QQP pairs; `hard` keeps only the near-identical ones, or only the others."""
    kept = []
    for row in rows(path):
        is_hard = float(row["char4_jaccard"]) >= HARD
        if hard is None or hard is is_hard:
            source = "qqp:hard" if is_hard else "qqp:easy"
            kept.append(Pair(row["query_a"], row["query_b"], int(row["label"]), source))
    return kept


def split_by_component(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """(rest, about `share` of the pairs) with no question on both sides.

    Questions that occur in one pair stay together, transitively; the choice is by a stable
    order of the components, so it is the same in every run.
    """
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while parent.setdefault(text, text) != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        parent[root(pair.a)] = root(pair.b)
    components: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        components[root(pair.a)].append(pair)
    order = sorted(components, key=lambda text: min(p.a for p in components[text]))
    Random(0).shuffle(order)
    rest: list[Pair] = []
    taken: list[Pair] = []
    for text in order:
        group = components[text]
        # A component too large for the share would drag most of the set along.
        small = len(group) <= 50 and len(taken) < share * len(pairs)
        (taken if small else rest).extend(group)
    return rest, taken
