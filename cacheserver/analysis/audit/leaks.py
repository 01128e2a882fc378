"""Leaks: requests that are repeated, too expensive or badly timed, each with a fix.

Each leak is worth what its lever would save by itself, so two of them may be after the same money.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from cacheserver.analysis.audit.daily import Daily, Month, day_of
from cacheserver.analysis.audit.leak_kinds import FIXES, LATE, Cost, Leaking
from cacheserver.analysis.audit.systems import Systems
from cacheserver.analysis.audit.top_k import TopK
from cacheserver.analysis.audit.top_sources import TopSources
from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.step import Step
from cacheserver.core.types import DEFAULT_TTL_S, Nanodollars

_MOST: Final = 10
_MOST_GROUPS: Final = 5_000
_LEAST_SHARE: Final = 0.01  # of what was spent
_LEAST: Final = 100_000_000  # nanodollars a month
# A longer lifetime is proposed where it catches so much of what came too late.
_MOST_OF_IT: Final = 0.8
_LIFETIMES_S: Final = tuple(hours * 3_600 for hours in (1, 2, 4, 8, 12, 24, 48, 96, 168, 336, 720))


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak."""

    kind: str
    what: str  # the group it is in
    model: str
    requests: int
    saved: Nanodollars  # what its end would have saved in the log
    month: Month | None  # and in 30 days like it; None: the log is too short to say
    blamed: tuple[str, ...]
    fix: str
    note: str = ""


@dataclass(slots=True)
class _Sum:
    name: str
    model: str
    requests: int = 0
    daily: Daily = field(default_factory=Daily)
    blamed: TopSources = field(default_factory=TopSources)
    gross: Nanodollars = 0  # what is above 0 alone
    lifetimes: Counter[int] = field(default_factory=Counter)  # what each longer one would catch


def _gross(one: _Sum) -> Nanodollars:
    return one.gross


class Leaks:
    """Gathers leaks of every kind, by purpose, model and system prompt."""

    def __init__(
        self, cost: Cost, *, ttl_s: float = DEFAULT_TTL_S, systems: Systems | None = None
    ) -> None:
        """`ttl_s`: how long answers were kept in the replay."""
        self._leaking = Leaking(cost, systems or Systems())
        self._ttl_s = ttl_s
        self._first: float | None = None
        self._sums: TopK[tuple[str, ...], _Sum] = TopK(_MOST_GROUPS, _gross)

    def add(self, call: Call, step: Step, name: str) -> None:
        """Count one request in; `name` is its group's."""
        if step.spent is None:
            return
        self._first = call.at if self._first is None else self._first
        day = day_of(call.at, self._first)
        for kind, saved, group in self._leaking.of(call, step):
            key = (kind, call.purpose or "", call.model, group)
            one = self._sums.of(key, lambda: _Sum(name, call.model))
            one.requests += 1
            one.daily.add(day, saved)
            one.blamed.add(saved, call.source)
            one.gross += max(0, saved)
            if kind == LATE:
                needed_s = self._ttl_s + (step.late or 0.0)
                enough = next((s for s in _LIFETIMES_S if s >= needed_s), None)
                if enough is not None:
                    one.lifetimes[enough] += saved

    def worst(self, spent: Nanodollars, seconds: float) -> list[Leak]:
        """The ten worst of a log of so many seconds, none of them small change.

        A month like the log is told where it has a day or more: less is no sample of one.
        """
        found = [_leak(key[0], one, seconds) for key, one in self._sums]
        found = [
            leak
            for leak in found
            if leak.saved >= max(1, round(spent * _LEAST_SHARE))
            and (leak.month is None or leak.month.amount >= _LEAST)
        ]
        return sorted(found, key=lambda leak: (-leak.saved, leak.kind, leak.what))[:_MOST]


def _leak(kind: str, one: _Sum, seconds: float) -> Leak:
    saved, note = one.daily.whole, ""
    if kind == LATE:
        saved, lifetime_s = _caught(one.lifetimes)
        if lifetime_s:
            share = saved / one.daily.whole
            note = f"kept for {lifetime_s:,} s, {share:.0%} of that would have been saved"
    return Leak(
        kind=kind,
        what=one.name,
        model=one.model,
        requests=one.requests,
        saved=saved,
        month=one.daily.month(seconds, saved),
        blamed=tuple(one.blamed),
        fix=FIXES[kind],
        note=note,
    )


def _caught(lifetimes: Counter[int]) -> tuple[Nanodollars, int]:
    """Return the saving of the shortest lifetime that catches most, and that lifetime, s."""
    whole, so_far = lifetimes.total(), 0
    for lifetime_s in sorted(lifetimes):
        so_far += lifetimes[lifetime_s]
        if so_far >= _MOST_OF_IT * whole:
            return so_far, lifetime_s
    return 0, 0
