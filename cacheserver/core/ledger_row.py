"""A row of the ledger: one request, what it cost, what it saved and by which cause.

    counterfactual = cost + sum(saved)          what the caller's own miss would have cost
    net saving     = sum(saved) - sum(spent)    `spent` is what the cache paid beside the answer

Rule: amounts are whole nanodollars and `Usage` is what this request was billed for: none on a hit.
A new field has a default, a place in `storage.stored_row`, and if it is exported in
`ledger.row_codec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cacheserver.core.types import Nanodollars, Usage

# The causes of a saving. The last five may be negative: they change how Claude is asked.
CAUSES = (
    *("exact", "semantic", "verify", "coalesced", "stale"),
    *("routing", "compaction", "output-cap", "prompt-caching", "batch"),
)

# Calls that the cache pays for beside the answers. `retry`: an answer that was not good enough
# and was asked for again one tier up.
SPENDS = ("audit", "judge", "classifier", "prewarm", "summary", "trial", "retry", "verify")

OUTCOMES = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed", "background")

GONE = 499  # the status of a request that its caller gave up: nginx's "client closed request"

NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a call's cost, if its usage never arrived. `most` None: no bound is known."""

    least: Nanodollars = 0
    most: Nanodollars | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Bills of one request without the cache and its levers, all of its tokens at one model."""

    opus: Nanodollars
    sonnet: Nanodollars
    model: str | None = None  # that the tenant named; None: none with a price
    named: Nanodollars = 0  # at that model


@dataclass(frozen=True, slots=True)
class Row:
    """One record per request; `background` work has records of its own."""

    id: str  # of the decision: a row recorded twice counts once
    at: float  # Unix seconds when the request came in
    tenant: str
    outcome: str  # of `OUTCOMES`
    reason: str
    asked: str  # the model asked for, "auto" included
    model: str | None = None  # the model that answered
    baseline: str | None = None  # the model that would have answered without routing; None: `model`
    key_id: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    conversation: str | None = None
    usage: Usage = NOTHING
    cost: Nanodollars | None = 0  # None: unpriced, or not known (`unknown`)
    saved: Mapping[str, Nanodollars] = field(default_factory=dict)  # by cause; absent: 0
    spent: Mapping[str, Nanodollars] = field(default_factory=dict)
    prices: str | None = None  # the version of the prices
    call: str | None = None  # Claude's id of the message that was paid for
    status: int = 200
    unknown: Bounds | None = None  # set if Claude may bill a call whose usage never arrived
    stream: bool = False
    batch_eligible: bool = False
    batched: bool = False
    # Paid beside `cost` to verify a stored answer; this bill has a row of its own, as `spent`.
    verification: Nanodollars = 0
    # Of a call whose usage never arrived (`unknown`): shown and in the statistics, in no sum.
    estimated: Nanodollars | None = None
    compared: Comparison | None = None  # None: there was no answer, or its cost is not known

    @property
    def unpriced(self) -> bool:
        """Return whether the tokens are known and their price is not."""
        return self.cost is None and self.unknown is None

    @property
    def shown_cost(self) -> Nanodollars | None:
        """Return the cost with that of verification, estimated if need be; None if not known."""
        cost = self.estimated if self.cost is None else self.cost
        return None if cost is None else cost + self.verification

    @property
    def net(self) -> Nanodollars:
        """Return the savings less the spending of the cache."""
        return sum(self.saved.values()) - sum(self.spent.values())

    @property
    def counterfactual(self) -> Nanodollars | None:
        """Return what this caller's own miss would have cost; None if the cost is not known."""
        return None if self.cost is None else self.cost + sum(self.saved.values())
