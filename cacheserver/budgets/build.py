"""Builds budgets and rate limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cacheserver.budgets.budgets import Budgets
from cacheserver.budgets.gauges import BudgetGauges
from cacheserver.budgets.rate_limit_store import RateLimitStore
from cacheserver.budgets.rate_limits import RateLimits
from cacheserver.budgets.store import BudgetStore
from cacheserver.core.background import BackgroundWork
from cacheserver.host import Host


@dataclass(frozen=True, slots=True)
class SpendLimits:
    """Budgets and rate limits of tenants and keys."""

    budgets: Budgets
    rate_limits: RateLimits


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[SpendLimits]:
    """Yield them; what was spent is written on the way out."""
    async with AsyncExitStack() as stack:
        budgets = Budgets(
            BudgetStore(host.store.redis, prefix=host.store.prefix),
            tenants=host.tenants,
            pricer=host.pricer,
            metrics=host.metrics,
            clock=host.clock,
            default_model=host.settings.default_model,
        )
        stack.push_async_callback(budgets.close)
        returned = BackgroundWork("rate-limit", host.metrics, limit=10_000, at_once=1)
        stack.push_async_callback(returned.close)
        rate_limits = RateLimits(
            RateLimitStore(host.store.redis, prefix=host.store.prefix),
            keys=host.tenants,
            metrics=host.metrics,
            writes=returned,
        )
        stack.push_async_callback(rate_limits.close)
        host.plugins.budgets, host.plugins.rate_limits = budgets, rate_limits
        host.ledger.rows.listen(budgets.settle)
        host.gauges.append(
            BudgetGauges(
                budgets.store, keys=host.tenants, gauges=host.metrics.gauges, clock=host.clock
            )
        )
        yield SpendLimits(budgets, rate_limits)
