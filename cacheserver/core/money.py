"""Money: nanodollars as text, and the price of a call. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from cacheserver.core.usage import Usage

Nanodollars: TypeAlias = int  # 1e-9 USD; parts always sum to the whole

# What a usage of a model costs at the time of the request; None: no price is known.
Price: TypeAlias = Callable[[str, Usage], Nanodollars | None]


def nanodollars(usd: str) -> Nanodollars:
    """Return the amount that `usd` wrote."""
    return int(Decimal(usd).scaleb(9))


@lru_cache(maxsize=4_096)  # a hit writes five, and the next one the same
def usd(amount: Nanodollars) -> str:
    """A plain decimal with 9 places, the sign in front."""
    dollars, rest = divmod(abs(amount), 1_000_000_000)
    return f"{'-' if amount < 0 else ''}{dollars}.{rest:09d}"
