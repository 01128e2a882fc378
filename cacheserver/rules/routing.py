"""Which model answers what, where the caller leaves it to us."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class RoutingRules:
    """Rules of model routing."""

    __pydantic_config__ = STRICT

    enabled: bool = True
