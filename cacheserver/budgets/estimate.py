"""What a request may cost before it is asked: as it was asked, and of the cheapest tier."""

from __future__ import annotations

from cacheserver.budgets import rules as budget
from cacheserver.cache.budget_verdict import Amount
from cacheserver.cache.ports import Pricer
from cacheserver.core import tiers
from cacheserver.core.types import AUTO, Nanodollars, Query, Usage


class RequestEstimate:
    """Prices what is not known yet by the most it can be."""

    def __init__(self, pricer: Pricer, default_model: str) -> None:
        self._pricer = pricer
        self._default_model = default_model

    def of(self, query: Query, now: float, *, tier: str = "standard") -> tuple[Amount, Amount]:
        """What it may cost as it was asked, and of the cheapest tier; `tier` is Claude's."""
        rules = query.tenant.routing
        model = query.model
        if model == AUTO:
            model = self._default_model
            if rules.enabled and "routing" not in query.controls.off:
                model = tiers.model_of(rules.default_tier, rules)

        def price(model: str, usage: Usage) -> Nanodollars | None:
            return self._pricer.cost(model, usage, now)

        low = tiers.model_of("low", rules)
        return (
            budget.most(query.body, model, price, tier=tier),
            budget.most(query.body, low, price, tier=tier),
        )
