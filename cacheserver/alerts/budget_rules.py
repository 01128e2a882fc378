"""Alert rules for budgets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.alerts.forecast import Forecast
from cacheserver.alerts.rules import Alert, Kind
from cacheserver.budgets.rules import Balance
from cacheserver.cache.budget_verdict import Account
from cacheserver.core.times import iso


def budget_alerts(
    account: Account, balance: Balance, ahead: Mapping[str, Forecast], *, share: float
) -> list[Alert]:
    """Return the alerts of a budget that is spent, near its end, or forecast to be.

    Near means `share` of the limit. For each unit only the worst of the three is returned. `ahead`
    has the forecasts by unit, "usd" and "tokens".
    """
    found = []
    period = account.period
    for unit, limit, spent in (
        ("usd", account.nano, balance.spent.nano),
        ("tokens", account.tokens, balance.spent.tokens),
    ):
        if limit is None:
            continue
        expected = ahead.get(unit)
        kind: Kind
        if spent >= limit:
            kind, finding = "budget-reached", "is used up"
        elif spent >= share * limit:
            kind, finding = "budget-near", f"is used to {spent / limit:.0%}"
        elif (
            expected is not None and expected.method != "spent" and expected.total >= share * limit
        ):
            kind = "budget-forecast"
            finding = f"will be used to {expected.total / limit:.0%} at this rate"
        else:
            continue
        whose = f"key {account.key_id}" if account.key_id else f"tenant {account.tenant}"
        span = "daily" if period.span == "day" else "monthly"
        facts: dict[str, Any] = {
            "unit": unit,
            "limit": limit,
            "spent": spent,
            "resets_at": iso(period.end),
            "at_limit": account.at_limit,
        }
        if expected is not None:
            facts |= {"forecast": expected.total, "forecast_low": expected.low}
            facts |= {"forecast_high": expected.high}
        found.append(
            Alert(
                kind,
                account.tenant,
                f"{account.key_id or ''}:{unit}",
                period.id,
                f"The {span} budget of {whose} in {_unit(unit)} {finding}; "
                f"it resets at {iso(period.end)}.",
                facts,
                once_s=62 * 86_400 if period.span == "month" else 2 * 86_400,
            )
        )
    return found


def _unit(unit: str) -> str:
    return "dollars" if unit == "usd" else "tokens"
