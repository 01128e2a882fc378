"""What budgets say of a miss: a reservation, a verdict, or nothing. Pure.

The port `cache.ports.Budgets` speaks in these; `budgets.rules` has the rules that make them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cacheserver.core.errors import CallerError
from cacheserver.core.rules.budgets import ACTIONS, AtLimit
from cacheserver.core.times import iso
from cacheserver.core.types import Nanodollars, Usage

Span: TypeAlias = Literal["day", "month"]


Unit: TypeAlias = Literal["usd", "tokens"]


@dataclass(frozen=True, slots=True)
class Period:
    """A day or month, in the tenant's time. `start` and `end` are Unix seconds."""

    span: Span
    id: str  # "d20260131", "m202601"
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Account:
    """What one tenant, or one of its keys, spends in one period, and may. None: no limit."""

    tenant: str
    key_id: str | None  # None: all of the tenant
    period: Period
    nano: Nanodollars | None = None
    tokens: int | None = None
    at_limit: AtLimit = "warn"

    @property
    def limited(self) -> bool:
        return self.nano is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Amount:
    """Money and tokens together."""

    nano: Nanodollars = 0
    tokens: int = 0


NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Full:
    """A budget that is at its end. `held`: not spent yet, but in flight."""

    account: Account
    unit: Unit
    held: bool


@dataclass(frozen=True, slots=True)
class Reservation:
    """What was put aside for one request until it is known what it cost."""

    id: str  # the request's
    accounts: tuple[Account, ...]
    amount: Amount
    cheapest: bool = False  # a budget is at its end: only the cheapest tier may be asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """Claude may not be asked. `full` None: what was spent is not known, and so is refused."""

    at_limit: AtLimit
    message: str
    full: Full | None = None

    @property
    def refusal(self) -> type[CallerError]:
        """Return the error that the caller gets."""
        refusal = ACTIONS[self.at_limit].refusal
        assert refusal is not None, "an action that lets Claude be asked gives no verdict"
        return refusal

    @property
    def headers(self) -> Mapping[str, str]:
        """What a caller's program reads: which budget, until when, and whether to come back."""
        soon = self.full is None or self.full.held
        found = {"x-should-retry": "true" if soon else "false"}
        if soon:
            found["retry-after"] = "1"
        if self.full is not None:
            account = self.full.account
            whose = "tenant" if account.key_id is None else "key"
            found["x-budget"] = f"{whose}/{account.period.span}/{self.full.unit}"
            found["x-budget-resets-at"] = iso(account.period.end)
        return found


Admission: TypeAlias = Reservation | Verdict | None  # None: nothing limits it


def tokens(usage: Usage) -> int:
    """All tokens on the bill, of every kind."""
    billed = usage.billed
    return (
        billed.input_tokens
        + billed.output_tokens
        + billed.cache_write_5m_tokens
        + billed.cache_write_1h_tokens
        + billed.cache_read_tokens
    )
