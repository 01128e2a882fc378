"""Forecast of the spend at a period's end from the hours before. Pure.

With 14 days of history, each coming hour is forecast by the same hours of the week; with less, by
the average hour. The 95% interval assumes that coming days vary as past days did; it does not cover
a change of habits.
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
_DAILY_H: Final = 3 * _DAY_H  # from here on whole days are compared: a day's hours correlate
_RECENT_H: Final = 28 * _DAY_H  # four of each weekday; older hours say little about next week
_Z: Final = 1.96

# Student's t at 95% by degrees of freedom: with few days of history the interval is wide.
_T: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast total of a period at its end, in the unit of the input."""

    total: int
    low: int
    high: int
    method: Literal["spent", "linear", "seasonal"]  # "spent": no history, no forecast


def forecast(spent: int, hours: Mapping[int, int], now: float, end: float) -> Forecast:
    """Forecast the total at `end`, of which `spent` is spent already.

    `hours` has sums by hour number since 1970, of whole hours before `now`. A missing hour after
    the first one counts as 0. `end` and `now` are Unix seconds.
    """
    this = int(now // _HOUR_S)
    history = _filled(hours, this)
    left_h = max(0.0, (end - now) / _HOUR_S)
    if left_h == 0 or len(history) < 2:
        return no_forecast(spent)
    if len(history) < _SEASONAL_H:
        to_come = statistics.fmean(history) * left_h
        spread = _spread(history, left_h)
        return _around(spent, to_come, spread, "linear")
    usual = _usual(history, this)
    to_come = sum(usual[hour % _WEEK_H] * share for hour, share in _hours(now, end))
    first = this - len(history)
    rest = [value - usual[(first + at) % _WEEK_H] for at, value in enumerate(history)]
    # Each mean is of two to four values, so the residuals are too small: correct for it.
    seen = max(2, len(history) // _WEEK_H)
    spread = _spread(rest, left_h) * math.sqrt(seen / (seen - 1))
    return _around(spent, to_come, spread, "seasonal")


def no_forecast(spent: int) -> Forecast:
    """Return what is spent, where nothing says what will be."""
    return Forecast(spent, spent, spent, "spent")


def _filled(hours: Mapping[int, int], this: int) -> list[int]:
    """Return the value of each hour from the first known to the last whole one, 28 days at most."""
    before = [hour for hour in hours if hour < this]
    if not before:
        return []
    first = max(min(before), this - _RECENT_H)
    return [hours.get(hour, 0) for hour in range(first, this)]


def _usual(history: Sequence[int], this: int) -> Mapping[int, float]:
    """Return the mean by hour of the week."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    first = this - len(history)
    for at, value in enumerate(history):
        found[(first + at) % _WEEK_H].append(value)
    return {hour: statistics.fmean(values) for hour, values in found.items()}


def _hours(now: float, end: float) -> list[tuple[int, float]]:
    """Return the coming hours, each with the share of it that is still to come."""
    found = []
    for hour in range(int(now // _HOUR_S), math.ceil(end / _HOUR_S)):
        share = (min(end, (hour + 1) * _HOUR_S) - max(now, hour * _HOUR_S)) / _HOUR_S
        found.append((hour, share))
    return found


def _spread(values: Sequence[float], left_h: float) -> float:
    """Return half the 95% interval of the sum over `left_h` hours.

    It compares whole days if there are enough: the hours of a day correlate.
    """
    unit = _DAY_H if len(values) >= _DAILY_H else 1
    if unit > 1:
        start = len(values) % _DAY_H
        values = [sum(values[at : at + _DAY_H]) for at in range(start, len(values), _DAY_H)]
    return half_width(len(values), statistics.stdev(values), left_h / unit)


def half_width(count: int, deviation: float, left: float) -> float:
    """Return half the 95% prediction interval of the sum of `left` more values (Student's t).

    `count` values are known, at least two, with the standard deviation `deviation`. The interval
    covers the variation of the new values and the error of the known mean.
    """
    t = _T[count - 2] if count - 2 < len(_T) else _Z
    return t * deviation * math.sqrt(left + left * left / count)


def _around(
    spent: int, to_come: float, spread: float, method: Literal["linear", "seasonal"]
) -> Forecast:
    total = spent + max(0.0, to_come)
    # The total cannot end below what is already spent.
    return Forecast(round(total), round(max(spent, total - spread)), round(total + spread), method)
