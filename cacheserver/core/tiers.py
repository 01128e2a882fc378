"""Tiers, the tasks that fall to each, and whether rules name only what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.routing import RoutingRules, Tier
from cacheserver.core.tasks import TASKS, canonical

# From the cheapest to the dearest.
ORDER: Final[tuple[Tier, ...]] = ("low", "middle", "high")

# No task goes to the high tier by its name alone; an operator's rule can send it there.
BY_TASK: Final[Mapping[str, Tier]] = {
    "classification": "low",
    "extraction": "low",
    "short_qa": "low",
    "translation": "low",
    "support": "low",
    "general_chat": "middle",
    "summarisation": "middle",
    "writing": "middle",
    "analysis": "middle",
    "code": "middle",
    "code_review": "middle",
    "math": "middle",
    "planning": "middle",
    "reasoning": "middle",
    "balanced_reasoning": "middle",
    "code_assistance": "middle",
    "complex_reasoning": "middle",
    "multi_step_planning": "middle",
    "advanced_code_gen": "middle",
}


def task_tier(task: str, rules: RoutingRules) -> Tier | None:
    """The tier a task falls to: the operator's word before ours; None: no table has it."""
    name = canonical(task)
    rule = rules.tasks.get(task) or rules.tasks.get(name)
    return BY_TASK.get(name) if rule is None else rule.tier


def model_of(tier: Tier, rules: RoutingRules) -> str:
    """The model behind a tier."""
    match tier:
        case "low":
            return rules.tiers.low
        case "middle":
            return rules.tiers.middle
        case "high":
            return rules.tiers.high


def tier_of(model: str, rules: RoutingRules) -> Tier | None:
    """The cheapest tier that a model stands behind; None: it stands behind none."""
    return next((tier for tier in ORDER if model_of(tier, rules) == model), None)


def above(tier: Tier) -> Tier:
    """Return the next more expensive tier; the highest returns itself."""
    return ORDER[min(ORDER.index(tier) + 1, len(ORDER) - 1)]


def all_tasks(rules: RoutingRules) -> tuple[str, ...]:
    """Return the built-in tasks, then the operator's."""
    return (*TASKS, *(task for task in rules.tasks if task not in TASKS))


def check(rules: RoutingRules, models: Collection[str] | None = None) -> None:
    """Raise `BadRequest` for rules that name a task, or a model, that nobody knows.

    `models` are the ids Claude has, where they are known; None: models are not looked at.
    """
    for place, override in enumerate(rules.overrides):
        at = f"routing.overrides.{place}"
        if (override.to_model is None) == (override.to_tier is None):
            raise BadRequest(f"{at}.to_model", "or `to_tier`: give one of them")
        if override.task is not None and task_tier(override.task, rules) is None:
            raise BadRequest(f"{at}.task", _unknown(override.task, all_tasks(rules)))
    if models is None:
        return
    names = {*models, *rules.more_models}
    for field, model in _named(rules):
        if model not in names:
            raise BadRequest(f"routing.{field}", _unknown(model, sorted(names)))


def check_task(task: str | None, rules: RoutingRules, field: str = "x-cache-task") -> None:
    """Raise `BadRequest` for a task that no table has, where the tenant wants that refused."""
    if task is not None and rules.strict_tasks and task_tier(task, rules) is None:
        raise BadRequest(field, _unknown(task, all_tasks(rules)))


def _named(rules: RoutingRules) -> Iterable[tuple[str, str]]:
    """Every model the rules send requests to, and where they name it."""
    yield from ((f"tiers.{tier}", model_of(tier, rules)) for tier in ORDER)
    for place, override in enumerate(rules.overrides):
        if override.to_model is not None:
            yield f"overrides.{place}.to_model", override.to_model
    if rules.haiku.model is not None:
        yield "haiku.model", rules.haiku.model


def _unknown(name: str, names: Iterable[str]) -> str:
    return f"`{name[:64]}` is not known; there are {', '.join(f'`{one}`' for one in names)}"
