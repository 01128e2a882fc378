"""Estimate of wrong semantic hits, and of what they take off the savings. Pure.

Which hits were wrong is known only where audits and feedback looked. So the share is an estimate
with an interval, and so is everything derived from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cacheserver.core.types import Nanodollars
from cacheserver.matching.conformal_bound import wilson

# One label of a wrong hit gives an interval of 21% to 100%: above nearly any target. With five, a
# single verdict raises no alarm.
LEAST_LABELS: Final = 5


class Verdict(Protocol):
    """Part of a label that the share is made of."""

    @property
    def right(self) -> bool: ...

    @property
    def weight(self) -> float: ...

    @property
    def served(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class WrongShare:
    """Share of semantic hits that were wrong, with its 95% interval (Wilson)."""

    share: float  # 0..1
    low: float
    high: float
    labels: int  # of hits

    def exceeds(self, target: float) -> bool:
        """Return whether enough labels show that more hits are wrong than the target allows.

        The interval's lower end decides: the upper one is above any target with few labels.
        """
        return self.labels >= LEAST_LABELS and self.low > target


@dataclass(frozen=True, slots=True)
class WrongHits:
    """Wrong hits among a number of hits, and their cost at a price for each."""

    hits: int
    wrong: float
    low: float
    high: float
    cost: Nanodollars
    cost_low: Nanodollars
    cost_high: Nanodollars


def share_of(labels: Sequence[Verdict]) -> WrongShare | None:
    """Return the share by the labels of hits, each weighted by its sampling; None without any."""
    served = [label for label in labels if label.served]
    total = sum(label.weight for label in served)
    if not served or total <= 0:
        return None
    # Kish's effective sample size of weighted labels.
    effective = total * total / sum(label.weight**2 for label in served)
    share = sum(label.weight for label in served if not label.right) / total
    low, high = wilson(share * effective, effective)
    return WrongShare(share, low, high, len(served))


def estimate(hits: int, share: WrongShare | None, price: Nanodollars) -> WrongHits:
    """Estimate the wrong hits among `hits`. Without labels the interval is 0 to all."""
    found = share or WrongShare(0.0, 0.0, 1.0, 0)
    wrong, low, high = found.share * hits, found.low * hits, found.high * hits
    return WrongHits(
        hits, wrong, low, high, round(wrong * price), round(low * price), round(high * price)
    )
