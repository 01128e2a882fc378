"""The call to Claude on a miss: route, shorten, cap, mark for the prompt cache, in this order.

The plan comes last because it marks the body as it will be sent. Rule: a lever that fails leaves
the body as it was and is counted; none of them ever changes what the answer is stored under.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from cacheserver.cache.cacheability import crowded
from cacheserver.cache.ports import Metrics
from cacheserver.claude import cheapest
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.core.types import AUTO, Cap, Plan, PlannedCall, Query, Route, Trim, Usage


class Router(Protocol):
    async def route(self, query: Query, vector: Any | None, now: float) -> Route:
        """The model to ask. Raises nothing."""

    def learn(
        self, query: Query, route: Route, message: Mapping[str, Any], usage: Usage, now: float
    ) -> None:
        """Learn from an answer. Never blocks."""


class History(Protocol):
    async def shorten(
        self, query: Query, body: Mapping[str, Any], model: str, now: float
    ) -> tuple[Mapping[str, Any], Trim | None]:
        """The body without older turns, if the rules say so."""

    def learn(self, query: Query, usage: Usage, now: float) -> None:
        """Note how long the prompt was. Never blocks."""


class Lengths(Protocol):
    async def cap(self, query: Query, route: Route, now: float) -> Cap | None:
        """The `max_tokens` to send; None: the body's own stays."""

    def learn(
        self,
        query: Query,
        planned: PlannedCall,
        message: Mapping[str, Any],
        usage: Usage,
        now: float,
    ) -> None:
        """Learn from an answer. Never blocks."""


class Prompts(Protocol):
    async def plan(
        self, query: Query, body: Mapping[str, Any], model: str, now: float
    ) -> tuple[Mapping[str, Any], Plan | None]:
        """The body with marks for Claude's prompt cache."""

    def turn(self, query: Query, plan: Plan) -> AbstractAsyncContextManager[None]:
        """A context held while a prefix is written; it waits for another call's first."""

    def learn(self, query: Query, plan: Plan, model: str, usage: Usage, now: float) -> None:
        """Learn from an answer. Never blocks."""


class Trials(Protocol):
    def learn(self, query: Query, planned: PlannedCall, message: Mapping[str, Any]) -> None:
        """Start a trial by chance: ask another model, to compare. Never blocks."""


class CallPlanner:
    """Plans a call to Claude and learns from its answer. An absent lever is switched off."""

    def __init__(
        self,
        *,
        default_model: str,
        metrics: Metrics,
        router: Router | None = None,
        history: History | None = None,
        lengths: Lengths | None = None,
        prompts: Prompts | None = None,
        trials: Trials | None = None,
    ) -> None:
        self._default_model = default_model
        self._metrics = metrics
        self._router = router
        self._history = history
        self._lengths = lengths
        self._prompts = prompts
        self._trials = trials

    async def prepare(self, query: Query, vector: Any | None, now: float) -> PlannedCall:
        """Plan the call for a miss; `vector` is the question's embedding, if there is one."""
        if crowded(query.body):
            return self._as_it_came(query)
        off = query.controls.off
        route = await self.route(query, vector, now)
        body: Mapping[str, Any] = query.body
        if route.model != query.model:
            body = {**body, "model": route.model}
        trim, cap, plan = None, None, None
        if self._history is not None and query.tenant.history.enabled and "history" not in off:
            try:
                body, trim = await self._history.shorten(query, body, route.model, now)
            except StoreError:
                self._metrics.swallowed("history")
        if self._lengths is not None and query.tenant.lengths.enabled and "output-cap" not in off:
            try:
                cap = await self._lengths.cap(query, route, now)
            except StoreError:
                self._metrics.swallowed("lengths")
            if cap is not None and cap.max_tokens != body.get("max_tokens"):
                body = {**body, "max_tokens": cap.max_tokens}
            if cap is not None and cap.thinking_off:
                body = {**body, "thinking": {"type": "disabled"}}
        planned = query.tenant.caching.enabled and "prompt-caching" not in off
        if self._prompts is not None and planned:
            try:
                body, plan = await self._prompts.plan(query, body, route.model, now)
            except StoreError:
                self._metrics.swallowed("prompts")
        # Untouched, the caller's own bytes go up: nothing that JSON can spell two ways is respelt.
        raw = query.raw if body is query.body else json_text.dumps(dict(body))
        return PlannedCall(raw, route, plan, cap, trim)

    def _as_it_came(self, query: Query) -> PlannedCall:
        """Plan a call without levers; only the model is set if it must be."""
        if query.cheapest:
            rules = query.tenant.routing
            route = cheapest.route(
                query.model, query.body, rules, default_model=self._default_model
            )
        elif query.model == AUTO:
            route = Route(self._default_model, "default")
        else:
            return PlannedCall(query.raw, Route(query.model, "named"))
        return PlannedCall(json_text.dumps({**query.body, "model": route.model}), route)

    def turn(self, query: Query, planned: PlannedCall) -> AbstractAsyncContextManager[None]:
        """A context for the time until the first bytes: a burst of calls writes a prefix once."""
        if self._prompts is None or planned.plan is None or not planned.plan.marks:
            return nullcontext()
        return self._prompts.turn(query, planned.plan)

    def learn(
        self,
        query: Query,
        planned: PlannedCall,
        message: Mapping[str, Any],
        usage: Usage,
        now: float,
    ) -> None:
        """Have the levers learn from an answer. Never blocks."""
        if crowded(query.body):
            return
        if self._router is not None:
            self._router.learn(query, planned.route, message, usage, now)
        if self._history is not None:
            self._history.learn(query, usage, now)
        if self._lengths is not None:
            self._lengths.learn(query, planned, message, usage, now)
        if self._prompts is not None and planned.plan is not None:
            self._prompts.learn(query, planned.plan, planned.route.model, usage, now)
        if self._trials is not None:
            self._trials.learn(query, planned, message)

    async def route(self, query: Query, vector: Any | None, now: float) -> Route:
        """Return the model that would be asked; `vector` as for `prepare`. Raises nothing."""
        if query.cheapest:
            rules = query.tenant.routing
            return cheapest.route(query.model, query.body, rules, default_model=self._default_model)
        rules_hold = query.tenant.routing.enabled and "routing" not in query.controls.off
        if self._router is not None and rules_hold:
            return await self._router.route(query, vector, now)
        if query.model != AUTO:
            return Route(query.model, "named")
        return Route(self._default_model, "default")
