"""The lever `routing`: gathers what is known of a request, lets policy choose, remembers it.

Nothing here fails a request. What cannot be found out is counted and left out of the choice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from cacheserver import jsontext
from cacheserver.asking.behind import Behind
from cacheserver.asking.catalogue import Catalogue
from cacheserver.errors import StoreError, UpstreamError
from cacheserver.policy import (
    capabilities,
    complexity,
    routing,
    routing_haiku,
    routing_turns,
    tasks,
    tiers,
)
from cacheserver.policy.capabilities import Abilities
from cacheserver.policy.complexity import Reading
from cacheserver.policy.complexity_weights import WITH_VECTOR, WITHOUT
from cacheserver.policy.fingerprint import API_VERSION, AUTO
from cacheserver.policy.routing import Ask
from cacheserver.policy.routing_turns import Kept
from cacheserver.ports import Claude, Metrics, Pricer
from cacheserver.rules.routing import RoutingRules, Tier
from cacheserver.stores.conversations import Conversations
from cacheserver.types import Query, Route, Tenant, Usage
from cacheserver.upstream import Call

_SITE: Final = "router"
_MOST_WRITING: Final = 256


class Trials(Protocol):
    def barred(self, tenant: Tenant, task: str | None) -> Mapping[Tier, str]:
        """The tiers that such work may not use now, and why. Never blocks."""


class Router:
    """Chooses models. `default_model` is what `auto` would be without it."""

    def __init__(
        self,
        *,
        conversations: Conversations,
        catalogue: Catalogue,
        claude: Claude,
        pricer: Pricer,
        metrics: Metrics,
        default_model: str,
        trials: Trials | None = None,
    ) -> None:
        self._conversations = conversations
        self._catalogue = catalogue
        self._claude = claude
        self._pricer = pricer
        self._metrics = metrics
        self._default_model = default_model
        self._trials = trials
        # Twice: a task that is over is still counted for a moment.
        self._behind = Behind(_SITE, metrics, limit=2 * _MOST_WRITING)
        # On their way to Redis: the next turn may come before the last one's write is through.
        self._writing: dict[str, Kept] = {}

    async def route(self, query: Query, vector: Any | None, now: float) -> Route:
        """The model to ask. `vector` is the question's embedding, where it was made."""
        rules = query.tenant.routing
        text = query.text if query.text is not None else tasks.last_text(query.body)
        task = query.controls.task
        looks = tasks.infer(query.body, text)
        inferred = looks if task is None and rules.infer_tasks else None
        ask = Ask(query.model, task, inferred, query.controls.deep)
        if query.model != AUTO and not rules.overrides:
            return routing.choose(ask, rules, {})
        told = self._catalogue.told(now)
        ask = replace(ask, needs=capabilities.needs(query.body))
        if self._trials is not None:
            ask = replace(ask, barred=self._trials.barred(query.tenant, ask.work))
        if query.model == AUTO:
            ask = replace(ask, sticky=await self._sticky(query, now))
        if text is not None and routing.wants_reading(ask, rules):
            ask = replace(ask, reading=_read(text, looks, vector))
        if text is not None and query.credential is None and routing.asks_haiku(ask, rules):
            ask = await self._ask_haiku(ask, text, rules, told, query.tenant.name, now)
        route = routing.choose(ask, rules, told)
        if query.model == AUTO and route.model != self._default_model:
            route = replace(route, baseline=self._default_model)
        return route

    def answered(
        self, query: Query, route: Route, message: Mapping[str, Any], usage: Usage, now: float
    ) -> None:
        """Remember which model the conversation is on. Never blocks."""
        rules = query.tenant.routing
        held = rules.enabled and "routing" not in query.controls.off
        if query.model != AUTO or not held or rules.sticky_s == 0 or not message:
            return
        kept = routing_turns.kept(route.model, usage, now)
        digest = routing_turns.turns(query).own
        if digest in self._writing:
            self._writing[digest] = kept  # the task that writes the older one looks again
        elif len(self._writing) >= _MOST_WRITING:
            self._metrics.dropped(_SITE)
        else:
            self._writing[digest] = kept
            self._behind.do(self._keep(digest, rules.sticky_s))

    async def check(self, rules: RoutingRules, now: float) -> None:
        """Raise `BadRequest` for rules that name a task or a model that nobody knows."""
        tiers.check(rules, await self._catalogue.known(now))

    async def forget(self) -> None:
        """Forget which models conversations are on, of all tenants. Raises `StoreError`."""
        await self._behind.settle()
        await self._conversations.forget()

    async def settle(self) -> None:
        """Return once what was to be remembered is written."""
        await self._behind.settle()
        await self._catalogue.settle()

    async def close(self) -> None:
        """Write what is left. What is answered after it is not remembered."""
        await self._behind.close()
        await self._catalogue.close()

    async def _keep(self, digest: str, keep_s: int) -> None:
        written = None
        try:
            while (kept := self._writing[digest]) is not written:
                await self._conversations.keep(digest, kept, keep_s=keep_s)
                written = kept
        finally:
            del self._writing[digest]

    async def _sticky(self, query: Query, now: float) -> str | None:
        """The conversation's model, where another one would lose something of it."""
        if query.tenant.routing.sticky_s == 0:
            return None
        single = query.conversation is None and len(query.body["messages"]) == 1
        earlier: Sequence[str] = () if single else routing_turns.turns(query).earlier
        last = next((self._writing[d] for d in earlier if d in self._writing), None)
        if last is None and earlier:
            try:
                last = await self._conversations.first(earlier)
            except StoreError:
                self._metrics.swallowed(_SITE)
        if last is None or not routing_turns.would_lose(query.body, last, now):
            return None
        return last.model

    async def _ask_haiku(
        self,
        ask: Ask,
        text: str,
        rules: RoutingRules,
        told: Mapping[str, Abilities],
        tenant: str,
        now: float,
    ) -> Ask:
        model = rules.haiku.model or rules.tiers.low
        able = capabilities.of(model, told)
        body = routing_haiku.question(text, model, able, rules.haiku.max_chars)
        call = Call(jsontext.dumps(body), {"anthropic-version": API_VERSION}, tenant=tenant)
        try:
            async with asyncio.timeout(rules.haiku.timeout_ms / 1_000):
                reply = await self._claude.create(call)
            message = jsontext.loads(reply.body)
        except (UpstreamError, TimeoutError, ValueError):
            self._metrics.swallowed("router-haiku")
            return replace(ask, haiku_asked=True)
        if not isinstance(message, dict):
            return replace(ask, haiku_asked=True)
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        spent = 0 if bill is None else bill.cost
        return replace(ask, haiku=routing_haiku.answer(message), haiku_asked=True, spent=spent)


def _read(text: str, looks: str | None, vector: Any | None) -> Reading:
    numbers = None if vector is None else vector.tolist()  # policy knows no numpy
    return complexity.read(text, looks, numbers, with_vector=WITH_VECTOR, without=WITHOUT)
