"""The router in a replay: `routing.router`'s steps with what a log knows, and one rule more.

Rule: nothing is sent to a dearer model than it was sent to. Who reads what a router would save
them asks what may be moved down; a router that also moves work up is one they can have too, and no
saving.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace

from cacheserver.analysis.replay.call import Call
from cacheserver.analysis.replay.seen import ReplayedRequest
from cacheserver.claude import capabilities
from cacheserver.core.types import AUTO, Route, Usage
from cacheserver.index.models import Vectors
from cacheserver.pricing.prices import Pricer
from cacheserver.routing import complexity, turns
from cacheserver.routing import rules as routing
from cacheserver.routing.complexity import Complexity
from cacheserver.routing.complexity_weights import WITH_VECTOR, WITHOUT
from cacheserver.routing.rules import Ask
from cacheserver.routing.task_inference import infer_task, last_text
from cacheserver.routing.turns import LastAnswer

_READINGS = 100_000
_CONVERSATIONS = 100_000


class Routes:
    """A world in which every request asks for `auto`."""

    def __init__(self, pricer: Pricer, readings: Readings) -> None:
        self._pricer = pricer
        self._readings = readings
        self._conversations: OrderedDict[str, LastAnswer] = OrderedDict()

    def route(self, seen: ReplayedRequest, requested: str, usage: Usage, now: float) -> Route:
        """Return the model that would be asked instead of `requested`."""
        sticky = self._sticky(seen, now)
        route = seen.routes.get(sticky)
        if route is None:
            route = seen.routes[sticky] = self._chosen(seen, sticky)
        if route.model == requested:
            return route
        return self._held(route, requested, seen, usage, now)

    def record(self, seen: ReplayedRequest, call: Call, route: Route, usage: Usage) -> None:
        """Record the conversation's model if another model would lose something."""
        conversation = turns.last_answer(route.model, usage, call.at)
        if seen.query.tenant.routing.sticky_s == 0 or not (
            conversation.cached_until or _thought(call)
        ):
            return
        own = seen.turns.own
        self._conversations[own] = conversation
        self._conversations.move_to_end(own)
        if len(self._conversations) > _CONVERSATIONS:
            self._conversations.popitem(last=False)

    def _chosen(self, seen: ReplayedRequest, sticky: str | None) -> Route:
        """Return the policy's route, whatever model was asked for."""
        query, rules = seen.query, seen.query.tenant.routing
        text = query.text if query.text is not None else last_text(query.body)
        looks = infer_task(query.body, text)
        inferred = looks if rules.infer_tasks else None
        ask = Ask(AUTO, None, inferred, needs=seen.needs, sticky=sticky)
        if text is not None and routing.needs_classifier(ask, rules):
            ask = replace(ask, reading=self._readings.of(seen, text, looks))
        return routing.choose(ask, rules, {})

    def _held(
        self, route: Route, requested: str, seen: ReplayedRequest, usage: Usage, now: float
    ) -> Route:
        """Return the route, or the log's model if no dearer or the route's cannot answer."""
        lack = capabilities.lacks(capabilities.of(route.model, {}), seen.needs)
        if lack is not None:
            return replace(route, model=requested, reason=f"capability:{lack}")
        here = self._pricer.cost(requested, usage, now)
        there = self._pricer.cost(route.model, usage, now)
        if here is None or there is None:
            return replace(route, model=requested, reason="unpriced")
        if there > here:
            return replace(route, model=requested, reason="no-dearer")
        return replace(route, baseline=requested)

    def _sticky(self, seen: ReplayedRequest, now: float) -> str | None:
        if len(seen.query.body["messages"]) == 1 or not self._conversations:
            return None
        for digest in seen.turns.earlier:
            last = self._conversations.get(digest)
            if last is not None:
                lost = turns.would_lose(seen.query.body, last, now)
                return last.model if lost else None
        return None


def _thought(call: Call) -> bool:
    content = None if call.message is None else call.message.get("content")
    blocks = content if isinstance(content, list) else []
    return any(isinstance(b, Mapping) and b.get("type") == "thinking" for b in blocks)


class Readings:
    """Classifications of texts, computed once for all worlds."""

    def __init__(self, vector: Callable[[ReplayedRequest], Vectors | None]) -> None:
        self._vector = vector
        self._known: OrderedDict[str, Complexity] = OrderedDict()

    def knows(self, seen: ReplayedRequest) -> bool:
        return seen.query.fingerprint in self._known

    def of(self, seen: ReplayedRequest, text: str, looks: str | None) -> Complexity:
        key = seen.query.fingerprint
        found = self._known.get(key)
        if found is None:
            vector = self._vector(seen)
            numbers = None if vector is None else vector.tolist()  # policy knows no numpy
            found = complexity.read(text, looks, numbers, with_vector=WITH_VECTOR, without=WITHOUT)
            self._known[key] = found
            if len(self._known) > _READINGS:
                self._known.popitem(last=False)
        return found
