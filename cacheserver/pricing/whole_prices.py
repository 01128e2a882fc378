"""Prices in whole numbers, for the usual call: fast, and exact where rates are coarse enough."""

from __future__ import annotations

from typing import Final, TypeAlias

from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.pricing.price_table import Ladder

PER_TOKEN: Final = 1_000  # nanodollars per token, for each USD per million tokens
_SCALE: Final = 10**9  # parts of a nanodollar, so that a rate of up to 11 decimals is whole

# Input, output, writes for 5 minutes and an hour, reads; by `_SCALE`.
_Scaled: TypeAlias = tuple[int | None, ...]
WholeSteps: TypeAlias = tuple[tuple[int, _Scaled], ...]


def whole(ladder: Ladder) -> WholeSteps | None:
    """Scale a ladder to integers, in 1e-9 nanodollars a token; None if a rate is finer."""
    steps: list[tuple[int, _Scaled]] = []
    for start, rates in ladder:
        found = [
            None if rate is None else rate * PER_TOKEN * _SCALE
            for rate in (
                rates.input,
                rates.output,
                rates.cache_write_5m,
                rates.cache_write_1h,
                rates.cache_read,
            )
        ]
        # US-only inference costs 11/10, so each rate must be a multiple of ten.
        if any(rate is not None and rate % 10 for rate in found):
            return None
        steps.append((start, tuple(None if rate is None else int(rate) for rate in found)))
    return tuple(steps)


def quick(steps: WholeSteps, usage: Usage) -> Nanodollars | None:
    """Price one leg in integers, rounded as `_rounded` does."""
    prompt, rates = prompt_tokens(usage), None
    for start, reached in steps:
        if prompt > start or start == 0:
            rates = reached
    if rates is None:
        return None
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
    )
    total = 0
    for tokens, rate in zip(counts, rates, strict=True):
        if tokens:
            if rate is None:
                return None
            total += tokens * rate
    if usage.inference_geo == "us":
        total = total * 11 // 10  # `US_ONLY`; every rate is a multiple of ten
    whole, rest = divmod(total, _SCALE)
    return whole + (rest * 2 > _SCALE or (rest * 2 == _SCALE and whole % 2 == 1))
