"""Estimate of the most that a request may cost, for budget reservations."""

from __future__ import annotations

from cacheserver.budgets import rules
from cacheserver.cache.budget_verdict import Amount
from cacheserver.cache.ports import Pricer
from cacheserver.core import tiers
from cacheserver.core.types import AUTO, Nanodollars, Query, Usage


class RequestEstimate:
    """Estimator of a request's largest cost."""

    def __init__(self, pricer: Pricer, default_model: str) -> None:
        self._pricer = pricer
        self._default_model = default_model

    def of(self, query: Query, now: float, *, tier: str = "standard") -> tuple[Amount, Amount]:
        """Return the most it may cost as requested and on the cheapest tier."""
        routing = query.tenant.routing
        model = query.model
        if model == AUTO:
            model = self._default_model
            if routing.enabled and "routing" not in query.controls.off:
                model = tiers.model_of(routing.default_tier, routing)

        def price(model: str, usage: Usage) -> Nanodollars | None:
            return self._pricer.cost(model, usage, now)

        low = tiers.model_of("low", routing)
        return (
            rules.most(query.body, model, price, tier=tier),
            rules.most(query.body, low, price, tier=tier),
        )
