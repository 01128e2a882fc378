"""How many semantic hits were wrong, and what that takes off the savings. Pure.

Nobody knows which hits were wrong; audits and feedback tell of some. What they tell is a share with
an interval, and so is everything made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.core.types import Nanodollars
from cacheserver.matching.calibration import Label
from cacheserver.matching.conformal_bound import wilson


@dataclass(frozen=True, slots=True)
class WrongShare:
    """The share of semantic hits that were wrong, and its 95% interval (Wilson)."""

    share: float  # 0..1
    low: float
    high: float
    labels: int  # of hits, that tell


@dataclass(frozen=True, slots=True)
class WrongHits:
    """Wrong hits among so many, and what they cost at a price for each."""

    hits: int
    wrong: float
    low: float
    high: float
    cost: Nanodollars
    cost_low: Nanodollars
    cost_high: Nanodollars


def share_of(labels: Sequence[Label]) -> WrongShare | None:
    """What labels say of hits, each standing for as many as it was drawn from; None without any."""
    served = [label for label in labels if label.served]
    total = sum(label.weight for label in served)
    if not served or total <= 0:
        return None
    # Labels that stand for many count for fewer than they are: Kish's effective number.
    effective = total * total / sum(label.weight**2 for label in served)
    share = sum(label.weight for label in served if not label.right) / total
    low, high = wilson(share * effective, effective)
    return WrongShare(share, low, high, len(served))


def estimate(hits: int, share: WrongShare | None, price: Nanodollars) -> WrongHits:
    """Wrong hits among `hits`. Without labels anything is possible, and the interval says so."""
    found = share or WrongShare(0.0, 0.0, 1.0, 0)
    wrong, low, high = found.share * hits, found.low * hits, found.high * hits
    return WrongHits(
        hits, wrong, low, high, round(wrong * price), round(low * price), round(high * price)
    )
