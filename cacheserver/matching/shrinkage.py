"""What an entry's own past, and that of its group, take from or add to its probability. Pure.

An entry goes wrong more often than its evidence says either by itself (a stale answer) or with
all that say the same (a group that should be two). So its log odds are off by an amount that is
held towards its group's, which is held towards 0: little is known of an entry, and then its group
speaks; where much is known of it, its own past does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Counts: TypeAlias = tuple[float, float]  # hits of it that turned out (wrong, right)

_TYPICAL = 0.99  # probability of a hit, where only the counts are kept
# Log odds by which groups differ from 0, and entries from their group: one wrong hit takes 3.8 from
# an entry and 1.0 from the others of its group.
_GROUPS, _ENTRIES = 1.0, 2.0
_HOLD_GROUPS, _HOLD_ENTRIES = 1 / _GROUPS**2, 1 / _ENTRIES**2
_KNOWN = _TYPICAL * (1 - _TYPICAL)  # by one hit
_MOST_OFF, _MOST_ON = 6.0, 1.0  # doubt goes further than trust


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """What became of an entry's hits, as (wrong, right)."""

    condemned: bool  # for the question that is asked
    entry: Counts
    group: Counts  # of all entries that say the same, this one among them


def adjustment(entry: Counts, group: Counts = (0.0, 0.0)) -> float:
    """Log odds to add to an entry's probability, -6 to 1.

    `group` counts its entries' hits, this entry's own among them. One Newton step for each of the
    two: a wrong hit never raises what comes out, a right one never lowers it.
    """
    wrong, right = entry
    held = _step(max(0.0, group[0] - wrong), max(0.0, group[1] - right), 0.0, _HOLD_GROUPS)
    return max(-_MOST_OFF, min(_MOST_ON, _step(wrong, right, held, _HOLD_ENTRIES)))


def _step(wrong: float, right: float, towards: float, hold: float) -> float:
    surprise = right * (1 - _TYPICAL) - wrong * _TYPICAL
    return (surprise + towards * hold) / ((wrong + right) * _KNOWN + hold)
