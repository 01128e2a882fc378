"""Traffic of scopes, and what other bars would make of it: hits, money, wrong hits. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cacheserver.cache.store.decision_filters import Rows
from cacheserver.cache.store.decision_index import ABSENT, MILLIONTHS, UNKNOWN, digest, short
from cacheserver.cache.store.decision_scripts import DECISION_S
from cacheserver.calibration.what_if_rules import LabelledCandidate
from cacheserver.core.ledger_row import OUTCOMES
from cacheserver.core.money import usd
from cacheserver.matching.conformal_bound import wilson

_EXACT: Final = ("exact", "coalesced", "stale")  # hits whatever the bar is
_POINTS: Final = 50  # of a curve: more cannot be told apart on a screen
_RATES: Final = ("wrong_rate", "wrong_low", "wrong_high")
_PLACE_BITS: Final = 32  # as many as a score has
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


def served(rows: Rows, traffic: Traffic) -> dict[str, Any]:
    """Return the hits as they were, and what they saved: without what misses saved otherwise."""
    hit = np.isin(rows["outcome"], [short(kind) for kind in (*_EXACT, "semantic")])
    hits = int(hit.sum())
    return {
        "hits": hits,
        "hit_rate": round(hits / traffic.eligible, 6) if traffic.eligible else None,
        "saved_usd": usd(int(rows["saved"][hit].sum())),
    }


def covered_s(since: float, now: float) -> int:
    """Return how many seconds of the last day records cover that begin at `since`."""
    return max(0, min(DECISION_S, round(now - since)))


class Bars:
    """Outcomes of a scope's requests of a day under any bar on a scale.

    `rows` are the scope's decisions, `name` is `similarity` or `probability`. A request counts by
    its nearest candidate: a hit of the second nearest is not foreseen. Wrong hits are estimated by
    `labels`.
    """

    def __init__(
        self, rows: Rows, traffic: Traffic, name: str, labels: Sequence[LabelledCandidate]
    ) -> None:
        exact = np.isin(rows["outcome"], [short(kind) for kind in _EXACT])
        near = rows.compress(~exact & (rows["veto"] == 0) & (rows[name] != ABSENT))
        self.near = near.take(_order(near[name]))  # the least similar first
        self.scores = self.near[name] / MILLIONTHS
        self._requests = traffic.eligible
        self._always = int(exact.sum())
        self._saved = int(rows["saved"][exact].sum())
        cost = np.where(self.near["cost"] == UNKNOWN, 0, self.near["cost"])
        worth = np.where(self.near["outcome"] == short("semantic"), self.near["saved"], cost)
        self._worth = np.append(np.cumsum(worth[::-1])[::-1], 0)  # of a row and all above it
        self._labels = np.array([one.score for one in labels], dtype=float)
        self._wrong = _WrongHits(labels)

    def points(self, *also: float) -> list[dict[str, Any]]:
        """Return points from the strictest bar to the loosest, each at a score that occurs.

        `also`: more bars.
        """
        bars = np.unique(np.round(np.concatenate([self.scores, self._labels]), 6))
        if len(bars) > _POINTS:
            bars = bars[np.linspace(0, len(bars) - 1, _POINTS).round().astype(int)]
        return [self.at(float(bar)) for bar in np.unique([*bars, *also])[::-1]]

    def at(self, bar: float | None) -> dict[str, Any]:
        """Return the hits under a bar, None: exact hits only, what they save, and the wrong ones.

        Wrong hits are null where no label reaches the bar.
        """
        reached = inf if bar is None else bar - 0.5 / MILLIONTHS  # as rounded
        first = int(np.searchsorted(self.scores, reached))
        hits = self._always + len(self.scores) - first
        return {
            "bar": bar,
            "hits": hits,
            "hit_rate": round(hits / self._requests, 6) if self._requests else None,
            "saved_usd": usd(self._saved + int(self._worth[first])),
            **self._wrong.at(reached),
        }


def _order(scores: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the stable order of scores: sorted with their places, in an eighth of the time of
    `argsort`.
    """
    keys = (scores.astype(np.int64) << _PLACE_BITS) | np.arange(len(scores))
    keys.sort()
    return keys & ((1 << _PLACE_BITS) - 1)


def wrong_of(labels: Sequence[LabelledCandidate]) -> dict[str, Any]:
    """Return the fields of a point that tell how many of all these labels are wrong."""
    return _WrongHits(labels).at(-inf)


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
