"""Two halves of every set: constants are chosen on one and figures reported on the other.

Streams are split by text. Pairs are split by connected component of their questions, so that no
question stands on both sides. The side is a hash of the text: the same in every run and machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from scripts.evaluation.data import Folder
from scripts.evaluation.meanings import folded
from scripts.pairs.types import Pair

Half: TypeAlias = Literal["tune", "report", "all"]


def side(text: str) -> Half:
    """The half of a question; the same for texts that differ in case and blanks only."""
    first = hashlib.sha256(folded(text).encode()).digest()[0]
    return "tune" if first % 2 else "report"


def of(folder: Folder, half: Half) -> Folder:
    """The folder with one half of each set; logs have no labels and stay whole."""
    if half == "all":
        return folder
    return replace(
        folder,
        pairs={name: of_pairs(listed, half) for name, listed in folder.pairs.items()},
        streams={
            name: [one for one in listed if side(one.text) == half]
            for name, listed in folder.streams.items()
        },
        whole={name: of_pairs(listed, half) for name, listed in folder.whole.items()},
        attacks={name: of_pairs(listed, half) for name, listed in folder.attacks.items()},
    )


def of_pairs(pairs: Sequence[Pair], half: Half) -> list[Pair]:
    """The pairs whose component lies in the half."""
    if half == "all":
        return list(pairs)
    root = components((p.a, p.b) for p in pairs)
    return [p for p in pairs if side(root(p.a)) == half]


def components(edges: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """The least folded text of a question's connected component, by question."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        text = folded(text)
        while parent.setdefault(text, text) != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for a, b in edges:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return root
