"""Amounts and names as a report writes them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cacheserver.core import invisible_characters
from cacheserver.core.types import Nanodollars


def usd(amount: Nanodollars) -> str:
    """US dollars as text, to the nanodollar."""
    return f"{Decimal(amount).scaleb(-9):.9f}"


def dollars(amount: str | float) -> str:
    """US dollars to be read: cents, and what is less than a cent as that."""
    found = float(amount)
    if 0 < abs(found) < 0.005:
        return "<$0.01" if found > 0 else "-<$0.01"
    return f"-${-found:,.2f}" if found < 0 else f"${found:,.2f}"


def over_month(month: Mapping[str, Any]) -> str:
    """30 days' dollars, and where it is known their interval."""
    told = dollars(month["usd"])
    if month["interval_95_usd"] is None:
        return told
    low, high = (dollars(end) for end in month["interval_95_usd"])
    return f"{told} ({low} to {high})"


def percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def plain(text: object) -> str:
    """A log's own words, with what would steer a terminal, or is not seen, as its code point."""
    return invisible_characters.line(str(text))


def escaped(text: object) -> str:
    """The same for a page."""
    return html.escape(plain(text))
