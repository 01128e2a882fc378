"""One request in the ledger: who asked, what it cost, what it saved and by which cause.

    counterfactual = cost + sum(saved)          what the caller's own miss would have cost
    net saving     = sum(saved) - sum(spent)    `spent` is what the cache paid beside the answer

Rule: amounts are whole nanodollars and `Usage` is what this request was billed for: none on a hit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cacheserver.core.types import Nanodollars, Usage

# What a saving can come from. The last five may be negative: they change how Claude is asked.
CAUSES = (
    *("exact", "semantic", "coalesced", "stale"),
    *("routing", "compaction", "output-cap", "prompt-caching", "batch"),
)

# What the cache pays Claude for beside the answers. `retry`: an answer that was not good enough
# and was asked for again one tier up.
SPENDS = ("audit", "judge", "classifier", "prewarm", "summary", "trial", "retry")

OUTCOMES = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed", "background")

GONE = 499  # the status of what its caller left or cancelled before its end, as nginx has it

NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a call may have cost whose usage never arrived. `most` None: no bound is known."""

    least: Nanodollars = 0
    most: Nanodollars | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One record per request; `background` work has records of its own."""

    id: str  # the decision's: a row recorded twice counts once
    at: float  # when it came in
    tenant: str
    outcome: str  # of `OUTCOMES`
    reason: str
    asked: str  # the model as asked, "auto" included
    model: str | None = None  # that answered
    baseline: str | None = None  # that would have, had we not routed; None: the same
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
    unknown: Bounds | None = None  # set where something may be billed whose usage never came
    stream: bool = False
    batch_eligible: bool = False
    batched: bool = False

    @property
    def unpriced(self) -> bool:
        """True where the tokens are known and their price is not."""
        return self.cost is None and self.unknown is None

    @property
    def net(self) -> Nanodollars:
        """What the cache saved, less what it spent for that."""
        return sum(self.saved.values()) - sum(self.spent.values())
