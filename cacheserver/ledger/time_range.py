"""Time ranges as slots with sums: whole days in the middle, hours and minutes at the ends.

Minutes are kept for two days and hours for a month, so the ends of an older range are widened to
the hour or the day. The reply says which range it covers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Grain: TypeAlias = Literal["m", "h", "d"]

SECONDS: Final[Mapping[Grain, int]] = {"m": 60, "h": 3_600, "d": 86_400}
LIFETIME_S: Final[Mapping[Grain, int]] = {"m": 2 * 86_400, "h": 35 * 86_400, "d": 400 * 86_400}

_DAY: Final = SECONDS["d"]
_HOUR: Final = SECONDS["h"]


@dataclass(frozen=True, slots=True)
class Tile:
    """Slots of one grain, from `first` on, before `end`; slot n begins at n times the grain."""

    grain: Grain
    first: int
    end: int


def align_range(start: float, end: float, now: float) -> tuple[int, int]:
    """Widen a range to the finest slots still kept; returns its ends in whole seconds."""
    return _aligned(start, now, up=False), _aligned(end, now, up=True)


def split_range(start: int, end: int, coarsest: Grain = "d") -> Iterator[Tile]:
    """Yield the slots that make up an aligned range, in order; none coarser than `coarsest`."""
    at = start
    while at < end:
        grain = _grain(at, end, coarsest)
        seconds = SECONDS[grain]
        until = end // seconds * seconds
        if grain == "m" and coarsest != "m":
            until = min(until, (at // _HOUR + 1) * _HOUR)
        elif grain == "h" and coarsest == "d":
            until = min(until, (at // _DAY + 1) * _DAY)
        yield Tile(grain, at // seconds, until // seconds)
        at = until


def _grain(at: int, end: int, coarsest: Grain) -> Grain:
    if coarsest == "d" and at % _DAY == 0 and at + _DAY <= end:
        return "d"
    if coarsest != "m" and at % _HOUR == 0 and at + _HOUR <= end:
        return "h"
    return "m"


def _aligned(at: float, now: float, *, up: bool) -> int:
    age = now - at
    grain: Grain = "m" if age < LIFETIME_S["m"] else "h" if age < LIFETIME_S["h"] else "d"
    seconds = SECONDS[grain]
    return int(-(-at // seconds) if up else at // seconds) * seconds
