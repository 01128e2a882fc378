"""Prices where a cloud serves all calls in one region: a tenth more for each token.

The factor is that of Claude's own `inference_geo: us`, and the models are those of both clouds'
price lists: all since Claude 4.5.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from cacheserver.claude.platforms.rules import has_premium
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.pricing.price_table import Rates
from cacheserver.pricing.prices import US_ONLY, Priced, Pricer

_PLACED: Final = "us"  # as a usage says that its call stayed in a place


class RegionalPricer(Pricer):
    """Pricer of calls that stay in a region."""

    @property
    def version(self) -> str:
        return f"{super().version}+regional"

    def price(self, model: str, usage: Usage, now: float) -> Priced | None:
        return super().price(model, _placed(model, usage), now)

    def cost(self, model: str, usage: Usage, now: float) -> Nanodollars | None:
        return super().cost(model, _placed(model, usage), now)

    def summed(self, model: str, usage: Usage, now: float) -> Nanodollars | None:
        return super().summed(model, _placed(model, usage), now)

    def rates(
        self, model: str, now: float, *, speed: str = "standard", tier: str = "standard"
    ) -> Rates | None:
        found = super().rates(model, now, speed=speed, tier=tier)
        if found is None or not has_premium(model):
            return found
        return replace(
            found,
            input=_raised(found.input),
            output=_raised(found.output),
            cache_write_5m=_raised(found.cache_write_5m),
            cache_write_1h=_raised(found.cache_write_1h),
            cache_read=_raised(found.cache_read),
        )


def _raised(rate: Decimal | None) -> Decimal | None:
    return None if rate is None else rate * US_ONLY


def _placed(model: str, usage: Usage) -> Usage:
    return replace(usage, inference_geo=_PLACED) if has_premium(model) else usage
