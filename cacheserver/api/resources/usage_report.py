"""Usage report from sums of the ledger: dollars with nine places, shares, targets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from cacheserver.calibration.wrong_hit_rate import WrongShare, estimate
from cacheserver.core.ledger_row import CAUSES, OUTCOMES, SPENDS
from cacheserver.core.money import usd
from cacheserver.core.types import Nanodollars
from cacheserver.ledger.comparison import compared_sums
from cacheserver.ledger.sums import SHORT

Sums = Mapping[str, int]

MOST = 1_000  # groups shown; the rest is one, `other`
_TOKENS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


def saved(sums: Sums) -> Nanodollars:
    return sum(sums.get(f"{cause}_saved", 0) for cause in CAUSES)


def spent(sums: Sums) -> Nanodollars:
    return sum(sums.get(f"{spend}_spent", 0) for spend in SPENDS)


def comparisons(sums: Sums, named: Collection[str]) -> dict[str, Any]:
    """Return what requests did cost beside their bill at Opus, Sonnet and the model named.

    `named` are the models that may have been. `model` is null where several were.
    """
    return {
        "estimate": True,  # other tokenizers count other tokens
        **dict.fromkeys(("opus", "sonnet", "named")),
        **{
            one.name: {
                "model": one.model,
                "requests": one.requests,
                "cost_usd": usd(one.cost),
                "usd": usd(one.bill),
                "difference_usd": usd(one.bill - one.cost),
            }
            for one in compared_sums(sums, named)
        },
    }


def totals(sums: Sums, target: Nanodollars, named: Collection[str] = ()) -> dict[str, Any]:
    """Return the totals of one group: requests, costs, savings, and unknown amounts."""
    cost, requests = sums.get("cost", 0), sums.get("requests", 0)
    paid = cost + spent(sums)
    return {
        "requests": requests,
        "decisions": {outcome: sums.get(outcome, 0) for outcome in OUTCOMES},
        "calls": sums.get("calls", 0),
        "tokens": tokens(sums),
        "web_searches": sums.get("web_searches", 0),
        "cost_usd": usd(cost),
        "spent_usd": usd(spent(sums)),
        "paid_usd": usd(paid),
        "saved_usd": usd(saved(sums)),
        "net_saved_usd": usd(saved(sums) - spent(sums)),
        "counterfactual_usd": usd(cost + saved(sums)),
        "saved_by_cause_usd": {c: usd(sums.get(f"{c}_saved", 0)) for c in CAUSES},
        "spent_by_cause_usd": {s: usd(sums.get(f"{s}_spent", 0)) for s in SPENDS},
        "comparisons": comparisons(sums, named),
        "cost_per_call": per(paid, requests, target),
        "batch": {
            "batched": sums.get("batched", 0),
            "eligible": (eligible := sums.get("eligible", 0)),
            "utilisation": round(sums.get("batched", 0) / eligible, 6) if eligible else None,
        },
        "unpriced": sums.get("unpriced", 0),
        "usage_unknown": {
            "requests": sums.get("unknown", 0),
            "least_usd": usd(sums.get("unknown_least", 0)),
            "most_usd": None if sums.get("unbounded") else usd(sums.get("unknown_most", 0)),
        },
    }


def tokens(sums: Sums) -> dict[str, int]:
    """Return the tokens of calls by kind, cache writes by their lifetime."""
    return {kind: sums.get(kind, 0) for kind in _TOKENS}


def per(cost: Nanodollars, count: int, target: Nanodollars) -> dict[str, Any]:
    """Return the cost of one of `count`, and the target. None if there were none."""
    each = round(cost / count) if count else None
    return {
        "usd": None if each is None else usd(each),
        "target_usd": usd(target),
        "met": None if each is None else each <= target,
    }


def models(by_model: Mapping[str, Sums]) -> list[dict[str, Any]]:
    """Return the models, most expensive first, each with its shares of requests and cost."""
    requests = sum(sums.get("requests", 0) for sums in by_model.values())
    cost = sum(sums.get("cost", 0) for sums in by_model.values())
    return [
        {
            "model": model or "other",
            "requests": sums.get("requests", 0),
            "share": round(sums.get("requests", 0) / requests, 6) if requests else 0.0,
            "cost_usd": usd(sums.get("cost", 0)),
            "cost_share": round(sums.get("cost", 0) / cost, 6) if cost else 0.0,
            "tokens": tokens(sums),
        }
        for model, sums in sorted(by_model.items(), key=lambda item: -item[1].get("cost", 0))
    ]


def wrong_hits(sums: Sums, share: WrongShare | None, price: Nanodollars) -> dict[str, Any]:
    """Wrong semantic hits, estimated, and the net saving at a price for each."""
    found = estimate(sums.get("semantic", 0), share, price)
    net = saved(sums) - spent(sums)
    return {
        "semantic_hits": found.hits,
        "share": None if share is None else round(share.share, 6),
        "interval": [0.0, 1.0] if share is None else [round(share.low, 6), round(share.high, 6)],
        "labels": 0 if share is None else share.labels,
        "wrong": round(found.wrong, 3),
        "wrong_interval": [round(found.low, 3), round(found.high, 3)],
        "price_per_wrong_usd": usd(price),
        "cost_usd": usd(found.cost),
        "net_saved_usd": usd(net - found.cost),
        "net_saved_interval_usd": [usd(net - found.cost_high), usd(net - found.cost_low)],
    }


def conversations(
    by_name: Mapping[tuple[str, bytes], Sequence[int]], target: Nanodollars
) -> dict[str, Any]:
    """Return costs by conversation from the ledger's sums by tenant and name.

    Those beyond what a day counts apart, without a name, are in the sum alone.
    """
    requests, whole, costs = 0, 0, []
    for (_, name), numbers in by_name.items():
        sums = dict(zip(SHORT, numbers, strict=True))
        cost = sums["cost"] + sums["spent"]
        requests, whole = requests + sums["requests"], whole + cost
        if name:
            costs.append(cost)
    return {
        "count": len(costs),
        "requests": requests,
        "cost_usd": usd(whole),
        "cost_per_conversation": per(sum(costs), len(costs), target),
        "over_target": sum(cost > target for cost in costs),
    }


def short(by_name: Mapping[str, Sums], word: str) -> list[dict[str, Any]]:
    """Return tasks or tags, largest first by cost and saving; the smallest as `other`."""
    rest = dict(by_name.get("", {}))
    named = [(name, sums) for name, sums in by_name.items() if name]
    named.sort(key=lambda item: (-item[1]["cost"] - item[1]["saved"], item[0]))
    for _, sums in named[MOST:]:
        for field, number in sums.items():
            rest[field] = rest.get(field, 0) + number
    shown = [{word: name, **_short(sums)} for name, sums in named[:MOST]]
    return [*shown, {word: "other", "others": True, **_short(rest)}] if rest else shown


def expanded(sums: Sums, by: str) -> Iterator[dict[str, Any]]:
    """Return a group split by cause or by decision."""
    if by == "decision":
        for outcome in OUTCOMES:
            if sums.get(outcome):
                yield {"decision": outcome, "requests": sums[outcome]}
        return
    for cause in dict.fromkeys((*CAUSES, *SPENDS)):
        saved, spent = sums.get(f"{cause}_saved", 0), sums.get(f"{cause}_spent", 0)
        shown = {"saved_usd": usd(saved)} if saved else {}
        if spent:
            shown["spent_usd"] = usd(spent)
        if cause in CAUSES and cause in SPENDS:
            shown["net_usd"] = usd(saved - spent)
        if saved or spent:
            yield {"cause": cause, **shown}


def _short(sums: Sums) -> dict[str, Any]:
    return {
        "requests": sums["requests"],
        "cost_usd": usd(sums["cost"]),
        "saved_usd": usd(sums["saved"]),
        "spent_usd": usd(sums["spent"]),
    }
