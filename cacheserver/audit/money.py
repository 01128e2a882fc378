"""Amounts as a report writes them."""

from __future__ import annotations

from decimal import Decimal

from cacheserver.types import Nanodollars


def usd(amount: Nanodollars) -> str:
    """US dollars as text, to the nanodollar."""
    return f"{Decimal(amount).scaleb(-9):.9f}"
