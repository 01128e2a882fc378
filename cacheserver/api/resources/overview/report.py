"""Overview as JSON, from sums of the ledger by day and by hour. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cacheserver.api.resources import usage_report
from cacheserver.core.ledger_row import CAUSES, SPENDS
from cacheserver.core.money import usd
from cacheserver.core.times import iso
from cacheserver.ledger.comparison import compared_sums
from cacheserver.observability.metrics import OUTCOMES

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
HOURS: Final = 48
DAYS: Final = 30
_WEEK: Final = 7
_OTHERS: Final = ("opus", "sonnet", "named")

Sums = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Periods:
    """Hours and days that the overview covers, as numbers since 1970. Days are UTC."""

    hour: int  # that of now
    day: int
    month: int  # the first day of this month

    @property
    def hours(self) -> range:
        return range(self.hour - HOURS + 1, self.hour + 1)

    @property
    def days(self) -> range:
        """Return the days to be read: those that are shown, and those of this month."""
        return range(min(self.day - DAYS + 1, self.month), self.day + 1)


def periods(now: float) -> Periods:
    """Return the periods of an overview at `now` (Unix seconds)."""
    first = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0)
    return Periods(int(now // HOUR_S), int(now // DAY_S), int(first.timestamp() // DAY_S))


def money(
    days: Mapping[int, Sums], found: Periods, tenant: str | None, named: Collection[str]
) -> dict[str, Any]:
    """Return what was paid and saved today, in seven days and in this month."""
    firsts = {"today": found.day, "week": found.day - _WEEK + 1, "month": found.month}
    return {
        name: _money(days, range(first, found.day + 1), tenant, named)
        for name, first in firsts.items()
    }


def _money(
    days: Mapping[int, Sums], wanted: range, tenant: str | None, named: Collection[str]
) -> dict[str, Any]:
    sums = add(days, wanted)
    cost, saved, spent = sums.get("cost", 0), usage_report.saved(sums), usage_report.spent(sums)
    return {
        "from": iso(wanted.start * DAY_S),
        "to": iso(wanted.stop * DAY_S),
        "call": usage_call(wanted, tenant),
        "requests": sums.get("requests", 0),
        "cost_usd": usd(cost),
        "spent_usd": usd(spent),
        "paid_usd": usd(cost + spent),
        "saved_usd": usd(saved),
        "net_saved_usd": usd(saved - spent),
        "counterfactual_usd": usd(cost + saved),
        "saved_by_cause_usd": {c: usd(sums.get(f"{c}_saved", 0)) for c in CAUSES},
        "spent_by_cause_usd": {s: usd(sums.get(f"{s}_spent", 0)) for s in SPENDS},
        "comparisons": usage_report.comparisons(sums, named),
        "unpriced": sums.get("unpriced", 0),
    }


def hits(days: Mapping[int, Sums], found: Periods, tenant: str | None) -> dict[str, Any]:
    """Return the requests of seven days by outcome, and the share that was served from the cache.

    `hit_rate` is of requests that could have been hits: without bypassed and failed ones.
    """
    wanted = range(found.day - _WEEK + 1, found.day + 1)
    sums = add(days, wanted)
    counts = {outcome: sums.get(outcome, 0) for outcome in OUTCOMES}
    asked = sums.get("requests", 0)
    served = sum(counts[kind] for kind in ("exact", "semantic", "coalesced", "stale"))
    eligible = asked - counts["bypass"] - counts["failed"]
    return {
        "from": iso(wanted.start * DAY_S),
        "to": iso(wanted.stop * DAY_S),
        "call": usage_call(wanted, tenant, group_by="decision"),
        "requests": asked,
        "decisions": counts,
        "shares": {kind: round(n / asked, 6) if asked else None for kind, n in counts.items()},
        "hit_rate": round(served / eligible, 6) if eligible else None,
    }


def series(
    sums: Mapping[int, Sums], wanted: range, every_s: int, tenant: str | None
) -> dict[str, Any]:
    """Return columns over time: `at` (Unix seconds, begins of spans), outcomes, and money.

    A difference is a comparison's: the bill at that model less the cost of the same requests.
    """
    spans = [sums.get(number, {}) for number in wanted]
    unit = {HOUR_S: "hour", DAY_S: "day"}[every_s]
    return {
        "call": usage_call(wanted, tenant, group_by=unit, every_s=every_s),
        "every_s": every_s,
        "at": [number * every_s for number in wanted],
        "requests": [span.get("requests", 0) for span in spans],
        **{outcome: [span.get(outcome, 0) for span in spans] for outcome in OUTCOMES},
        "paid_usd": [usd(span.get("cost", 0) + usage_report.spent(span)) for span in spans],
        "spent_usd": [usd(usage_report.spent(span)) for span in spans],
        "saved_usd": [usd(usage_report.saved(span)) for span in spans],
        **{
            f"{name}_difference_usd": [_difference(span, name) for span in spans]
            for name in _OTHERS
        },
    }


def _difference(span: Sums, name: str) -> str:
    """Return the bill at another model less the cost of the same requests."""
    return usd(
        next((one.bill - one.cost for one in compared_sums(span, ()) if one.name == name), 0)
    )


def usage_call(
    wanted: range, tenant: str | None, *, group_by: str | None = None, every_s: int = DAY_S
) -> str:
    """Return the call that gives the sums of these days or hours."""
    words = [f"from={wanted.start * every_s}", f"to={wanted.stop * every_s}"]
    if group_by is not None:
        words.append(f"group_by={group_by}")
    return "/v1/usage?" + "&".join(words) + of_tenant(tenant, "&")


def of_tenant(tenant: str | None, mark: str = "?") -> str:
    """Return the end of a call's path that names the tenant; "" for all tenants."""
    return "" if tenant is None else f"{mark}tenant={tenant}"


def add(sums: Mapping[int, Sums], wanted: Sequence[int]) -> dict[str, int]:
    """Return the sums over some days or hours."""
    found: dict[str, int] = {}
    for number in wanted:
        for name, amount in sums.get(number, {}).items():
            found[name] = found.get(name, 0) + amount
    return found
