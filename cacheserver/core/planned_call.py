"""A call to Claude as it was planned: the model, and what each lever did to the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cacheserver.core.money import Nanodollars
from cacheserver.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Route:
    """The model that is asked, and why."""

    model: str
    reason: str  # "named", "default", "task", "complexity", "unsure", "sticky", "capability", ...
    tier: str | None = None  # "low", "middle", "high"; None: no tier of ours was asked for
    baseline: str | None = None  # the model asked had we not routed; None: the same
    task: str | None = None  # the type of work, given or inferred
    confidence: float | None = None  # of the classifier, 0..1; None: it was not asked
    spent: Nanodollars = 0  # on asking another model which one it should be


@dataclass(frozen=True, slots=True)
class Mark:
    """A `cache_control` of ours, on the block or tool at `path` in the body."""

    path: tuple[str | int, ...]  # ("tools", 3), ("system", 0), ("messages", 4, "content", 1)
    ttl: Literal["5m", "1h"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Marks for Claude's prompt cache, and the gain expected of them."""

    marks: tuple[Mark, ...]  # in the order of the prompt, at most 4
    reason: str
    expected: Nanodollars = 0  # gain over no marks; negative: a premium paid ahead
    prefix: str | None = None  # hash of the longest prefix marked
    draft: object = (
        None  # what the planner made it of (`promptcache.planner.Draft`), to be recorded
    )
    salt: Nanodollars = 0  # what the tenant's salt adds to the call, at the plain price


@dataclass(frozen=True, slots=True)
class Cap:
    """The `max_tokens` that goes upstream, and whose it is."""

    max_tokens: int
    reason: str  # "asked", "default", "learned", "tenant"
    asked: int | None = None  # what the caller wrote
    ours: bool = False  # an answer cut here was cut by us: it is not stored
    longer: int | None = None  # tokens that an answer cut here would have had; None: not known
    thinking_off: bool = False  # thinking was switched off, so that the cap is the answer's own


@dataclass(frozen=True, slots=True)
class Trim:
    """The part of a long conversation that is not sent."""

    reason: str  # "window", "summary"
    turns: int  # messages left out
    tokens: int  # input tokens that saves, estimated
    cost: Nanodollars = 0  # what writing the summary cost


@dataclass(frozen=True, slots=True)
class Tried:
    """An answer that would not do, and was paid for all the same."""

    model: str
    why: str  # "refused", "truncated", "schema", ...
    usage: Usage
    cost: Nanodollars | None  # None: unpriced


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """The body that goes upstream on a miss, and what each lever did to it."""

    body: bytes
    route: Route
    plan: Plan | None = None
    cap: Cap | None = None
    trim: Trim | None = None
    tried: Tried | None = None  # asked before, of the tier below
