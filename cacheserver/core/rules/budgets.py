"""Budgets of a tenant and its keys, and the action when one is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeAlias

from cacheserver.core.errors import CallerError, NotCached, OverBudget
from cacheserver.core.rules.alerts import AlertRules
from cacheserver.core.rules.bounds import STRICT, Bound

AtLimit: TypeAlias = Literal["warn", "cheaper", "cache-only", "refuse"]


@dataclass(frozen=True, slots=True)
class LimitAction:
    """The effect of a spent budget on a request that would ask Claude."""

    model: Literal["requested", "cheapest"] | None  # which may be asked; None: none
    refusal: type[CallerError] | None = None  # raised where no model may be asked
    refuses_jobs: bool = False  # new batches and jobs are refused as a whole

    @property
    def reservation(self) -> int:
        """Return the code of `budgets.scripts`: 0 the full price, 1 the cheapest tier's, 2 none."""
        return {"requested": 0, "cheapest": 1, None: 2}[self.model]


# Every value of `at_limit`, the mildest first: of several used-up budgets the last one decides.
ACTIONS: Final[Mapping[AtLimit, LimitAction]] = {
    "warn": LimitAction("requested"),
    "cheaper": LimitAction("cheapest"),
    "cache-only": LimitAction(None, NotCached),
    "refuse": LimitAction(None, OverBudget, refuses_jobs=True),
}

KeyId = Annotated[str, Bound(pattern=r"[0-9a-f]{16}")]
# A million dollars a month is beyond what one tenant of a cache spends, and sums stay exact.
Usd = Annotated[float, Bound(least=0, most=1_000_000)]
Tokens = Annotated[int, Bound(least=0, most=10**12)]
Share = Annotated[float, Bound(above=0, most=1)]


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit of one day or month: dollars, tokens, or whichever is reached first.

    0 is a budget of nothing. Tokens are all that Claude counted: prompt, cached or not, and answer.
    """

    __pydantic_config__ = STRICT

    usd: Usd | None = None
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        if self.usd is None and self.tokens is None:
            raise ValueError("a budget needs `usd` or `tokens`")


@dataclass(frozen=True, slots=True)
class KeyBudget:
    """The budget of one key, within its tenant's."""

    __pydantic_config__ = STRICT

    daily: Limit | None = None
    monthly: Limit | None = None
    at_limit: AtLimit | None = None  # None: as the tenant's

    def __post_init__(self) -> None:
        if self.daily is None and self.monthly is None:
            raise ValueError("a key's budget needs `daily` or `monthly`")


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """Budgets, and what happens at their end. None is set until an operator sets one."""

    __pydantic_config__ = STRICT

    enabled: bool = True
    daily: Limit | None = None
    monthly: Limit | None = None
    # Nobody is cut off by a figure they meant as a reminder: the harder ends are chosen.
    at_limit: AtLimit = "warn"
    keys: Annotated[dict[KeyId, KeyBudget], Bound(most=1_000)] = field(default_factory=dict)
    each_key: KeyBudget | None = None  # for those that `keys` does not name
    # Of a budget: spent, or forecast to be by its period's end. Four fifths leave time to act: six
    # days of a month.
    alert_at: Share = 0.8
    # With the store away what was spent is not known. Open: answers are worth more than a bound
    # that is missed by what Claude does in an outage; closed for who would rather have none.
    store_away: Literal["open", "closed"] = "open"
    # When days and months begin, in minutes east of UTC; without daylight saving, so that every
    # day has 24 hours and a budget means the same on each.
    utc_offset_min: Annotated[int, Bound(least=-720, most=840)] = 0
    alerts: AlertRules = field(default_factory=AlertRules)
