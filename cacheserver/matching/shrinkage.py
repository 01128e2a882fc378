"""Adjustment of an entry's probability by its own record and its group's. Pure.

An entry is wrong more often than its evidence predicts, either by itself (a stale answer) or with
its whole group (a group that should be two). Its log-odds offset is shrunk towards its group's,
which is shrunk towards 0: with few labels the group decides, with many the entry's own record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Counts: TypeAlias = tuple[float, float]  # hits, as (wrong, right)

_TYPICAL = 0.99  # probability of a hit, where only the counts are kept
# Prior standard deviations, in log-odds, of groups and of entries within their group: one wrong hit
# takes 3.8 from an entry and 1.0 from the others of its group.
_GROUPS, _ENTRIES = 1.0, 2.0
_HOLD_GROUPS, _HOLD_ENTRIES = 1 / _GROUPS**2, 1 / _ENTRIES**2
_INFORMATION = _TYPICAL * (1 - _TYPICAL)  # information of one hit
_MOST_OFF, _MOST_ON = 6.0, 1.0  # larger downwards: a wrong hit costs more than a miss


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """Record of an entry's hits, as (wrong, right)."""

    condemned: bool  # for the question that is asked
    entry: Counts
    group: Counts  # of all entries that say the same, this one among them


def adjustment(entry: Counts, group: Counts = (0.0, 0.0)) -> float:
    """Return the log-odds to add to an entry's probability, -6 to 1.

    `group` counts its entries' hits, this entry's included. One Newton step for each of the two: a
    wrong hit never raises the result, a right one never lowers it.
    """
    wrong, right = entry
    held = _step(max(0.0, group[0] - wrong), max(0.0, group[1] - right), 0.0, _HOLD_GROUPS)
    return max(-_MOST_OFF, min(_MOST_ON, _step(wrong, right, held, _HOLD_ENTRIES)))


def _step(wrong: float, right: float, towards: float, hold: float) -> float:
    surprise = right * (1 - _TYPICAL) - wrong * _TYPICAL
    return (surprise + towards * hold) / ((wrong + right) * _INFORMATION + hold)
