"""Rules of budgets: the accounts of a request, their balances, the one that decides. Pure.

    spent + reserved < limit      there is room, and a request is let in
    reserved                      what those let in before may still cost, at most

Rule: nothing is let in once what is spent and what is in flight reach the limit, so a budget is
overrun by no more than the one request that was let in last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cacheserver.cache.budget_verdict import NOTHING, Account, Amount, Full, Period, tokens
from cacheserver.core.ledger_row import Row
from cacheserver.core.rules.budgets import ACTIONS, AtLimit, BudgetRules, KeyBudget, Limit
from cacheserver.core.times import _unix, iso
from cacheserver.core.types import Nanodollars, Usage
from cacheserver.core.usage import MOST_OUTPUT_TOKENS
from cacheserver.pricing.estimate import prompt_tokens

_STRICTNESS: Final = tuple(ACTIONS)
_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Balance:
    """Balance of an account."""

    spent: Amount
    reserved: Amount


def periods(now: float, offset_min: int = 0) -> tuple[Period, Period]:
    """Return the day and the month that contain `now`."""
    offset = timedelta(minutes=offset_min)
    local = datetime.fromtimestamp(now, UTC) + offset
    day = datetime(local.year, local.month, local.day, tzinfo=UTC)
    month = day.replace(day=1)
    after = (month + timedelta(days=31)).replace(day=1)
    return (
        Period("day", f"d{day:%Y%m%d}", *_unix(day, day + timedelta(days=1), offset)),
        Period("month", f"m{month:%Y%m}", *_unix(month, after, offset)),
    )


def accounts(tenant: str, key_id: str | None, rules: BudgetRules, now: float) -> list[Account]:
    """Return the accounts of a request: the tenant's day and month, then its key's."""
    found = _of(tenant, None, rules, rules.at_limit, rules, now)
    if key_id is not None:
        own = rules.keys.get(key_id, rules.each_key)
        at_limit = rules.at_limit if own is None else own.at_limit or rules.at_limit
        found += _of(tenant, key_id, own, at_limit, rules, now)
    return found


def wanted(rules: BudgetRules, key_id: str | None) -> bool:
    """Return whether any budget limits such a request."""
    if not rules.enabled:
        return False
    if rules.daily is not None or rules.monthly is not None:
        return True
    return key_id is not None and (key_id in rules.keys or rules.each_key is not None)


def full(account: Account, balance: Balance) -> Full | None:
    """Return which limit of an account is used up; None: it has room."""
    for unit, limit, spent, reserved in (
        ("usd", account.nano, balance.spent.nano, balance.reserved.nano),
        ("tokens", account.tokens, balance.spent.tokens, balance.reserved.tokens),
    ):
        if limit is not None and spent + reserved >= limit:
            return Full(account, "usd" if unit == "usd" else "tokens", held=spent < limit)
    return None


def strictest(found: Iterable[Full]) -> Full | None:
    """Return the budget that decides: the strictest action; of two equal ones the later end."""
    return max(
        found,
        key=lambda one: (
            _STRICTNESS.index(one.account.at_limit),
            not one.held,
            one.account.period.end,
        ),
        default=None,
    )


def most(
    body: Mapping[str, Any],
    model: str,
    price: Callable[[str, Usage], Nanodollars | None],
    *,
    tier: str = "standard",
) -> Amount:
    """Return the most a request may cost: its estimated prompt and all the output it allows.

    A call that was cut off keeps this amount, so no more is held than Claude can write. `tier`
    "batch" is half the price. An unpriced model counts its tokens only.
    """
    prompt = prompt_tokens(body, model)
    allowed = body.get("max_tokens")
    output = allowed if isinstance(allowed, int) and not isinstance(allowed, bool) else 0
    usage = Usage(
        prompt,
        min(max(0, output), MOST_OUTPUT_TOKENS),
        service_tier=tier,
        speed=str(body.get("speed") or "standard"),
        inference_geo=str(body.get("inference_geo") or ""),
    )
    return Amount(price(model, usage) or 0, prompt + usage.output_tokens)


def of_row(row: Row, held: Amount = NOTHING) -> Amount:
    """Return what a request spent, audits, judges and other calls for it included.

    A call whose usage never arrived counts as the most it can cost; if that is not known, as what
    was `held` for it.
    """
    counted = Amount((row.cost or 0) + sum(row.spent.values()), tokens(row.usage))
    if row.unknown is None:
        return counted
    lost = row.unknown.most
    if lost is None:
        lost = max(row.unknown.least, held.nano)
    return Amount(counted.nano + lost, counted.tokens + held.tokens)


def hardest(found: Sequence[Full]) -> Full | None:
    """Return the strictest budget that is spent; if all are only held, the strictest of these."""
    spent = [one for one in found if not one.held and ACTIONS[one.account.at_limit].refusal]
    return strictest(spent or found)


def describe(one: Full) -> str:
    """Return the message for the caller about a used-up budget."""
    account = one.account
    whose = "this key's" if account.key_id is not None else "the tenant's"
    span = "daily" if account.period.span == "day" else "monthly"
    unit = "dollars" if one.unit == "usd" else "tokens"
    state = "is held by requests under way" if one.held else "is used up"
    return f"{whose} {span} budget in {unit} {state}; it resets at {iso(account.period.end)}"


def _of(
    tenant: str,
    key_id: str | None,
    own: BudgetRules | KeyBudget | None,
    at_limit: AtLimit,
    rules: BudgetRules,
    now: float,
) -> list[Account]:
    day, month = periods(now, rules.utc_offset_min)
    on = rules.enabled and own is not None
    daily = own.daily if on and own is not None else None
    monthly = own.monthly if on and own is not None else None
    return [
        _account(tenant, key_id, day, daily, at_limit),
        _account(tenant, key_id, month, monthly, at_limit),
    ]


def _account(
    tenant: str, key_id: str | None, period: Period, limit: Limit | None, at_limit: AtLimit
) -> Account:
    usd = None if limit is None else limit.usd
    nano = None if usd is None else round(usd * _NANO)
    return Account(tenant, key_id, period, nano, None if limit is None else limit.tokens, at_limit)
