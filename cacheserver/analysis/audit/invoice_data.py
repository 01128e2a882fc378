"""Anthropic's own reports as part of the audit's report, and leaks found in their sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.analysis.audit.daily import DAY_S
from cacheserver.analysis.audit.invoice import InvoiceTotals, Sums
from cacheserver.analysis.audit.leak_kinds import FIXES
from cacheserver.analysis.audit.leaks import Leak
from cacheserver.analysis.audit.output.format import usd
from cacheserver.analysis.audit.tally import Tally

_MOST: Final = 100  # lines of a table


def section(totals: InvoiceTotals, tally: Tally) -> Mapping[str, Any]:
    """Return the report's part on Anthropic's own reports. Amounts are totals of all days."""
    logged = {group.name: group.spent for group in tally.by_model.dearest()}
    return {
        "days": len(totals.by_day),
        "spent_usd": usd(totals.whole.spent),
        "cost_report_usd": usd(totals.whole.billed),
        "tokens": dict(totals.whole.tokens),
        "unpriced_tokens": dict(totals.unpriced),
        "batched_usd": usd(totals.batched),
        "caching_in_place_saved_usd": usd(totals.caching_saved),
        "at_most_usd": {
            "prompt-caching": usd(totals.caching_bound),
            "batch": usd(totals.batch_bound),
        },
        "older_models_usd": usd(sum(loss.daily.whole for loss in totals.older.values())),
        "by_model": [
            {**line, "logged_usd": usd(logged.get(str(line["name"]), 0))}
            for line in _table(totals.by_model)
        ],
        "by_workspace": _table(totals.by_workspace),
        "by_key": _table(totals.by_key),
        "by_day": sorted(_table(totals.by_day, None), key=lambda line: line["name"]),
    }


def leaks(totals: InvoiceTotals) -> list[Leak]:
    """Return leaks that sums show, by key or model with its most expensive days."""
    seconds = (totals.last - totals.first + 1) * DAY_S
    found = [
        *(
            ("marks nobody reads", f"key {key}", model, loss)
            for (model, key), loss in totals.unread.items()
        ),
        *(("older model", "all keys", model, loss) for model, loss in totals.older.items()),
    ]
    least = max(1, totals.whole.spent // 100)
    made = [
        Leak(
            kind=kind,
            what=what,
            model=model,
            requests=0,
            saved=loss.daily.whole,
            month=loss.daily.month(seconds),
            blamed=tuple(loss.blamed),
            fix=FIXES[kind],
        )
        for kind, what, model, loss in found
        if loss.daily.whole >= least
    ]
    return sorted(made, key=lambda leak: (-leak.saved, leak.kind, leak.what))[:10]


def _table(lines: Mapping[str, Sums], most: int | None = _MOST) -> list[dict[str, Any]]:
    """The dearest lines, and the rest of them as one."""
    ranked = sorted(lines.items(), key=lambda one: (-max(one[1].spent, one[1].billed), one[0]))
    rest = Sums()
    for _, sums in ranked[most:] if most is not None else ():
        rest.spent += sums.spent
        rest.billed += sums.billed
    shown = [*ranked[:most], *([("other", rest)] if rest.spent or rest.billed else [])]
    return [
        {
            "name": name,
            "spent_usd": usd(sums.spent),
            "cost_report_usd": usd(sums.billed),
            "tokens": dict(sums.tokens),
        }
        for name, sums in shown
    ]
