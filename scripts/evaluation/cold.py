"""Pairs in a scope that has learned nothing: one question stored, the other asked.

Default settings. Each pair is a namespace of its own, and is served if it is in either direction.
Rows are without the pairs that the twin rule of this version calls one question, which say how
strict that rule is; those with them say so. An earlier version's figures (`--json`) are held to the
same pairs, whatever its own twin rule was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cacheserver.languages.rules import languages
from cacheserver.matching.conformal_bound import wilson
from cacheserver.matching.language import Language
from cacheserver.matching.prior import Prior
from cacheserver.matching.question_text import matched_text
from scripts.evaluation import baselines
from scripts.evaluation.data import Malformed, Question
from scripts.evaluation.meanings import folded
from scripts.evaluation.stream import Replay, Settings, Traffic
from scripts.evaluation.vectors import Embeddings, Vectors
from scripts.pairs.types import Pair

PAIRS = 2_500  # of a larger set every n-th; more change no figure by two points
OURS, BEFORE = "ours", "before"
_THRESHOLDS = {baselines.named(at): at for at in baselines.PLAIN} | {
    f"GPTCache {baselines.GPTCACHE:.2f}": baselines.GPTCACHE,
}
# Sets that nothing shipped was fitted on.
SETS = ("qqp/tune", "kmemo", "askubuntu", "gptcache", "own/")


@dataclass(frozen=True, slots=True)
class Judged:
    """One pair and whether its answer was served, in either direction."""

    a: str
    b: str
    label: int
    served: bool
    twin: bool  # by the rule of this version
    source: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One set and one way to decide."""

    name: str
    way: str
    paraphrases: int
    near_misses: int
    kept: float  # share of the paraphrases served
    kept_interval: tuple[float, float]  # Wilson, 95%
    served: float  # share of the near misses served
    served_interval: tuple[float, float]
    twins: int = 0  # pairs left out, or among them where the way says so
    pairs: Sequence[Judged] = ()  # of ours, twins too: to compare versions by


def chosen(
    sets: Mapping[str, Sequence[Pair]], *, most: int = PAIRS
) -> Iterator[tuple[str, list[Pair]]]:
    """The sets to report, and of each the pairs to judge: the same whatever the twin rule says."""
    for name, listed in sets.items():
        if name.startswith(SETS):
            different = [p for p in listed if folded(p.a) != folded(p.b)]
            yield name, different[:: max(1, len(different) // most)]


def earlier(path: Path) -> dict[str, list[Judged]]:
    """Read judged pairs by set from a file that `--json` wrote. Raises `Malformed`."""
    try:
        rows = json.loads(path.read_text())["cold"]
        return {
            row["name"]: [Judged(**pair) for pair in row["pairs"]] for row in rows if row["pairs"]
        }
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise Malformed(f"`{path}`: no figures of the part `cold`") from problem


def judged(
    listed: Sequence[Pair], embeddings: Embeddings, settings: Settings
) -> dict[str, list[Judged]]:
    """Judge each pair by the serving decision in both directions, and by plain thresholds.

    Ours sees of a text what similarity sees in the service; what that is exact only is not served.
    A threshold's similarity is the same in either. vCache has no row: it asks anew until an entry
    has been seen often enough.
    """
    language = languages()
    seen = [_seen(pair, language) for pair in listed]
    embeddings.prepare(text for pair in seen if pair is not None for text in (pair.a, pair.b))
    twins = [pair is not None and twin(pair.a, pair.b, language) for pair in seen]
    found: dict[str, list[Judged]] = {
        OURS: [
            _judged(pair, as_seen is not None and _either(as_seen, embeddings, settings), same)
            for pair, as_seen, same in zip(listed, seen, twins, strict=True)
        ]
    }
    rows = embeddings.of([text for p in listed for text in (p.a, p.b)]).reshape(len(listed), 2, -1)
    found_cosines = np.einsum("ij,ij->i", rows[:, 0], rows[:, 1])
    near = [embeddings.prior.scale(float(cosine)) for cosine in found_cosines]
    for way, at in _THRESHOLDS.items():
        found[way] = [
            _judged(pair, bool(cosine >= at), same)
            for pair, cosine, same in zip(listed, near, twins, strict=True)
        ]
    return found


def _seen(pair: Pair, language: Language) -> Pair | None:
    """Return the normalised pair; None if one text is matched exactly only."""
    a, b = matched_text(pair.a, language)[0], matched_text(pair.b, language)[0]
    return None if a is None or b is None else replace(pair, a=a, b=b)


def _either(pair: Pair, embeddings: Embeddings, settings: Settings) -> bool:
    rows = embeddings.of((pair.a, pair.b))
    ways = ((0, 1), (1, 0))
    return any(_served(pair, rows, way, settings, embeddings.prior) for way in ways)


def twin(a: str, b: str, language: Language) -> bool:
    """Return True if the twin rule calls two texts one question, in either order."""
    one, other = language.profile(a), language.profile(b)
    compared = (language.compare(one, other), language.compare(other, one))
    return any(found is not None and language.are_twins(found) for found in compared)


def all_of(sets: Mapping[str, Sequence[Judged]]) -> list[Judged]:
    """The pairs of all sets; where a set has a cleaned slice, of that one only."""
    return [
        one for name, judged in sets.items() if f"{name}, cleaned" not in sets for one in judged
    ]


def rows(name: str, way: str, judged: Sequence[Judged]) -> list[Row]:
    """The figures without twins and, for ours, with them."""
    found = [_row(name, way, [one for one in judged if not one.twin], judged)]
    if way in (OURS, BEFORE):
        found.append(_row(name, f"{way}, with twins", judged, judged))
    if way == OURS:
        found[1] = replace(found[1], pairs=tuple(judged))
    return found


def _row(name: str, way: str, chosen: Sequence[Judged], judged: Sequence[Judged]) -> Row:
    good = [one.served for one in chosen if one.label == 1]
    bad = [one.served for one in chosen if one.label == 0]
    return Row(
        name=name,
        way=way,
        paraphrases=len(good),
        near_misses=len(bad),
        kept=sum(good) / max(1, len(good)),
        kept_interval=wilson(sum(good), len(good)),
        served=sum(bad) / max(1, len(bad)),
        served_interval=wilson(sum(bad), len(bad)),
        twins=sum(one.twin for one in judged),
    )


HEAD = (
    f"{'cold pairs':<28}{'way':<22}{'paraphrases':>12}{'served':>8}  {'95%':<16}{'near misses':>12}"
    f"{'served':>8}  {'95%':<16}twins"
)


def line(row: Row) -> str:
    """A row of the table, shares in percent."""
    return (
        f"{row.name:<28}{row.way:<22}{row.paraphrases:>12}{100 * row.kept:>8.2f}  "
        f"{_interval(row.kept_interval):<16}{row.near_misses:>12}{100 * row.served:>8.2f}  "
        f"{_interval(row.served_interval):<16}{row.twins}"
    )


def _served(
    pair: Pair, rows: Vectors, way: tuple[int, int], settings: Settings, prior: Prior
) -> bool:
    """Return True if a scope that holds the first question serves the second."""
    texts = (pair.a, pair.b)
    questions = [Question(texts[side], texts[side], texts[side]) for side in way]
    replay = Replay(Traffic(questions, rows[list(way)], prior), settings, 1)
    replay.ask(0)
    return replay.peek(1).serve is not None


def _judged(pair: Pair, served: bool, same: bool) -> Judged:
    return Judged(pair.a, pair.b, pair.label, served, same, pair.source)


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
