"""Replay of past calls under other routing rules: which would have gone to another model. Pure.

A call is replayed under the rules in force and under those tried. Only where the two differ does it
move: what a replay does not know (a schema, the length of a prompt) is then the same in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cacheserver.core.rules.routing import RoutingRules, Tier
from cacheserver.core.types import AUTO, Nanodollars, Route, Usage
from cacheserver.routing import rules as routing
from cacheserver.routing.complexity import Complexity
from cacheserver.routing.rules import Ask
from cacheserver.routing.task_inference import infer_task

# Recorded reasons of routes that the rules alone decide. The others rest on more than a record
# has: a budget, an escalation, what a model refuses, the word of Haiku.
_REPLAYED: Final = (
    *("named", "override", "default", "deep", "sticky", "task", "task-inferred"),
    *("complexity", "unsure", "trial-unproven", "trial-rolled-back"),
)

# Blocked tiers with the reason, by task.
Barred = Mapping[str, Mapping[Tier, str]]


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call to Claude as its decision record has it."""

    id: str
    at: float
    asked: str  # the model, `auto` included
    model: str  # that answered
    cost: Nanodollars
    usage: Usage
    reason: str  # of the route
    task: str | None = None  # as the caller named it
    inferred: str | None = None
    question: str | None = None
    reading: Complexity | None = None

    @property
    def work(self) -> str | None:
        return routing.work(self.task, self.inferred)


@dataclass(frozen=True, slots=True)
class Move:
    """A call that would have gone elsewhere. `cost` None: no price is known there."""

    call: PastCall
    before: Route
    after: Route
    cost: Nanodollars | None


@dataclass(slots=True)
class Sum:
    """Calls of one kind, with their cost as it was and as it would have been."""

    requests: int = 0
    moved: int = 0
    before: Nanodollars = 0
    after: Nanodollars = 0

    def add(self, before: Nanodollars, after: Nanodollars, *, moved: bool) -> None:
        self.requests += 1
        self.moved += moved
        self.before += before
        self.after += after


@dataclass(slots=True)
class WhatIf:
    """Result of a replay."""

    whole: Sum = field(default_factory=Sum)
    tasks: dict[str | None, Sum] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Sum] = field(default_factory=dict)  # by model before and after
    moves: list[Move] = field(default_factory=list)
    not_replayed: dict[str, int] = field(default_factory=dict)  # by reason
    unpriced: int = 0  # moved to a model without a price: the cost stays as it was


def past_call(record: Mapping[str, Any], cost: Nanodollars | None) -> PastCall | None:
    """Read a decision record; None if no call to Claude was paid for it."""
    route = (record.get("asked_how") or {}).get("route")
    if route is None or cost is None or record.get("model") is None or not record.get("usage"):
        return None
    task, question = record.get("task"), record.get("asked")
    inferred = None if task is not None else route.get("task") or infer_task({}, question)
    return PastCall(
        id=record["id"],
        at=record["at"],
        asked=record["model_asked"],
        model=record["model"],
        cost=cost,
        usage=Usage(**record["usage"]),
        reason=route["reason"],
        task=task,
        inferred=inferred,
        question=question,
    )


def route(
    call: PastCall, rules: RoutingRules, barred: Barred, *, default_model: str
) -> Route | None:
    """Return the route of a call under some rules; None if a record does not say enough."""
    if not rules.enabled:
        return Route(default_model if call.asked == AUTO else call.asked, "default")
    ask = Ask(
        call.asked,
        call.task,
        call.inferred if rules.infer_tasks else None,
        deep=call.reason == "deep",
        sticky=call.model if call.reason == "sticky" and rules.sticky_s else None,
        barred=barred.get(call.work or "", {}),
    )
    if routing.needs_classifier(ask, rules):
        if call.reading is None:
            return None
        ask = replace(ask, reading=call.reading)
    if routing.asks_haiku(ask, rules):
        return None
    return routing.choose(ask, rules, {})


def compare(
    calls: Iterable[PastCall],
    before: tuple[RoutingRules, Barred],
    after: tuple[RoutingRules, Barred],
    *,
    default_model: str,
) -> tuple[list[tuple[PastCall, Route, Route]], WhatIf]:
    """Return the calls that move with both routes, and the sums of those that stay."""
    moving: list[tuple[PastCall, Route, Route]] = []
    found = WhatIf()
    for call in calls:
        was = route(call, *before, default_model=default_model)
        now = route(call, *after, default_model=default_model)
        if call.reason not in _REPLAYED or was is None or now is None:
            why = call.reason if call.reason not in _REPLAYED else "text"
            if was is not None and now is None and call.question is not None:
                why = "haiku"
            found.not_replayed[why] = found.not_replayed.get(why, 0) + 1
        elif was.model != now.model and now.model != call.model:
            moving.append((call, was, now))
            continue
        count(found, call, None)
    return moving, found


def count(found: WhatIf, call: PastCall, move: Move | None) -> None:
    """Add a call, and its move if it has one, to the sums."""
    after, model = call.cost, call.model
    if move is not None:
        found.moves.append(move)
        found.unpriced += move.cost is None
        after, model = move.cost if move.cost is not None else call.cost, move.after.model
    for one in (
        found.whole,
        found.tasks.setdefault(call.work, Sum()),
        found.pairs.setdefault((call.model, model), Sum()),
    ):
        one.add(call.cost, after, moved=move is not None)


def scaled(cost: Nanodollars, here: Nanodollars | None, there: Nanodollars | None) -> int | None:
    """Return what a call would have cost elsewhere, by both list prices of its tokens.

    What it was billed in another way (a batch, a search) scales along. None without a price.
    """
    if there is None or not here:
        return None
    return (cost * there + here // 2) // here


def examples(moves: Sequence[Move], most: int) -> list[Move]:
    """Return the moves that change most, those without a price last."""
    change = {
        move.call.id: -1 if move.cost is None else abs(move.cost - move.call.cost) for move in moves
    }
    return sorted(moves, key=lambda move: (-change[move.call.id], move.call.id))[:most]
