"""Near misses and paraphrases by class, each pair in a namespace of its own, default settings.

A near miss that is served is a wrong answer. Of the paraphrases those count that the twin rule
calls one question: where nothing is learned they are what can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.matching.conformal_bound import wilson
from scripts.evaluation.cold import Judged

ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """One class of one set, one way to decide."""

    name: str
    way: str
    kind: str  # class, or `ALL`
    label: int
    pairs: int
    served: int
    interval: tuple[float, float]  # Wilson, 95%
    twins: int = 0  # pairs that the twin rule calls one question
    twins_served: int = 0
    wrong: Sequence[tuple[str, str]] = ()  # near misses that were served


def rows(name: str, way: str, judged: Sequence[Judged]) -> list[Row]:
    """Near misses by class, then paraphrases by class; each kind of pair as a whole last."""
    made: list[Row] = []
    for label in (0, 1):
        chosen = [one for one in judged if one.label == label]
        for kind in sorted({one.source for one in chosen}):
            made.append(_row(name, way, kind, label, [o for o in chosen if o.source == kind]))
        made.append(_row(name, way, ALL, label, chosen))
    return [row for row in made if row.pairs]


def _row(name: str, way: str, kind: str, label: int, judged: Sequence[Judged]) -> Row:
    served = [one for one in judged if one.served]
    twins = [one for one in judged if one.twin]
    return Row(
        name=name,
        way=way,
        kind=kind,
        label=label,
        pairs=len(judged),
        served=len(served),
        interval=wilson(len(served), len(judged)),
        twins=len(twins),
        twins_served=sum(one.served for one in twins),
        wrong=() if label else [(one.a, one.b) for one in served],
    )


HEAD = (
    f"{'attack':<28}{'way':<22}{'class':<24}{'pairs':>6}{'served':>8}  {'95%':<16}"
    f"{'twins':>6}{'served':>8}"
)


def line(row: Row) -> str:
    """A row of the table: pairs in counts, the interval in percent."""
    kind = ("near miss: " if row.label == 0 else "paraphrase: ") + row.kind
    low, high = row.interval
    interval = f"[{100 * low:.1f}, {100 * high:.1f}]"
    return (
        f"{row.name:<28}{row.way:<22}{kind:<24}{row.pairs:>6}{row.served:>8}  {interval:<16}"
        f"{row.twins:>6}{row.twins_served:>8}"
    )
