"""Cheapest model that can take a request, for a budget that is nearly used up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.claude import capabilities
from cacheserver.core import tiers
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.types import AUTO, Route


def route(
    requested: str, body: Mapping[str, Any], rules: RoutingRules, *, default_model: str
) -> Route:
    """Return the lowest tier that can take the request, or the model asked for if none is lower.

    Applies to a named model too: this action of a budget overrides the name.
    """
    needs = capabilities.needs(body)
    for tier in tiers.ORDER:
        model = tiers.model_of(tier, rules)
        if model == requested:
            break
        if capabilities.lacks(capabilities.of(model, {}), needs) is None:
            baseline = default_model if requested == AUTO else requested
            return Route(model, "budget", tier, None if baseline == model else baseline)
    return Route(default_model if requested == AUTO else requested, "named")
