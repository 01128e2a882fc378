"""A week's usage of one tenant, in a few lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cacheserver.policy.alerts import Alert, clean, day_name

_NANO: Final = 1_000_000_000
_DAY_S: Final = 86_400
_WEEK_S: Final = 7 * _DAY_S
_MONDAY: Final = 4 * _DAY_S  # 1970-01-05, the first Monday that Unix time knows
_MODELS: Final = 5


def last_week(now: float) -> tuple[int, int]:
    """The week before this one, Monday to Monday, UTC, in Unix seconds."""
    this = int((now - _MONDAY) // _WEEK_S) * _WEEK_S + _MONDAY
    return this - _WEEK_S, this


def digest(tenant: str, models: Mapping[str, Mapping[str, int]], start: int) -> Alert:
    """What a tenant asked, paid and saved in the week from `start`, by model."""

    def total(name: str) -> int:
        return sum(sums.get(name, 0) for sums in models.values())

    names = {name for sums in models.values() for name in sums if name.endswith("_saved")}
    spends = {name for sums in models.values() for name in sums if name.endswith("_spent")}
    saved, spent = sum(map(total, names)), sum(map(total, spends))
    facts = {
        "requests": total("requests"),
        "calls": total("calls"),
        "cost_nanodollars": total("cost"),
        "saved_nanodollars": saved,
        "spent_nanodollars": spent,
    }
    lines = [
        f"Week from {day_name(start)} of tenant {tenant}: {facts['requests']:,} requests, "
        f"{facts['calls']:,} of them asked of Claude.",
        f"Paid {_usd(facts['cost_nanodollars'])}, saved {_usd(saved)}, "
        f"and {_usd(spent)} spent on saving it.",
    ]
    dearest = sorted(models.items(), key=lambda one: -one[1].get("cost", 0))[:_MODELS]
    for model, sums in dearest:
        if sums.get("cost", 0):
            lines.append(f"{clean(model)}: {sums.get('calls', 0):,} calls, {_usd(sums['cost'])}.")
    text = "\n".join(lines)
    return Alert("digest", tenant, "", day_name(start), text, facts, once_s=3 * _WEEK_S)


def _usd(nano: int) -> str:
    return f"{'-' if nano < 0 else ''}${abs(nano) / _NANO:,.2f}"
