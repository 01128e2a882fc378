"""Report of a run, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cacheserver.analysis.replay.step import LEVERS
from cacheserver.analysis.scenarios.run import Result
from cacheserver.core.terminal.counts import counted
from cacheserver.core.types import Nanodollars

_MONTH_DAYS = 30.0


def lines(result: Result) -> Iterator[str]:
    """Yield the lines of the report."""
    scenario, whole = result.scenario, result.whole
    yield f"{scenario.name}: {scenario.about}"
    days = "1 day" if scenario.days == 1 else f"{scenario.days:g} days"
    yield f"At {result.prices.label}, seed {scenario.seed}, over {days}."
    yield ""
    yield from _table(result)
    yield ""
    hits = sum(whole.hits.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(whole.hits.items()))
    yield f"requests        {whole.requests:,} in {counted(whole.conversations, 'conversation')}"
    yield f"hits            {hits:,} ({_share(hits, whole.requests)})" + (kinds and f": {kinds}")
    yield f"wrong hits      {whole.wrong:.0f}"
    yield f"batched         {whole.batched:,}"
    yield from _verified(result)
    for model, number in sorted(whole.models.items()):
        yield f"asked           {number:,} of {model}"
    if whole.unpriced:
        yield f"unpriced        {whole.unpriced:,}, which are in no amount"
    yield f"a request       {_each(whole.spent, whole.requests)} -> " + _each(
        whole.left, whole.requests
    )
    yield f"a conversation  {_each(whole.spent, whole.conversations)} -> " + _each(
        whole.left, whole.conversations
    )
    if len(result.kinds) > 1:
        yield ""
        for name, totals in result.kinds.items():
            yield f"{name:<15} {_dollars(totals.spent)} -> {_dollars(totals.left)}" + (
                f" ({_share(totals.spent - totals.left, totals.spent)} less)"
            )
    yield ""
    yield "Assumed:"
    for stated in scenario.assumptions:
        yield f"- {stated.what}: {stated.value} ({stated.source})"
    yield ""
    yield f"{whole.requests / max(result.took_s, 1e-9):,.0f} requests a second simulated."


def as_json(result: Result) -> dict[str, Any]:
    """Return the run in nanodollars, without its duration: equal runs give equal values."""
    scenario = result.scenario
    return {
        "scenario": scenario.name,
        "about": scenario.about,
        "seed": scenario.seed,
        "days": scenario.days,
        "prices": result.prices.label,
        "price_version": result.version,
        "whole": result.whole.as_json(),
        "kinds": {name: totals.as_json() for name, totals in result.kinds.items()},
        "assumptions": [
            {"what": stated.what, "value": stated.value, "source": stated.source}
            for stated in scenario.assumptions
        ],
    }


def _table(result: Result) -> Iterator[str]:
    whole = result.whole
    yield f"{'':<16}{'alone':>14}{'':>8}{'together':>14}"
    yield f"{'without us':<16}{_dollars(whole.spent):>14}{'':>8}{_dollars(whole.spent):>14}"
    for lever in LEVERS:
        if lever not in result.scenario.levers:
            continue
        alone, together = whole.alone[lever], whole.together[lever]
        yield (
            f"{lever:<16}{_dollars(-alone):>14}{_share(alone, whole.spent):>8}"
            f"{_dollars(-together):>14}{_share(together, whole.spent):>8}"
        )
    saved = _share(whole.spent - whole.left, whole.spent)
    yield f"{'with all':<16}{'':>14}{'':>8}{_dollars(whole.left):>14}{saved:>8}"
    month = _MONTH_DAYS / result.scenario.days
    if month != 1:
        yield (
            f"{'in 30 days':<16}{_dollars(whole.spent, month):>14}{'':>8}"
            f"{_dollars(whole.left, month):>14}"
        )


def _verified(result: Result) -> Iterator[str]:
    stated, found = result.scenario.verification, result.whole.verified
    if stated is None:
        return
    yield (
        f"verification    an estimate, in no other figure: with {stated.sensitivity:.1%} and "
        f"{stated.false_yes:.1%} false yes {counted(found.calls, 'call')} of {stated.model}"
    )
    yield (
        f"{'':<16}cost {_dollars(found.cost)}; {found.hits:,.0f} more hits, {found.wrong:,.0f} of "
        f"them wrong, save {_dollars(found.saved)}"
    )


def _dollars(amount: Nanodollars, times: float = 1.0) -> str:
    dollars = amount * times / 1e9
    return f"-${-dollars:,.2f}" if round(dollars, 2) < 0 else f"${abs(dollars):,.2f}"


def _each(amount: Nanodollars, number: int) -> str:
    return f"${amount / 1e9 / max(1, number):.5f}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"
