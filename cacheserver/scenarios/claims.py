"""What the seed documents claim to save, held against arithmetic at their own prices.

Rule: a number here is the document's own, or computed from prices and stated counts.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from cacheserver.scenarios import claims_levers, claims_workloads, shelf, sums
from cacheserver.scenarios.claim import Books, Claim

_DAY: Final = date(2026, 11, 2)  # a fixed one: a page must not change by the day it is made

_PAGE: Final = """\
# Claims

What the documents this project began with (001, 002, 003) claim to save, held against arithmetic at
their own prices: Haiku 4.5 at 0.80/4, Sonnet 4.6 at 3/15, Opus 4.7 at 15/75 dollars per million
tokens. Today's prices, where named, are those of {day}. Every figure but those in the first
column is computed. What has no number, or no count to reckon it again from, is left out.
[Scenarios](scenarios.md) run the workloads through the policies.

This page is made by `cacheserver simulate --claims`.

| Claimed | By | Ours | Verdict | Arithmetic |
|---|---|---|---|---|
"""


def books() -> Books:
    """The rates claims are held against."""
    seeds, today = shelf.prices("seeds"), shelf.prices("today")
    return Books(
        sums.at(seeds, _DAY),
        sums.at(seeds, _DAY, batch=True),
        sums.at(today, _DAY),
        sums.at(today, _DAY, batch=True),
    )


def rows() -> list[Claim]:
    """Every claim: of whole workloads, then of single levers."""
    held = books()
    return [*claims_workloads.rows(held), *claims_levers.rows(held)]


def page() -> str:
    """All of it in Markdown."""
    lines = [
        f"| {one.claimed} | {one.source} | {one.ours} | {_verdict(one)} | {one.why} |\n"
        for one in rows()
    ]
    return _PAGE.format(day=_DAY.isoformat()) + "".join(lines)


def _verdict(claim: Claim) -> str:
    return f"**{claim.verdict}** {claim.provided}".strip()
