"""Weekly digest: one tenant's usage in a few lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cacheserver.alerts.rules import Alert, clean, day_name
from cacheserver.calibration import wrong_hit_rate
from cacheserver.calibration.wrong_hit_rate import WrongShare
from cacheserver.core.types import Nanodollars
from cacheserver.ledger.comparison import ComparedSum, compared_sums
from cacheserver.ledger.sums import COMPARED

_NANO: Final = 1_000_000_000
_DAY_S: Final = 86_400
_WEEK_S: Final = 7 * _DAY_S
_MONDAY: Final = 4 * _DAY_S  # 1970-01-05, the first Monday that Unix time knows
_MODELS: Final = 5


def last_week(now: float) -> tuple[int, int]:
    """Return the start and end of the previous week, Monday to Monday UTC, in Unix seconds."""
    this = int((now - _MONDAY) // _WEEK_S) * _WEEK_S + _MONDAY
    return this - _WEEK_S, this


def digest(
    tenant: str,
    models: Mapping[str, Mapping[str, int]],
    start: int,
    share: WrongShare | None = None,
    wrong_price: Nanodollars = 0,
    compare_with: str | None = None,
) -> Alert:
    """Return the digest of a tenant's requests, cost and savings in the week from `start`.

    `share` is the share of wrong similar hits; `wrong_price` is the cost of one. `compare_with` is
    the model that the tenant names.
    """

    def total(name: str) -> int:
        return sum(sums.get(name, 0) for sums in models.values())

    names = {name for sums in models.values() for name in sums if name.endswith("_saved")}
    spends = {name for sums in models.values() for name in sums if name.endswith("_spent")}
    saved, spent = sum(map(total, names)), sum(map(total, spends))
    requests, paid = total("requests"), total("cost") + spent
    facts: dict[str, Any] = {
        "requests": requests,
        "calls": total("calls"),
        "cost_nanodollars": total("cost"),
        "saved_nanodollars": saved,
        "spent_nanodollars": spent,
        "net_saved_nanodollars": saved - spent,
    }
    each = f", {_usd(round(paid / requests), places=4)} a request" if requests else ""
    lines = [
        f"Week from {day_name(start)} of tenant {tenant}: {requests:,} requests, "
        f"{facts['calls']:,} of them asked of Claude.",
        f"Paid {_usd(paid)}{each}: {_usd(total('cost'))} for answers, {_usd(spent)} beside them.",
        f"Saved {_usd(saved)}, net {_usd(saved - spent)}.",
    ]
    compared = compared_sums(
        {name: total(name) for name in COMPARED}, [] if compare_with is None else [compare_with]
    )
    if compared:
        sentence, more = _compared(compared)
        lines.append(sentence)
        facts |= more
    if semantic := total("semantic"):
        sentence, more = _wrong(
            wrong_hit_rate.estimate(semantic, share, wrong_price), share, saved - spent
        )
        lines.append(sentence)
        facts |= more
    top_models = sorted(models.items(), key=lambda one: -one[1].get("cost", 0))[:_MODELS]
    for model, sums in top_models:
        if sums.get("cost", 0):
            lines.append(f"{clean(model)}: {sums.get('calls', 0):,} calls, {_usd(sums['cost'])}.")
    text = "\n".join(lines)
    return Alert("digest", tenant, "", day_name(start), text, facts, once_s=3 * _WEEK_S)


def _compared(found: Sequence[ComparedSum]) -> tuple[str, Mapping[str, Any]]:
    """Return the comparisons as a sentence and as facts."""
    facts: dict[str, Any] = {}
    bills: list[str] = []
    for one in found:
        facts[f"{one.name}_nanodollars"] = one.bill
        facts[f"{one.name}_compared_cost_nanodollars"] = one.cost
        if one.name != "named":
            bills.append(f"{_usd(one.bill)} as all {one.name.capitalize()}")
        elif one.model is not None:
            facts["named_model"] = one.model
            bills.append(f"{_usd(one.bill)} as all {clean(one.model)}")
    return f"By estimate, the same requests without the cache: {', '.join(bills)}.", facts


def _wrong(
    found: wrong_hit_rate.WrongHits, share: WrongShare | None, net: Nanodollars
) -> tuple[str, Mapping[str, Any]]:
    """Return the wrong hits as a sentence and as facts."""
    facts = {
        "semantic_hits": found.hits,
        "wrong_hits": round(found.wrong, 3),
        "wrong_hits_low": round(found.low, 3),
        "wrong_hits_high": round(found.high, 3),
    }
    if share is None:
        return (
            f"How many of {found.hits:,} similar hits were wrong is unknown: there are no labels.",
            facts,
        )
    sentence = (
        f"Of {found.hits:,} similar hits some {found.wrong:,.1f} were wrong "
        f"({found.low:,.1f} to {found.high:,.1f} by {share.labels:,} labels)."
    )
    if found.cost_high:
        sentence += f" At what a wrong answer costs, net {_usd(net - found.cost)}."
        facts["net_saved_less_wrong_nanodollars"] = net - found.cost
    return sentence, facts


def _usd(nano: int, *, places: int = 2) -> str:
    return f"{'-' if nano < 0 else ''}${abs(nano) / _NANO:,.{places}f}"
