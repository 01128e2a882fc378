"""Start times of conversations: sorted draws between 0 and 1, scaled to a scenario's time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import accumulate
from random import Random

from cacheserver.analysis.scenarios.scenario import Arrivals

_DAY_S, _HOUR_S = 86_400.0, 3_600.0


def begins(
    arrivals: Arrivals, number: int, start: float, days: float, random: Random
) -> Iterator[float]:
    """Return `count` Unix times from `start` on, sorted."""
    even = arrivals.pattern in ("steady", "nightly")
    shares = _even(number) if even else _drawn(number, random)
    lay = _laid(arrivals, start, days)
    for share in shares:
        yield lay(share)


def _even(number: int) -> Iterator[float]:
    for place in range(number):
        yield (place + 0.5) / number


def _drawn(number: int, random: Random) -> Iterator[float]:
    """Uniform draws in order, none of which need be kept: the least of those left, each time."""
    left = 1.0
    for place in range(number):
        left *= (1.0 - random.random()) ** (1 / (number - place))
        yield 1.0 - left


def _laid(arrivals: Arrivals, start: float, days: float) -> Callable[[float], float]:
    match arrivals.pattern:
        case "steady" | "poisson":
            return lambda share: start + share * days * _DAY_S
        case "nightly":
            nights = max(1, int(days))

            def night(share: float) -> float:
                whole, rest = divmod(share * nights, 1.0)
                at = whole * _DAY_S + arrivals.hour * _HOUR_S
                return start + at + rest * arrivals.spread_s

            return night
        case "office":
            return _by_hours(start, days)


def _by_hours(start: float, days: float) -> Callable[[float], float]:
    hours = max(1, round(days * 24))
    ends = list(accumulate(_busy(start + hour * _HOUR_S) for hour in range(hours)))

    def lay(share: float) -> float:
        sought = share * ends[-1]
        hour = min(bisect_right(ends, sought), hours - 1)
        before = ends[hour - 1] if hour else 0.0
        return start + (hour + (sought - before) / (ends[hour] - before)) * _HOUR_S

    return lay


def _busy(at: float) -> float:
    """Return an hour's traffic relative to a working hour; a guess, the same for all scenarios."""
    when = datetime.fromtimestamp(at, UTC)
    if when.weekday() >= 5:
        return 0.1
    if 9 <= when.hour < 17:
        return 1.0
    return 0.25 if 7 <= when.hour < 21 else 0.02
