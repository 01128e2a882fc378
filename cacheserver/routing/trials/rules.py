"""Rules of trials: which comparisons are made, and what they have shown. Pure.

A trial compares a cheaper model with the next dearer one. A pair is a task and these two models.
It is compared whichever of the two answered the request, so a tier in use keeps being tested.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from cacheserver.core import tiers
from cacheserver.core.rules.routing import RoutingRules, TaskRule, Tier
from cacheserver.core.tasks import canonical
from cacheserver.core.types import Nanodollars, Route
from cacheserver.matching.conformal_bound import wilson
from cacheserver.routing import json_schema

Standing: TypeAlias = Literal["unproven", "proven", "rolled-back"]

# Why a tier is not used, as the route's reason tells it.
BARRED: Final[Mapping[Standing, str]] = {
    "unproven": "trial-unproven",
    "rolled-back": "trial-rolled-back",
}

# Two of three disagreements in a row say nothing; a fifth of twenty do.
_FEWEST: Final = 20
# A drop should show in these, though the window before it was good: from 95% to 80% it does.
_RECENT: Final = 50

# A conversation that stays where it is would be read by the other model with another's thinking
# in it; an answer that was asked for twice has been compared with a condition already.
_UNFIT: Final = frozenset({"sticky", "escalated"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Task and two models for which agreement is counted."""

    task: str
    dear: str  # models
    cheap: str


@dataclass(frozen=True, slots=True)
class Trial:
    """Comparison to make: the other half of an answered request."""

    pair: Pair
    model: str  # to be asked
    cheap: bool  # it is the pair's cheap one


@dataclass(frozen=True, slots=True)
class GoldScore:
    """Result of a gold set's last run."""

    right: int
    count: int  # that could be told
    at: float


@dataclass(frozen=True, slots=True)
class PairRecord:
    """Results of a pair's trials so far."""

    window: str = ""  # "1" agreed, "0" did not; the newest last
    undecided: int = 0
    standing: Standing = "unproven"
    least: float | None = None  # agreement that `standing` was found with
    gold: GoldScore | None = None
    calls: int = 0
    cost: Nanodollars = 0
    at: float | None = None  # of the last comparison
    changed_at: float | None = None  # of `standing`

    @property
    def agreed(self) -> int:
        return self.window.count("1")


def trial(route: Route, rules: RoutingRules) -> Trial | None:
    """Return the comparison that a routed answer can be half of, or None."""
    if route.tier is None or route.task is None or route.reason in _UNFIT:
        return None
    # Callers may call their work what they like: only names from a table are counted.
    if tiers.task_tier(route.task, rules) is None:
        return None
    if route.tier == "low":
        other = tiers.model_of("middle", rules)
        pair = Pair(canonical(route.task), other, route.model)
    else:
        other = tiers.model_of("low" if route.tier == "middle" else "middle", rules)
        pair = Pair(canonical(route.task), route.model, other)
    return None if other == route.model else Trial(pair, other, cheap=other == pair.cheap)


def pair_of(task: str, tier: Tier, rules: RoutingRules) -> Pair:
    """Return the pair that decides whether a tier is good enough for a task."""
    dear = tiers.model_of(tiers.above(tier), rules)
    return Pair(canonical(task), dear, tiers.model_of(tier, rules))


def gates(task: str, rules: RoutingRules) -> tuple[Tier, float] | None:
    """Return the tier that a task's rule requires to be proven, with the least agreement."""
    rule = rule_of(task, rules)
    if rule is None or rule.min_agreement is None or rule.tier == "high":
        return None
    if (pair := pair_of(task, rule.tier, rules)).dear == pair.cheap:
        return None
    return rule.tier, rule.min_agreement


def rule_of(task: str, rules: RoutingRules) -> TaskRule | None:
    """Return the operator's rule for a task, under any of its names."""
    name = canonical(task)
    return rules.tasks.get(name) or next(
        (rule for one, rule in rules.tasks.items() if canonical(one) == name), None
    )


def standing(shown: PairRecord, least: float) -> Standing:
    """Return whether a pair's cheap model is good enough, if `least` agreement is required.

    It is proven by the interval's lower end, and stays in use while the share itself is not lower:
    with one measure for both it would change with every other comparison. A gold set proves a model
    that has not failed yet, and can block it at any time.
    """
    held = shown.standing
    if held == "proven" and (shown.least is None or shown.least < least):
        held = "unproven"  # shown for less than is asked now
    if _fell(shown, least):
        return held if held == "unproven" else "rolled-back"
    if held == "proven" or _enough(shown.agreed, len(shown.window), least):
        return "proven"
    gold = shown.gold
    proven = held == "unproven" and gold is not None and _enough(gold.right, gold.count, least)
    return "proven" if proven else held


def interval(agreed: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share."""
    return wilson(agreed, count)


def alike(one: str, other: str) -> bool | None:
    """Return whether two answers say the same, if no model is needed to decide; otherwise None.

    Labels are compared without case and a full stop; JSON by its values, if no text must be read.
    """
    if _bare(one) == _bare(other):
        return True
    try:
        left, right = json.loads(_unfenced(one)), json.loads(_unfenced(other))
    except (ValueError, RecursionError):
        return None
    return _values_alike(left, right)


def _fell(shown: PairRecord, least: float) -> bool:
    gold = shown.gold
    if gold is not None and gold.count and gold.right / gold.count < least:
        return True
    count = len(shown.window)
    if count < _FEWEST:
        return False
    recent = shown.window[-_RECENT:]
    upper = interval(recent.count("1"), len(recent))[1]
    return shown.agreed / count < least or upper < least


def _enough(agreed: int, count: int, least: float) -> bool:
    return interval(agreed, count)[0] >= least


def _bare(text: str) -> str:
    return text.strip().rstrip(".!").casefold()


def _unfenced(text: str) -> str:
    """Return JSON without a code fence around it."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json")
    return bare


def _values_alike(one: Any, other: Any) -> bool | None:
    if json_schema.same(one, other):
        return True
    if isinstance(one, str) and isinstance(other, str):
        return True if _bare(one) == _bare(other) else None
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        found = [_values_alike(one[name], other[name]) for name in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        found = [_values_alike(a, b) for a, b in zip(one, other, strict=True)]
    else:
        return False
    return False if False in found else None if None in found else True
