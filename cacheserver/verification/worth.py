"""Break-even of verification: whether a call is expected to pay, in money and in time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cacheserver.core.rules.verification import Mode
from cacheserver.core.types import Nanodollars

Way: TypeAlias = Literal["inline", "background"]


@dataclass(frozen=True, slots=True)
class Stakes:
    """Expected cost and time of a call and of the answer that it may replace."""

    price: Nanodollars  # of the call
    saving: Nanodollars  # if the stored answer serves
    call_s: float
    answer_s: float  # infinite if nobody waits for it at a connection
    limit_s: float  # that a request waits at most
    repeats: float  # later requests that a remembered yes is expected to serve


def way(mode: Mode, chance: float, stakes: Stakes) -> Way | None:
    """Return how to ask, or None if it is not expected to pay.

    `chance` is that of a yes which is right. Inline, a yes saves the answer's price and time, and a
    no adds the call's: it must pay in both, and fit into the time limit. In the background it adds
    no time.
    """
    pays = chance * stakes.saving > stakes.price
    inline = pays and stakes.call_s <= min(stakes.limit_s, chance * stakes.answer_s)
    background = chance * stakes.repeats * stakes.saving > stakes.price
    match mode:
        case "off":
            return None
        case "inline":
            return "inline" if inline else None
        case "background":
            return "background" if background else None
        case "auto":
            return "inline" if inline else "background" if background else None
