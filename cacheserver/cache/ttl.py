"""Lifetimes of answers: set by the operator, and shortened by the caller."""

from __future__ import annotations

from cacheserver.core.types import Controls, Tenant, TtlRule


def lifetime(controls: Controls, tenant: Tenant) -> int:
    """Whole seconds from creation; 0: do not store.

    The most specific rule that matches sets the default, the shortest of equals; every matching
    maximum applies, the tenant's own included, to defaults and to what a caller asks for.
    """
    if not controls.store:
        return 0
    matching = [rule for rule in tenant.ttl_rules if _matches(rule, controls)]
    maximum = min(
        [tenant.max_ttl_s, *(rule.max_ttl_s for rule in matching if rule.max_ttl_s is not None)]
    )
    if controls.ttl_s is not None:
        return min(controls.ttl_s, maximum)
    defaults = [
        (-_specificity(rule), rule.default_ttl_s)
        for rule in matching
        if rule.default_ttl_s is not None
    ]
    default = min(defaults)[1] if defaults else tenant.default_ttl_s
    return min(default, maximum)


def _matches(rule: TtlRule, controls: Controls) -> bool:
    return (
        (rule.namespace is None or rule.namespace == controls.namespace)
        and (rule.task is None or rule.task == controls.task)
        and (rule.tag is None or rule.tag in controls.tags)
    )


def _specificity(rule: TtlRule) -> int:
    return sum(part is not None for part in (rule.namespace, rule.task, rule.tag))
