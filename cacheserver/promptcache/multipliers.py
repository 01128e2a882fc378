"""Price multipliers of Claude's prompt cache, and the gain of a call from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import prompt_tokens

# `Pricer.cost`: the nanodollars of a usage of a model at a time; None where no price is known.
Cost: TypeAlias = Callable[[str, Usage, float], Nanodollars | None]

_TOKENS = 100_000  # enough for five digits after rounding; below the long-prompt price


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of cache tokens over the price of plain input, and that price."""

    read: float
    write_5m: float
    write_1h: float
    input: float  # nanodollars per token

    def write(self, ttl: str) -> float:
        return self.write_1h if ttl == "1h" else self.write_5m


def rates(cost: Cost, model: str, now: float) -> Rates | None:
    """Return the multipliers of a model; None if one of its prices is unknown or zero."""
    plain = cost(model, Usage(input_tokens=_TOKENS), now)
    read = cost(model, Usage(cache_read_tokens=_TOKENS), now)
    write_5m = cost(model, Usage(cache_write_5m_tokens=_TOKENS), now)
    write_1h = cost(model, Usage(cache_write_1h_tokens=_TOKENS), now)
    if not plain or read is None or write_5m is None or write_1h is None:
        return None
    return Rates(read / plain, write_5m / plain, write_1h / plain, plain / _TOKENS)


def gain(cost: Cost, model: str, usage: Usage, now: float) -> Nanodollars | None:
    """Return the cost of a call without the prompt cache, minus its cost.

    Negative if it wrote more than it read. None if the model has no price.
    """
    with_cache = cost(model, usage, now)
    without = cost(model, uncached(usage), now)
    if with_cache is None or without is None:
        return None
    return without - with_cache


def uncached(usage: Usage) -> Usage:
    """Return the same tokens as plain input."""
    return replace(
        usage,
        input_tokens=prompt_tokens(usage),
        cache_read_tokens=0,
        cache_write_5m_tokens=0,
        cache_write_1h_tokens=0,
        iterations=tuple((model, uncached(leg)) for model, leg in usage.iterations),
    )
