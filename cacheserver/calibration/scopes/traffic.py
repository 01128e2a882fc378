"""Traffic of scopes, and the curve of wrong hits against the hit rate. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from cacheserver.cache.store.decision_filters import Rows
from cacheserver.cache.store.decision_index import ABSENT, MILLIONTHS, UNKNOWN, digest, short
from cacheserver.calibration.what_if_rules import LabelledCandidate
from cacheserver.core.ledger_row import OUTCOMES
from cacheserver.core.money import usd
from cacheserver.matching.conformal_bound import wilson

_EXACT: Final = ("exact", "coalesced", "stale")  # hits whatever the bar is
_POINTS: Final = 50  # of a curve: more cannot be told apart on a screen
_RATES: Final = ("wrong_rate", "wrong_low", "wrong_high")
NO_SCOPE: Final = digest("")  # of requests that similarity is not used for


@dataclass(frozen=True, slots=True)
class Traffic:
    """Sums of a scope's decisions of the last day."""

    counts: dict[str, int] = field(default_factory=dict)  # by outcome
    cost: int = 0
    saved: int = 0
    newest: str | None = None  # id of the last decision

    @property
    def requests(self) -> int:
        return sum(self.counts.values())

    @property
    def eligible(self) -> int:
        """Return the number of requests that could have been hits."""
        return self.requests - self.counts.get("bypass", 0) - self.counts.get("failed", 0)

    def as_json(self) -> dict[str, Any]:
        hits = sum(self.counts.get(kind, 0) for kind in (*_EXACT, "semantic"))
        return {
            "requests": self.requests,
            **{kind: self.counts.get(kind, 0) for kind in OUTCOMES if kind != "background"},
            "hit_rate": round(hits / self.eligible, 6) if self.eligible else None,
            "cost_usd": usd(self.cost),
            "saved_usd": usd(self.saved),
        }


def by_scope(rows: Rows) -> dict[int, Traffic]:
    """Return the traffic of each scope by its digest. `rows` are newest first."""
    marks, firsts, which = np.unique(rows["scope"], return_index=True, return_inverse=True)
    counts = {
        kind: np.bincount(which[rows["outcome"] == short(kind)], minlength=len(marks))
        for kind in OUTCOMES
    }
    cost, saved = np.zeros(len(marks), dtype=np.int64), np.zeros(len(marks), dtype=np.int64)
    np.add.at(cost, which, np.where(rows["cost"] == UNKNOWN, 0, rows["cost"]))
    np.add.at(saved, which, rows["saved"])
    return {
        int(mark): Traffic(
            {kind: int(found[at]) for kind, found in counts.items() if found[at]},
            int(cost[at]),
            int(saved[at]),
            rows["id"][firsts[at]].decode(),
        )
        for at, mark in enumerate(marks)
        if int(mark) != NO_SCOPE
    }


def curve(
    rows: Rows, traffic: Traffic, name: str, labels: Sequence[LabelledCandidate]
) -> list[dict[str, Any]]:
    """Return points from the strictest bar to the loosest, each at a score that occurs.

    `rows` are the scope's decisions, `name` is `similarity` or `probability`. `hit_rate` is of the
    day's requests, by the nearest candidate of each: a hit of the second nearest is not foreseen.
    Wrong hits are estimated by `labels`, with an interval; null where none reaches the bar.
    """
    open_ = rows["veto"] == 0
    for kind in _EXACT:
        open_ &= rows["outcome"] != short(kind)
    scores = np.sort(rows[name][open_ & (rows[name] != ABSENT)]) / MILLIONTHS
    bars = np.unique(np.round([*scores, *(one.score for one in labels)], 6))
    if len(bars) > _POINTS:
        bars = bars[np.linspace(0, len(bars) - 1, _POINTS).round().astype(int)]
    always = sum(traffic.counts.get(kind, 0) for kind in _EXACT)
    wrong = _WrongHits(labels)
    points = []
    for bar in bars[::-1]:
        reached = float(bar) - 0.5 / MILLIONTHS  # as rounded
        hits = always + int(len(scores) - np.searchsorted(scores, reached))
        points.append(
            {
                "bar": float(bar),
                "hits": hits,
                "hit_rate": round(hits / traffic.eligible, 6) if traffic.eligible else None,
                **wrong.at(reached),
            }
        )
    return points


class _WrongHits:
    """Wrong share of the labels that reach a bar: as `what_if_rules.rate`, for many bars at once.

    Each sum is over a score and all above it.
    """

    def __init__(self, labels: Sequence[LabelledCandidate]) -> None:
        judged = sorted((one for one in labels if one.right is not None), key=lambda one: one.score)
        weight = np.array([one.weight for one in judged])
        missed = np.array([not one.right for one in judged], dtype=float)
        self._scores = [one.score for one in judged]
        self._sums = [
            np.append(np.cumsum(amount[::-1])[::-1], 0.0)
            for amount in (weight, weight**2, weight * missed, missed)
        ]

    def at(self, bar: float) -> dict[str, Any]:
        first = bisect_left(self._scores, bar)
        count = len(self._scores) - first
        if not count:
            return {"labels": 0, "wrong": 0, **dict.fromkeys(_RATES)}
        weight, squares, missed, wrong = (float(found[first]) for found in self._sums)
        share, effective = missed / weight, weight * weight / squares
        rates = (share, *wilson(share * effective, effective))
        shown = {name: round(value, 6) for name, value in zip(_RATES, rates, strict=True)}
        return {"labels": count, "wrong": round(wrong), **shown}
