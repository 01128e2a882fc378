"""Bars of a chart by day; a bar of a long log is several days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from cacheserver.analysis.audit.tally import OTHER
from cacheserver.analysis.replay.step import LEVERS

_BARS: Final = 92  # three months by the day: on a phone still 3 px each, and they fit a terminal
_WEEK: Final = 7


@dataclass(slots=True)
class Bar:
    """A day, or several: amounts in US dollars."""

    first: date
    days: int
    spent: float = 0.0
    saved: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by lever

    @property
    def last(self) -> date:
        return self.first + timedelta(days=self.days - 1)

    @property
    def parts(self) -> list[tuple[str, float]]:
        """The bar's parts from below: the rest after all levers, then each lever's saving.

        What a negative lever costs is in what is left, so the parts are more than what was spent.
        """
        left = max(0.0, self.spent - sum(self.saved.values()))
        return [("left", left), *((lever, max(0.0, self.saved[lever])) for lever in LEVERS)]


def bars(days: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return bars for every day from the first to the last of `by_day`, empty days included."""
    # What a tally keeps no day of is in none.
    dated = [(date.fromisoformat(one["name"]), one) for one in days if one["name"] != OTHER]
    if not dated:
        return []
    first, last = min(day for day, _ in dated), max(day for day, _ in dated)
    span = (last - first).days + 1
    each = 1 if span <= _BARS else _WEEK * -(-span // (_BARS * _WEEK))
    made = [Bar(first + timedelta(days=at), min(each, span - at)) for at in range(0, span, each)]
    for day, one in dated:
        bar = made[(day - first).days // each]
        bar.spent += float(one["spent_usd"])
        for lever, usd in one["saved_by_usd"].items():
            bar.saved[lever] += float(usd)
    return made


def unit(found: Sequence[Bar]) -> str:
    """Return the length of a bar in words."""
    return "a day" if found[0].days == 1 else f"{found[0].days} days"
