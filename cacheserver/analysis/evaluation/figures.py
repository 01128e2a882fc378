"""Figures of an evaluation, and the limits that they are held to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cacheserver.core.terminal.counts import counted
from cacheserver.core.terminal.question_pairs import QuestionPair
from cacheserver.matching.conformal_bound import wilson


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair, and whether the answer to its first question would be served to the second."""

    pair: QuestionPair
    served: bool
    reason: str  # as `x-cache-reason`

    @property
    def wrong(self) -> bool:
        return self.served and not self.pair.serves


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of pairs. `hits` includes `wrong`."""

    pairs: int
    same: int  # labelled: one answer serves both
    hits: int
    wrong: int
    reasons: dict[str, int]

    @property
    def hit_rate(self) -> float:
        """Share of the pairs that are served."""
        return self.hits / self.pairs

    @property
    def wrong_rate(self) -> float:
        """Share of the hits that are wrong: what a target bounds. 0 without a hit."""
        return self.wrong / self.hits if self.hits else 0.0

    @property
    def wrong_interval(self) -> tuple[float, float]:
        return wilson(self.wrong, self.hits)

    @property
    def found(self) -> float | None:
        """Share of the pairs with one answer that are served; None: there are none."""
        return (self.hits - self.wrong) / self.same if self.same else None

    @property
    def fooled(self) -> float | None:
        """Share of the pairs with two answers that are served; None: there are none."""
        different = self.pairs - self.same
        return self.wrong / different if different else None

    def as_json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "same": self.same,
            "hits": self.hits,
            "hit_rate": self.hit_rate,
            "wrong": self.wrong,
            "wrong_rate": self.wrong_rate,
            "wrong_interval": list(self.wrong_interval),
            "served_of_same": self.found,
            "served_of_different": self.fooled,
            "reasons": self.reasons,
        }


def count(judged: Sequence[Judged]) -> Figures:
    reasons = Counter(one.reason for one in judged)
    return Figures(
        pairs=len(judged),
        same=sum(one.pair.serves for one in judged),
        hits=sum(one.served for one in judged),
        wrong=sum(one.wrong for one in judged),
        reasons=dict(reasons.most_common()),
    )


def broken(figures: Figures, *, max_wrong: float | None, min_hits: float | None) -> list[str]:
    """Return a sentence for each limit that is not kept. A limit itself is kept."""
    found = []
    if max_wrong is not None and figures.wrong_rate > max_wrong:
        found.append(
            f"wrong: {figures.wrong} of {counted(figures.hits, 'hit')}, {figures.wrong_rate:.2%}; "
            f"--max-wrong allows {max_wrong:.2%}"
        )
    if min_hits is not None and figures.hit_rate < min_hits:
        found.append(
            f"hits: {figures.hits} of {counted(figures.pairs, 'pair')}, {figures.hit_rate:.2%}; "
            f"--min-hits asks for {min_hits:.2%}"
        )
    return found
