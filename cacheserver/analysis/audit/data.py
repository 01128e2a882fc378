"""The audit's report as JSON values: US dollars as text, to the nanodollar; `format` 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cacheserver.analysis.audit import invoice_data
from cacheserver.analysis.audit.daily import Month
from cacheserver.analysis.audit.formats.reading import ReadLog
from cacheserver.analysis.audit.invoice import InvoiceTotals
from cacheserver.analysis.audit.leaks import Leak
from cacheserver.analysis.audit.output.format import usd
from cacheserver.analysis.audit.tally import Group, Tally
from cacheserver.analysis.replay.verification import Verification, VerificationTotals
from cacheserver.core.types import Nanodollars

FORMAT = 1
_GROUPS = 100

# What the figures rest on, in words: shown with every report.
ASSUMPTIONS = (
    "Tokens are those that were billed, at the prices of their day.",
    "Exact: an identical request of the same tenant is answered within the lifetime.",
    "Semantic: decided by the policies of the server at the error target, learning from the logged "
    "answers; the answers of a sample are compared, and a wrong one saves nothing.",
    "Verification is an estimate, in no other figure: it takes the stated error rates and the "
    "probabilities of candidates for true, and its calls' time does not count. `cacheserver "
    "verify-model` measures the rates of a model on your own pairs.",
    "Routing: what the classifier finds simple goes to a cheaper model, nothing to a dearer one. "
    "The interval is how often that was right on its own test prompts (docs/routing.md), and a "
    "wrong one saves nothing; yours are others: try it before you trust it.",
    "Prompt caching: Claude keeps prefixes as documented; requests with own marks are left alone. "
    "How much of a prompt is marked is estimated from characters; the bounds are for prefixes with "
    "a third more or a quarter fewer tokens a character than the rest.",
    "Batch: single requests at regular times may wait up to a day. You know whether they may, so "
    "its bounds begin at nothing.",
    "Alone is each lever by itself; together they are after the same money, so the parts differ.",
    "A month is 30 days like those of the log; its interval (95%) is what such days differ by. Of "
    "less than a day no month is told, of less than two no interval.",
)

_OF_SUMS = (
    "Anthropic's reports hold sums: they are priced as prompts of up to 100,000 tokens, so the "
    "least they can have cost; what caching or batches would save is at most that.",
)


def report(
    reading: ReadLog,
    tally: Tally,
    leaks: Sequence[Leak],
    *,
    wrong_hit: Nanodollars = 0,
    invoice: InvoiceTotals | None = None,
    verification: Verification | None = None,
) -> dict[str, Any]:
    """Return the report. Amounts are totals of the log, except those under `month`."""
    semantic = [usd(end) for end in tally.semantic_interval(wrong_hit)]
    seconds = (reading.last or 0.0) - (reading.first or 0.0)
    wrong_low, wrong_high = tally.wrong.interval
    return {
        "format": FORMAT,
        "read": {
            "files": reading.files,
            "lines": reading.lines,
            "requests": reading.requests,
            "formats": dict(reading.formats),
            "without_prompt": reading.without_prompt,
            "skipped": dict(reading.skipped),
            "bad": reading.bad,
            "bad_shown": list(reading.shown),
            "from": _day(reading.first),
            "to": _day(reading.last),
        },
        "spent_usd": usd(tally.whole.spent),
        "log_says_usd": usd(tally.logged_cost),
        "of_the_same_requests_usd": usd(tally.priced_cost),
        "rests_on_estimated_tokens_usd": usd(tally.estimated),
        "without_prompt_usd": usd(tally.no_prompt),
        "unpriced_models": dict(tally.unpriced),
        "tokens": dict(tally.tokens),
        "saved_usd": usd(tally.saved),
        "month": {
            "spent": _month(tally.month("spent", seconds)),
            "saved": _month(tally.month("saved", seconds)),
        },
        "levers": _levers(tally, semantic, seconds),
        "semantic": {
            "hits": tally.wrong.hits,
            "compared": tally.wrong.compared,
            "wrong": tally.wrong.wrong,
            "wrong_share": tally.wrong.share,
            "wrong_share_95": [wrong_low, wrong_high],
            "saved_95_usd": semantic,
        },
        "verification": None if verification is None else _verified(verification, tally.verified),
        "requests_by_kind": dict(tally.kinds),
        "requests_by_reason": dict(tally.reasons),
        "by_model": [_group(one) for one in tally.by_model.dearest()],
        "by_day": sorted((_group(one) for one in tally.by_day.dearest()), key=lambda g: g["name"]),
        "groups": [_group(one) for one in tally.groups.dearest(_GROUPS)],
        "leaks": [_leak(one) for one in leaks],
        "anthropic_reports": None if invoice is None else invoice_data.section(invoice, tally),
        "assumptions": [*ASSUMPTIONS, *(() if invoice is None else _OF_SUMS)],
    }


def _levers(tally: Tally, semantic: Sequence[str], seconds: float) -> Mapping[str, Any]:
    levers: dict[str, dict[str, Any]] = {
        lever: {
            "alone_usd": usd(alone),
            "together_usd": usd(together),
            "alone_month": _month(tally.month(f"alone {lever}", seconds)),
            "together_month": _month(tally.month(f"together {lever}", seconds)),
        }
        for lever, (alone, together) in tally.parts().items()
    }
    for which, ends in (("alone", tally.marked.alone), ("together", tally.marked.together)):
        levers["prompt-caching"][f"{which}_bounds_usd"] = [usd(end) for end in ends]
        batch = tally.parts()["batch"][which == "together"]
        levers["batch"][f"{which}_bounds_usd"] = [usd(end) for end in sorted((0, batch))]
    alone, together = tally.routing_interval()
    levers["routing"]["alone_95_usd"] = [usd(end) for end in alone]
    levers["routing"]["together_95_usd"] = [usd(end) for end in together]
    levers["semantic"]["together_95_usd"] = semantic
    return levers


def _verified(terms: Verification, found: VerificationTotals) -> Mapping[str, Any]:
    """The estimate of verification, and the rates that it takes for true."""
    return {
        "estimate": True,
        "model": terms.model,
        "sensitivity": terms.rates.sensitivity,
        "false_yes": terms.rates.false_yes,
        "calls": found.calls,
        "hits": round(found.hits, 1),
        "wrong_hits": round(found.wrong, 2),
        "cost_usd": usd(found.cost),
        "saved_usd": usd(found.saved),
        "net_usd": usd(found.saved - found.cost),
    }


def _group(group: Group) -> Mapping[str, Any]:
    return {
        "name": group.name,
        "model": group.model,
        "requests": group.requests,
        "spent_usd": usd(group.spent),
        "saved_usd": usd(sum(group.together.values())),
        "saved_by_usd": {lever: usd(part) for lever, part in group.together.items()},
    }


def _leak(leak: Leak) -> Mapping[str, Any]:
    return {
        "kind": leak.kind,
        "what": leak.what,
        "model": leak.model,
        "requests": leak.requests,
        "saved_usd": usd(leak.saved),
        "month": _month(leak.month),
        "blamed": list(leak.blamed),
        "fix": leak.fix,
        "note": leak.note,
    }


def _month(month: Month | None) -> Mapping[str, Any] | None:
    """30 days, in US dollars; null for a log that is too short."""
    if month is None:
        return None
    ends = None if month.ends is None else [usd(end) for end in month.ends]
    return {"usd": usd(month.amount), "interval_95_usd": ends}


def _day(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
