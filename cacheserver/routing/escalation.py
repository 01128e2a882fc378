"""Escalation: checks answers of cheaper tiers before they are sent, and asks one tier up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cacheserver.cache.ports import Pricer, Spent, unrecorded
from cacheserver.claude import capabilities
from cacheserver.core import json_text, tiers
from cacheserver.core.rules.routing import Tier
from cacheserver.core.rules.validation import Check
from cacheserver.core.types import PlannedCall, Query, Route, Tried
from cacheserver.core.usage import usage_of, word
from cacheserver.output_caps import rules as cap_rules
from cacheserver.routing import answer_checks
from cacheserver.routing.model_catalogue import ModelCatalogue
from cacheserver.routing.trials import rules as trial_rules

ESCALATED = "escalated"


class Escalation:
    """Checks answers, and plans the call that replaces a failed one."""

    def __init__(
        self, catalogue: ModelCatalogue, pricer: Pricer, spent: Spent = unrecorded
    ) -> None:
        self._catalogue = catalogue
        self._pricer = pricer
        self._spent = spent

    def holds_back(self, query: Query, call: PlannedCall) -> bool:
        """Return whether a stream is to be fetched whole, checked, and then streamed."""
        rules = query.tenant.routing.validation
        return rules.streams and _looked_at(query, call) and _next(query, call.route) is not None

    def verdict(self, query: Query, call: PlannedCall, message: Mapping[str, Any]) -> str | None:
        """Return why an answer fails: "refused", "truncated", or the condition it does not meet.

        None: it passes, or there was no check. A failed answer is not stored.
        """
        if not _looked_at(query, call) or message.get("type") != "message":
            return None
        rules = query.tenant.routing.validation
        if rules.enabled and (found := answer_checks.cut_or_refused(message, rules)) is not None:
            return found
        checks = (answer_checks.flaw(message, check) for check in _checks(query, call))
        return next((found for found in checks if found is not None), None)

    def escalate(
        self, query: Query, call: PlannedCall, message: Mapping[str, Any], why: str, now: float
    ) -> PlannedCall | None:
        """Return the call one tier up; `message` is the answer that failed.

        None: there is no usable tier above, or its model would refuse the request.
        """
        route, rules = call.route, query.tenant.routing
        if (tier := _next(query, route)) is None:
            return None
        model = tiers.model_of(tier, rules)
        body = _unmarked(call)
        body["model"] = model
        cap = call.cap
        if cap is not None and cap.thinking_off:  # the tier above may not allow that
            cap = cap_rules.with_thinking(cap, model, query.tenant.lengths)
            body["max_tokens"] = cap.max_tokens
            body.pop("thinking", None)
        if why == "truncated" and cap is not None and cap.ours and cap.reason != "tenant":
            # Cut by us: the same cap would cut it again.
            most = query.tenant.lengths.ceiling or cap_rules.raised(cap)
            cap = replace(cap, max_tokens=min(cap_rules.raised(cap), most))
            body["max_tokens"] = cap.max_tokens
        able = capabilities.of(model, self._catalogue.abilities(now))
        if capabilities.lacks(able, capabilities.needs(body)) is not None:
            return None
        planned = route.baseline or route.model
        again = replace(
            route,
            model=model,
            reason=ESCALATED,
            tier=tier,
            baseline=None if planned == model else planned,
        )
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        tried = Tried(
            word(message.get("model"), route.model),
            why,
            usage_of(message),
            None if bill is None else bill.cost,
        )
        return replace(
            call, body=json_text.dumps(body), route=again, plan=None, cap=cap, tried=tried
        )

    def replaced(self, query: Query, message: Mapping[str, Any], now: float) -> None:
        """Record the cost of an answer that was replaced by a better one."""
        self._spent("retry", query.tenant.name, message, now)


def _looked_at(query: Query, call: PlannedCall) -> bool:
    """Return whether there is anything to check in such an answer."""
    if query.controls.check is not None:
        return True
    routed = call.route.tier is not None and "routing" not in query.controls.off
    return routed and query.tenant.routing.validation.enabled


def _checks(query: Query, call: PlannedCall) -> Iterator[Check]:
    """Yield the caller's conditions, then the request's own schema, then the operator's."""
    if query.controls.check is not None:
        yield query.controls.check
    if not query.tenant.routing.validation.enabled:
        return
    if (schema := answer_checks.requested_schema(query.body)) is not None:
        yield schema
    task = call.route.task
    rule = None if task is None else trial_rules.rule_of(task, query.tenant.routing)
    if rule is not None and rule.check is not None:
        yield rule.check


def _next(query: Query, route: Route) -> Tier | None:
    """Return the tier to ask if this one's answer fails, or None."""
    rules = query.tenant.routing
    last = tiers.ORDER.index(rules.validation.up_to)
    # A named model is what the caller wanted; a conversation that moves loses its thinking.
    if route.reason in (ESCALATED, "sticky") or route.tier not in tiers.ORDER:
        return None
    place = tiers.ORDER.index(route.tier) + 1
    if place > last or tiers.model_of(tiers.ORDER[place], rules) == route.model:
        return None
    return tiers.ORDER[place]


def _unmarked(call: PlannedCall) -> dict[str, Any]:
    """Return the body as sent, without the marks planned for the model it went to."""
    body: dict[str, Any] = json_text.loads(call.body)
    for mark in () if call.plan is None else call.plan.marks:
        at: Any = body
        for step in mark.path:
            at = at[step]
        at.pop("cache_control", None)
    return body
