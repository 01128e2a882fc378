"""Format amounts and names for a report."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cacheserver.core import invisible_characters
from cacheserver.core.types import Nanodollars


def usd(amount: Nanodollars) -> str:
    """Return US dollars as text, to the nanodollar."""
    return f"{Decimal(amount).scaleb(-9):.9f}"


def dollars(amount: str | float) -> str:
    """Return US dollars for a reader: in cents; less than a cent as `<$0.01`."""
    found = float(amount)
    if 0 < abs(found) < 0.005:
        return "<$0.01" if found > 0 else "-<$0.01"
    return f"-${-found:,.2f}" if found < 0 else f"${found:,.2f}"


def over_month(month: Mapping[str, Any]) -> str:
    """Return the amount of 30 days, with its interval if known."""
    amount = dollars(month["usd"])
    if month["interval_95_usd"] is None:
        return amount
    low, high = (dollars(end) for end in month["interval_95_usd"])
    return f"{amount} ({low} to {high})"


def percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def visible(text: object) -> str:
    """Return a text with characters that steer a terminal, or are not seen, as code points."""
    return invisible_characters.line(str(text))
