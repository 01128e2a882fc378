"""Rules for the model of a request, with the reason. Pure.

A named model is the caller's choice: only an operator's rule changes it. With `auto` the first of
these decides: deep analysis requested, the conversation's own model, the caller's task, an
operator's rule for the inferred task, the classifier. Then a model that has not been proven in
trials is replaced by the next tier, and one that would refuse the request by one that takes it.

Rule: nothing here reads or changes the key under which an answer is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cacheserver.claude import capabilities
from cacheserver.claude.capabilities import Abilities, Needs
from cacheserver.core import tiers
from cacheserver.core.rules.routing import Override, RoutingRules, Tier
from cacheserver.core.tasks import canonical
from cacheserver.core.types import AUTO, Nanodollars, Route
from cacheserver.routing import complexity
from cacheserver.routing.complexity import Complexity, Level


@dataclass(frozen=True, slots=True)
class Ask:
    """Facts about a request when its model is chosen."""

    model: str  # as asked, "auto" included
    task: str | None = None  # as the caller named it
    inferred: str | None = None  # else what it looks like
    deep: bool = False
    sticky: str | None = None  # the conversation's model, where leaving it would lose something
    reading: Complexity | None = None  # of our own classifier; None: off, or there is no text
    haiku: Level | None = None  # what Haiku said
    haiku_asked: bool = False
    spent: Nanodollars = 0  # on asking it
    # Tiers whose trials have not shown enough, with the reason for the route.
    barred: Mapping[Tier, str] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)

    @property
    def work(self) -> str | None:
        """Return the type of work, given or inferred."""
        return work(self.task, self.inferred)


@dataclass(frozen=True, slots=True)
class _Choice:
    reason: str
    tier: Tier | None
    model: str
    confidence: float | None = None


# Where to look when a tier's model would refuse. The dearest last, unless it was asked for.
_ELSEWHERE: Final[Mapping[Tier, tuple[Tier, ...]]] = {
    "low": ("middle", "high"),
    "middle": ("low", "high"),
    "high": ("middle", "low"),
}


def work(task: str | None, inferred: str | None) -> str | None:
    """Return the type of work: as the caller named it, else as inferred."""
    return inferred if task is None else canonical(task)


def choose(ask: Ask, rules: RoutingRules, abilities: Mapping[str, Abilities]) -> Route:
    """Return the model to ask; `abilities` are those of Claude's own list. Raises nothing."""
    if ask.model != AUTO:
        return _named(ask, rules, abilities)
    choice = _proven(_preferred(ask, rules), ask, rules)
    choice = _able(choice, ask.needs, rules, abilities)
    return Route(
        model=choice.model,
        reason=choice.reason,
        tier=choice.tier,
        task=ask.work,
        confidence=choice.confidence,
        spent=ask.spent,
    )


def asks_haiku(ask: Ask, rules: RoutingRules) -> bool:
    """Return whether Haiku classifies the request: nothing firmer decides, and it is allowed."""
    if ask.model != AUTO or rules.haiku.ask == "never" or _firm(ask, rules) is not None:
        return False
    if rules.haiku.ask == "always":
        return True
    return ask.reading is None or complexity.level(ask.reading, rules) is None


def needs_classifier(ask: Ask, rules: RoutingRules) -> bool:
    """Return whether the local classifier has to run, because no rule decides before it."""
    return ask.model == AUTO and rules.classifier and _firm(ask, rules) is None


def level_tier(level: Level, rules: RoutingRules) -> Tier:
    """Return the tier for a level of difficulty."""
    match level:
        case "SIMPLE":
            return rules.levels.simple
        case "MEDIUM":
            return rules.levels.medium
        case "COMPLEX":
            return rules.levels.complex


def _named(ask: Ask, rules: RoutingRules, abilities: Mapping[str, Abilities]) -> Route:
    route = Route(ask.model, "named", task=ask.work)
    for rule in rules.overrides:
        if rule.model != ask.model:
            continue
        if rule.task is not None and canonical(rule.task) != ask.work:
            continue
        model = _target(rule, rules)
        if model == ask.model:
            return route
        if (lack := capabilities.lacks(capabilities.of(model, abilities), ask.needs)) is not None:
            return replace(route, reason=f"capability:{lack}")
        tier = rule.to_tier or tiers.tier_of(model, rules)
        return replace(route, model=model, tier=tier, reason="override", baseline=ask.model)
    return route


def _target(rule: Override, rules: RoutingRules) -> str:
    """Return the model that a rule names; without one the model stays."""
    if rule.to_tier is not None:
        return tiers.model_of(rule.to_tier, rules)
    return rule.to_model or rule.model


def _preferred(ask: Ask, rules: RoutingRules) -> _Choice:
    """Return the first choice, before capabilities are checked."""
    if (firm := _firm(ask, rules)) is not None:
        return firm
    if ask.haiku is not None:
        return _at(level_tier(ask.haiku, rules), "haiku", rules)
    if ask.reading is not None and not (ask.haiku_asked and rules.haiku.ask == "always"):
        sure = complexity.level(ask.reading, rules)
        tier = rules.default_tier if sure is None else level_tier(sure, rules)
        reason = "unsure" if sure is None else "complexity"
        return _at(tier, reason, rules, ask.reading.confidence)
    if ask.haiku_asked:
        return _at(rules.default_tier, "unsure", rules)
    if ask.inferred is not None and (looks := tiers.task_tier(ask.inferred, rules)) is not None:
        return _at(looks, "task-inferred", rules)
    return _at(rules.default_tier, "default", rules)


def _firm(ask: Ask, rules: RoutingRules) -> _Choice | None:
    """Return the choice that needs no classifier, or None."""
    if ask.deep:
        return _at("high", "deep", rules)
    if ask.sticky is not None:
        return _Choice("sticky", tiers.tier_of(ask.sticky, rules), ask.sticky)
    if ask.task is not None and (given := tiers.task_tier(ask.task, rules)) is not None:
        return _at(given, "task", rules)
    # Our own table knows no more of an inferred task than the classifier does, which weighs it
    # with everything else; an operator's word for it is another thing.
    if ask.task is None and (rule := rules.tasks.get(ask.inferred or "")) is not None:
        return _at(rule.tier, "task-inferred", rules)
    return None


def _proven(choice: _Choice, ask: Ask, rules: RoutingRules) -> _Choice:
    """Return the choice, moved up while trials have not proven its tier."""
    if choice.reason in ("sticky", "deep"):
        return choice
    while choice.tier is not None and choice.tier in ask.barred and choice.tier != "high":
        why = ask.barred[choice.tier]
        choice = _at(tiers.above(choice.tier), why, rules, choice.confidence)
    return choice


def _able(
    choice: _Choice, needs: Needs, rules: RoutingRules, abilities: Mapping[str, Abilities]
) -> _Choice:
    """Return the choice, or the nearest model that takes the request."""
    lack = capabilities.lacks(capabilities.of(choice.model, abilities), needs)
    if lack is None:
        return choice
    for tier in _ELSEWHERE[choice.tier or rules.default_tier]:
        model = tiers.model_of(tier, rules)
        if capabilities.lacks(capabilities.of(model, abilities), needs) is None:
            return _at(tier, f"capability:{lack}", rules, choice.confidence)
    return choice  # no model can: Claude's error names the reason


def _at(tier: Tier, reason: str, rules: RoutingRules, confidence: float | None = None) -> _Choice:
    return _Choice(reason, tier, tiers.model_of(tier, rules), confidence)
