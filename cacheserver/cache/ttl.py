"""Lifetimes of answers: set by the operator, and shortened by the caller."""

from __future__ import annotations

from dataclasses import dataclass

from cacheserver.core.types import MOST_TTL_S, Controls, Entry, Tenant, TtlRule


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Lifetime of an answer, and the rules of the tenant (by place) that give it.

    `default_rule` None: the tenant's default, or what the caller asks for. `maximum_rule` None:
    the tenant's maximum.
    """

    ttl_s: int  # 0: do not store
    default_s: int
    default_rule: int | None
    maximum_s: int
    maximum_rule: int | None
    asked: bool  # the caller named one


def lifetime(controls: Controls, tenant: Tenant, model: str) -> int:
    """Return whole seconds from creation; 0: do not store. `model` is the one asked for."""
    return 0 if not controls.store else explained(controls, tenant, model).ttl_s


def explained(controls: Controls, tenant: Tenant, model: str) -> Lifetime:
    """Return an answer's lifetime with the rules that give it.

    The most specific rule that matches sets the default, the shortest of equals; every matching
    maximum applies, the tenant's own included, to defaults and to what a caller asks for.
    """
    matching = [
        (at, rule) for at, rule in enumerate(tenant.ttl_rules) if _matches(rule, controls, model)
    ]
    maximum, maximum_rule = tenant.max_ttl_s, None
    default, default_rule, specificity = tenant.default_ttl_s, None, 0
    for at, rule in matching:
        if rule.max_ttl_s is not None and rule.max_ttl_s < maximum:
            maximum, maximum_rule = rule.max_ttl_s, at
        if rule.default_ttl_s is None:
            continue
        found = _specificity(rule)
        if found > specificity or (found == specificity and rule.default_ttl_s < default):
            default, default_rule, specificity = rule.default_ttl_s, at, found
    wanted = default if controls.ttl_s is None else controls.ttl_s
    return Lifetime(
        min(wanted, maximum),
        default,
        default_rule,
        maximum,
        maximum_rule,
        controls.ttl_s is not None,
    )


def longest(entry: Entry, tenant: Tenant, *, cap_s: int | None) -> int:
    """Return the longest lifetime that settings allow a stored answer, in seconds from creation.

    `cap_s` is that of a volatile question. An entry does not say which task it was of, nor which
    model was asked for, only which one answered: the maximum of a task or of another model, as
    `auto`, counts if the entry has kept to it so far.
    """
    lived_s = entry.expires_at - entry.created_at
    bounds: list[int] = [tenant.max_ttl_s, MOST_TTL_S, *(() if cap_s is None else (cap_s,))]
    for rule in tenant.ttl_rules:
        of_it = Controls(namespace=entry.namespace, tags=entry.tags, task=rule.task)
        if rule.max_ttl_s is None or not _matches(rule, of_it, rule.model or entry.model):
            continue
        known = rule.task is None and rule.model in (None, entry.model)
        if known or lived_s <= rule.max_ttl_s:
            bounds.append(rule.max_ttl_s)
    return min(bounds)


def _matches(rule: TtlRule, controls: Controls, model: str) -> bool:
    return (
        (rule.namespace is None or rule.namespace == controls.namespace)
        and (rule.task is None or rule.task == controls.task)
        and (rule.tag is None or rule.tag in controls.tags)
        and (rule.model is None or rule.model == model)
    )


def _specificity(rule: TtlRule) -> int:
    return sum(part is not None for part in (rule.namespace, rule.task, rule.tag, rule.model))
