"""Projection of a log to 30 days, with a confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from cacheserver.alerts.forecast import half_width
from cacheserver.core.types import Nanodollars

DAY_S: Final = 86_400.0
MONTH_D: Final = 30


@dataclass(frozen=True, slots=True)
class Month:
    """Nanodollars in 30 days. `ends`: 95%, if days differ as those of the log did; None: of fewer
    than two whole days nobody can say.
    """

    amount: Nanodollars
    ends: tuple[Nanodollars, Nanodollars] | None = None


@dataclass(slots=True)
class Daily:
    """Daily sums of an amount. A day is 24 hours, counted from the log's first request.

    Kept are sums, whatever the log's length. Days must not go back.
    """

    whole: Nanodollars = 0
    _day: int = 0
    _today: Nanodollars = 0
    _sum: Nanodollars = 0  # of the days before
    _squares: int = 0
    _negative: bool = False  # whether any amount was below 0

    def add(self, day: int, amount: Nanodollars) -> None:
        """Add an amount to the day numbered `day`, from 0."""
        self.whole += amount
        self._negative |= amount < 0
        if day != self._day:
            self._sum += self._today
            self._squares += self._today**2
            self._day, self._today = day, 0
        self._today += amount

    def month(self, seconds: float, amount: Nanodollars | None = None) -> Month | None:
        """Project a log of `seconds` to 30 days; None if it is shorter than a day.

        `amount`: what is told of it in place of all that was counted, as varied as that.
        """
        if seconds < DAY_S:
            return None
        projected = self.whole if amount is None else amount
        # The last day is not over, unless the log ends with it: it says nothing of how days differ.
        days = int(seconds // DAY_S)
        over = self._day < days
        total = self._sum + (self._today if over else 0)
        squares = self._squares + (self._today**2 if over else 0)
        scale = MONTH_D * DAY_S / seconds
        found = round(projected * scale)
        if days < 2:
            return Month(found)
        variance = max(0.0, (squares - total * total / days) / (days - 1))
        half = half_width(days, math.sqrt(variance), MONTH_D)
        half *= projected / self.whole if self.whole else 1.0
        low, high = round(found - abs(half)), round(found + abs(half))
        return Month(found, (low if self._negative else max(0, low), high))


def day_of(at: float, first: float) -> int:
    """Return the number of a request's day, from 0."""
    return int((at - first) // DAY_S)
