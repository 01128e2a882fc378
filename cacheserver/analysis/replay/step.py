"""Cost of one replayed request, and the saving of each lever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cacheserver.core.types import HitKind, Nanodollars, Route

# What may be switched on, in the order of the path. `semantic` adds to `exact`: a question is only
# sought by similarity where it was not found as it stands.
LEVERS: Final = ("exact", "semantic", "routing", "prompt-caching", "batch")


@dataclass(frozen=True, slots=True)
class VerificationEstimate:
    """Expected outcome of asking a model about a miss. It is in no other amount."""

    hits: float  # chance of a yes
    wrong: float  # chance of one to an answer that does not serve
    cost: Nanodollars
    saved: Nanodollars  # by right yeses, before the cost


@dataclass(frozen=True, slots=True)
class Step:
    """One request, replayed. Amounts are whole nanodollars; a part absent is 0.

    spent = cost + sum(together.values())
    """

    spent: Nanodollars | None  # what it was billed for; None: unpriced, and then all else is empty
    alone: Mapping[str, Nanodollars] = field(default_factory=dict)  # by lever, each by itself
    together: Mapping[str, Nanodollars] = field(default_factory=dict)  # by lever, all of them on
    kind: HitKind | None = None  # answered by the cache, with all levers on; None: Claude is asked
    reason: str = ""  # as the server would say it
    like: str | None = None  # the `source` of the request whose answer would have been served
    right: bool | None = None  # whether the two logged answers say the same; None: not compared
    stands_for: float = 1.0  # would-be hits, this one included, where only a share is compared
    late: float | None = None  # seconds by which an identical request missed the entry's lifetime
    route: Route | None = None  # what the router would have chosen; None: it was not asked
    plan: str | None = None  # the prompt-cache planner's reason; None: it was not asked
    marked: float = 0.0  # the share of the prompt's tokens that its marks cover
    batched: bool = False  # one of a regular series that could wait
    verification: VerificationEstimate | None = None  # None: nothing would be asked
    root: str = ""  # digest of tenant, model, tools and system: requests with one are one group
