"""Questions that no answer of another stream serves.

Those of another stream have their intents. Those of a set of pairs have no known meaning: each is
its own, one a component of what the set calls the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scripts.evaluation import easy, halves
from scripts.evaluation.data import Folder, Question
from scripts.evaluation.meanings import UNLIKE, folded
from scripts.pairs.types import Pair

# CLINC150's bank and card intents are asked at BANKING77's desk too.
_SHARED = frozenset(("banking", "credit_cards"))
# Pair files by whose name a set of unlike questions is known.
_SETS = ("askubuntu", "qqp/tune")


def homes(folder: Folder, half: halves.Half) -> dict[str, list[Question]]:
    """The streams to learn on, the easy one among them; none shares a meaning with another."""
    found = {
        name: [one for one in listed if _apart(one)]
        for name, listed in folder.streams.items()
        if not name.endswith(", reworded")
    }
    chosen = easy.stream()
    return found | {"easy": [a for a in chosen if half in ("all", halves.side(a.text))]}


def strangers(folder: Folder, homes: Mapping[str, Sequence[Question]]) -> dict[str, list[Question]]:
    """Foreign questions by source: every stream but the easy one, and questions of pair sets."""
    found = {name: list(listed) for name, listed in homes.items() if name != "easy"}
    for name, pairs in folder.whole.items():
        if name.startswith(_SETS):
            found[name.split("/")[0]] = unlike(pairs)
    return {name: [_foreign(one, name) for one in listed] for name, listed in found.items()}


def unlike(pairs: Sequence[Pair]) -> list[Question]:
    """One question of each component of the pairs that are called the same."""
    root = halves.components((p.a, p.b) for p in pairs if p.label == 1)
    first: dict[str, str] = {}
    for text in _texts(pairs):
        first.setdefault(root(text), text)
    return [Question(text, folded(text), text) for text in first.values()]


def _texts(pairs: Sequence[Pair]) -> Iterable[str]:
    for pair in pairs:
        yield pair.a
        yield pair.b


def _foreign(one: Question, source: str) -> Question:
    """Give a question a meaning that no home has."""
    return replace(one, meaning=f"{source}: {one.meaning}")


def _apart(one: Question) -> bool:
    return one.domain not in _SHARED and one.intent not in UNLIKE
