"""A claim and what becomes of it; the rates it is held against; how numbers are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal, TypeAlias

from cacheserver.scenarios.sums import PerMillion

Verdict: TypeAlias = Literal["holds", "holds if", "does not hold"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One row."""

    claimed: str
    source: str  # which document
    ours: str
    verdict: Verdict
    why: str  # the arithmetic
    provided: str = ""  # after "holds if"


@dataclass(frozen=True, slots=True)
class Books:
    """Rates by tier: the seeds' and today's, each in a batch too."""

    seeds: Mapping[str, PerMillion]
    seeds_batch: Mapping[str, PerMillion]
    today: Mapping[str, PerMillion]
    today_batch: Mapping[str, PerMillion]


def usd(amount: Decimal, places: int = 2) -> str:
    """Dollars; whole ones without cents."""
    rounded = _round(amount, places)
    if rounded == rounded.to_integral_value() and places == 2:
        return f"${rounded:,.0f}"
    return f"${rounded:,}"


def percent(share: Decimal, places: int = 0) -> str:
    """A share of one, in percent."""
    return f"{_round(share * 100, places)}%"


def num(value: Decimal, places: int = 2) -> str:
    """A plain number, without zeros at its end."""
    text = f"{_round(value, places):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _round(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
