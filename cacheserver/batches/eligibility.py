"""Traffic that could wait: it comes at regular times, and nobody goes on from its answers.

Rule: a series is what one key asks under one scope (or task): the same words around one question.
What comes within a minute is one burst, as of a nightly job; regular are the gaps between bursts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from cacheserver.core.types import Nanodollars, Query

_BURST_S = 60.0  # the requests of one run come within minutes of each other
_BURSTS = 5  # four gaps: fewer are too often regular by chance
_SPREAD = (
    0.15  # of the gaps, as a share of their mean: more than timers drift, less than people vary
)
_MEMORY = 0.7  # weight of the old average when a new gap comes


@dataclass(slots=True)
class _Series:
    tenant: str
    key_id: str | None
    task: str | None
    model: str
    seen: int = 0
    bursts: int = 0
    last: float = 0.0  # the latest request
    began: float = 0.0  # the latest burst
    gap: float = 0.0  # seconds between bursts, averaged
    spread: float = 0.0  # squared, likewise
    cost: Nanodollars = 0


@dataclass(frozen=True, slots=True)
class Eligible:
    """A series of requests that would have cost half as a batch."""

    tenant: str
    key_id: str | None
    task: str | None
    model: str
    requests: int
    every_s: float  # between bursts
    spread: float  # of the gaps, as a share of `every_s`
    cost: Nanodollars  # of all its requests so far
    saving: Nanodollars  # what a batch would have saved of that


class Series:
    """The `most` recent series. Times must not decrease."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._series: OrderedDict[tuple[str, str | None, str], _Series] = OrderedDict()

    def note(self, query: Query, now: float, cost: Nanodollars | None) -> bool:
        """Record a request that was answered at once. The cost of a hit is 0.

        Returns whether it was one of a series that is known to be regular by now.
        """
        if len(query.body["messages"]) > 1:
            return False  # a later request continues an answer, so somebody waited for it
        name = query.scope or (f"task:{query.controls.task}" if query.controls.task else "")
        if not name:
            return False
        key = (query.tenant.name, query.key_id, name)
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self._most:
                self._series.popitem(last=False)
            series = _Series(query.tenant.name, query.key_id, query.controls.task, query.model)
            self._series[key] = series
        else:
            self._series.move_to_end(key)
        _add(series, now, cost or 0)
        return _regular(series, now)

    def eligible(self, now: float, tenant: str | None = None) -> list[Eligible]:
        """The regular series that still go on, of one tenant or of all, most expensive first."""
        found = [
            Eligible(
                tenant=s.tenant,
                key_id=s.key_id,
                task=s.task,
                model=s.model,
                requests=s.seen,
                every_s=round(s.gap, 1),
                spread=round(_share(s), 3),
                cost=s.cost,
                saving=s.cost // 2,
            )
            for s in self._series.values()
            if (tenant is None or s.tenant == tenant) and _regular(s, now)
        ]
        return sorted(found, key=lambda each: (-each.saving, -each.requests, each.tenant))


def _add(series: _Series, now: float, cost: Nanodollars) -> None:
    series.seen += 1
    series.cost += cost
    if series.bursts and now - series.last <= _BURST_S:
        series.last = now
        return
    gap = now - series.began
    series.bursts += 1
    series.last = series.began = now
    if series.bursts == 2:
        series.gap = gap
    elif series.bursts > 2:
        # Compare with the mean before this gap: an odd gap must not hide in the mean it moves.
        series.spread = _MEMORY * series.spread + (1 - _MEMORY) * (gap - series.gap) ** 2
        series.gap = _MEMORY * series.gap + (1 - _MEMORY) * gap


def _share(series: _Series) -> float:
    return float(series.spread**0.5 / series.gap) if series.gap else 0.0


def _regular(series: _Series, now: float) -> bool:
    if series.bursts < _BURSTS or _share(series) > _SPREAD:
        return False
    return now - series.began <= 2 * series.gap  # otherwise the series has stopped
