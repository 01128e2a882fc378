"""The answer of budgets to a miss: a reservation, a verdict, or None. Pure.

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
    """The limits of a tenant, or of one of its keys, in one period. None: no limit."""

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

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.nano + other.nano, self.tokens + other.tokens)


NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Full:
    """A spent budget. `held`: reserved by calls under way, and not spent yet."""

    account: Account
    unit: Unit
    held: bool


@dataclass(frozen=True, slots=True)
class Reservation:
    """An amount reserved for one request until its cost is known."""

    id: str  # the request's
    accounts: tuple[Account, ...]
    amount: Amount
    cheapest: bool = False  # a budget is spent: only the cheapest tier may be asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """A refusal to ask Claude. `full` is None if the amount spent is not known."""

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
        """Headers for the caller: which budget, until when, and whether to retry."""
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
    """The number of billed tokens, of every kind."""
    billed = usage.billed
    return (
        billed.input_tokens
        + billed.output_tokens
        + billed.cache_write_5m_tokens
        + billed.cache_write_1h_tokens
        + billed.cache_read_tokens
    )
