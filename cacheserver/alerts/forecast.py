"""What will have been spent by a period's end, from the hours before. Pure.

Known for 14 days, each hour to come is expected to be like that hour of that weekday; for less,
like the average hour. The interval says where 95 of 100 such ends would lie if the days to come
differ from one another as those behind did; a change of habits is in no interval.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_HOUR_S: Final = 3_600
_DAY_H: Final = 24
_WEEK_H: Final = 7 * _DAY_H
_SEASONAL_H: Final = 14 * _DAY_H  # each hour of the week was seen twice
_DAILY_H: Final = 3 * _DAY_H  # from here on days are compared, whose hours hang together
_RECENT_H: Final = 28 * _DAY_H  # four of each weekday; what is older says little of next week
_Z: Final = 1.96

# Student's t at 95% by degrees of freedom: with few days behind, the interval is wide.
_T: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a period will have come to at its end, in the unit of what was given."""

    total: int
    low: int
    high: int
    method: Literal["spent", "linear", "seasonal"]  # "spent": nothing is known but that


def forecast(spent: int, hours: Mapping[int, int], now: float, end: float) -> Forecast:
    """The sum at `end`, of which `spent` is there already.

    `hours` are sums by the hour's number since 1970, whole hours before `now`; from the first one
    on, an hour that is missing had none. `end` and `now` are Unix seconds.
    """
    this = int(now // _HOUR_S)
    known = _filled(hours, this)
    left_h = max(0.0, (end - now) / _HOUR_S)
    if left_h == 0 or len(known) < 2:
        return Forecast(spent, spent, spent, "spent")
    if len(known) < _SEASONAL_H:
        to_come = statistics.fmean(known) * left_h
        spread = _spread(known, left_h)
        return _around(spent, to_come, spread, "linear")
    usual = _usual(known, this)
    to_come = sum(usual[hour % _WEEK_H] * share for hour, share in _hours(now, end))
    first = this - len(known)
    rest = [value - usual[(first + at) % _WEEK_H] for at, value in enumerate(known)]
    # Means of two to four values each lie closer to them than to the next: undo it.
    seen = max(2, len(known) // _WEEK_H)
    spread = _spread(rest, left_h) * math.sqrt(seen / (seen - 1))
    return _around(spent, to_come, spread, "seasonal")


def _filled(hours: Mapping[int, int], this: int) -> list[int]:
    """Every hour from the first known one to the last whole one, the recent weeks at most."""
    before = [hour for hour in hours if hour < this]
    if not before:
        return []
    first = max(min(before), this - _RECENT_H)
    return [hours.get(hour, 0) for hour in range(first, this)]


def _usual(known: Sequence[int], this: int) -> Mapping[int, float]:
    """The mean by hour of the week."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    first = this - len(known)
    for at, value in enumerate(known):
        found[(first + at) % _WEEK_H].append(value)
    return {hour: statistics.fmean(values) for hour, values in found.items()}


def _hours(now: float, end: float) -> list[tuple[int, float]]:
    """The hours to come, and how much of each is still to come."""
    found = []
    for hour in range(int(now // _HOUR_S), math.ceil(end / _HOUR_S)):
        share = (min(end, (hour + 1) * _HOUR_S) - max(now, hour * _HOUR_S)) / _HOUR_S
        found.append((hour, share))
    return found


def _spread(values: Sequence[float], left_h: float) -> float:
    """Half the interval of the sum over `left_h` hours: what they vary, and what the mean is off.

    By whole days where there are some: the hours of a day rise and fall together.
    """
    unit = _DAY_H if len(values) >= _DAILY_H else 1
    if unit > 1:
        start = len(values) % _DAY_H
        values = [sum(values[at : at + _DAY_H]) for at in range(start, len(values), _DAY_H)]
    return half_width(len(values), statistics.stdev(values), left_h / unit)


def half_width(count: int, deviation: float, left: float) -> float:
    """Half the 95% interval of a sum over `left` more values like `count` known ones, two or more.

    `deviation` is theirs. What the new ones vary, and what the mean of the old is off (Student).
    """
    t = _T[count - 2] if count - 2 < len(_T) else _Z
    return t * deviation * math.sqrt(left + left * left / count)


def _around(
    spent: int, to_come: float, spread: float, method: Literal["linear", "seasonal"]
) -> Forecast:
    total = spent + max(0.0, to_come)
    # What is spent is spent: an end below it is none.
    return Forecast(round(total), round(max(spent, total - spread)), round(total + spread), method)
