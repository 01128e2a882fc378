"""What may be spent."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.rules.bounds import STRICT


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """Budgets, and what happens at their end."""

    __pydantic_config__ = STRICT

    enabled: bool = True
