"""The arithmetic of claims: dollars of tokens at stated rates. Pure, exact, decimal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from cacheserver.policy.money import Pricer
from cacheserver.policy.pricetable import Rates
from cacheserver.scenarios.scenario import TIERS
from cacheserver.scenarios.shelf import Prices

MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class PerMillion:
    """USD per million tokens of a model."""

    input: Decimal
    output: Decimal
    write: Decimal  # to the prompt cache, for 5 minutes
    write_1h: Decimal
    read: Decimal


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one request; `read` of them from the prompt cache, beside `input`."""

    input: int
    output: int = 0
    read: int = 0


def at(prices: Prices, day: date, *, batch: bool = False) -> dict[str, PerMillion]:
    """Rates by tier on a UTC day."""
    pricer = Pricer(prices.table)
    now = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    tier = "batch" if batch else "standard"
    found = {}
    for name in TIERS:
        rates = pricer.rates(getattr(prices.tiers, name), now, tier=tier)
        found[name] = _known(rates)
    return found


def _known(rates: Rates | None) -> PerMillion:
    assert rates is not None  # what ships is priced
    kinds = (rates.input, rates.output, rates.cache_write_5m, rates.cache_write_1h)
    given = [Decimal(0) if rate is None else rate for rate in (*kinds, rates.cache_read)]
    return PerMillion(*given)


def cost(rates: PerMillion, tokens: Tokens) -> Decimal:
    """Dollars of one request."""
    total = tokens.input * rates.input + tokens.output * rates.output + tokens.read * rates.read
    return total / MILLION


def mixed(
    rates: Mapping[str, PerMillion], shares: Mapping[str, Decimal], tokens: Tokens
) -> Decimal:
    """Dollars of one request on average, where each tier is asked its share."""
    return sum((share * cost(rates[tier], tokens) for tier, share in shares.items()), Decimal(0))


def saved(before: Decimal, after: Decimal) -> Decimal:
    """The saving as a share of what was paid before."""
    return 1 - after / before


def reads_per_write(rates: PerMillion, *, hour: bool = False) -> Decimal:
    """Reads of a prefix after which having written it costs as much as having not.

    write + n read = (1 + n) input
    """
    write = rates.write_1h if hour else rates.write
    return (write - rates.input) / (rates.input - rates.read)


def cached(rates: PerMillion, tokens: int, calls: int) -> Decimal:
    """Dollars of a prefix over calls that come while it is kept: one write, then reads."""
    return (tokens * rates.write + (calls - 1) * tokens * rates.read) / MILLION


def share_moved(saving: Decimal, dear: Decimal, cheap: Decimal) -> Decimal:
    """The share of work that must move from a dear price to a cheap one for a saving."""
    return saving / (1 - cheap / dear)
