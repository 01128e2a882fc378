"""Lever `routing`: collects the facts about a request, lets the rules choose, and remembers it.

Nothing here fails a request. Facts that cannot be obtained are counted and left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import numpy as np

from cacheserver.cache.ports import Claude, Metrics, Pricer
from cacheserver.claude import capabilities
from cacheserver.claude.capabilities import Abilities
from cacheserver.claude.upstream import Call
from cacheserver.core import json_text, tiers
from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.core.rules.routing import RoutingRules, Tier
from cacheserver.core.types import API_VERSION, AUTO, Query, Route, Tenant, Usage
from cacheserver.routing import classifier_prompt, complexity, turns
from cacheserver.routing import rules as routing_rules
from cacheserver.routing.complexity import Complexity
from cacheserver.routing.complexity_weights import WITH_VECTOR, WITHOUT
from cacheserver.routing.model_catalogue import ModelCatalogue
from cacheserver.routing.rules import Ask
from cacheserver.routing.sticky_models import StickyModels
from cacheserver.routing.task_inference import infer_task, last_text
from cacheserver.routing.turns import LastAnswer

_SITE: Final = "router"
_PROJECTION: Final = np.asarray(WITH_VECTOR.vector)
_MOST_WRITING: Final = 256


class Trials(Protocol):
    def barred(self, tenant: Tenant, task: str | None) -> Mapping[Tier, str]:
        """Return the tiers that such work may not use now, with the reasons. Never blocks."""


class Router:
    """Chooses models.

    `default_model` is what `auto` would be without it. `reads_vectors`: the embedder is the one
    that the classifier's weights were fitted to.
    """

    def __init__(
        self,
        *,
        conversations: StickyModels,
        catalogue: ModelCatalogue,
        claude: Claude,
        pricer: Pricer,
        metrics: Metrics,
        default_model: str,
        trials: Trials | None = None,
        reads_vectors: bool = True,
    ) -> None:
        self._conversations = conversations
        self._catalogue = catalogue
        self._claude = claude
        self._pricer = pricer
        self._metrics = metrics
        self._default_model = default_model
        self._trials = trials
        self._reads_vectors = reads_vectors
        # Twice: a task that is over is still counted for a moment.
        self._background = BackgroundWork(_SITE, metrics, limit=2 * _MOST_WRITING)
        # On their way to Redis: the next turn may come before the last one's write is through.
        self._writing: dict[str, LastAnswer] = {}

    async def route(self, query: Query, vector: Any | None, now: float) -> Route:
        """Return the model to ask. `vector` is the question's embedding, if there is one."""
        rules = query.tenant.routing
        text = query.text if query.text is not None else last_text(query.body)
        task = query.controls.task
        looks = infer_task(query.body, text)
        inferred = looks if task is None and rules.infer_tasks else None
        if query.model != AUTO and not rules.overrides:
            ask = Ask(query.model, task, inferred, query.controls.deep)
            return routing_rules.choose(ask, rules, {})
        abilities = self._catalogue.abilities(now)
        work = routing_rules.work(task, inferred)
        ask = Ask(
            query.model,
            task,
            inferred,
            query.controls.deep,
            sticky=await self._sticky(query, now) if query.model == AUTO else None,
            barred={} if self._trials is None else self._trials.barred(query.tenant, work),
            needs=capabilities.needs(query.body),
        )
        if text is not None and routing_rules.needs_classifier(ask, rules):
            ask = replace(ask, reading=_read(text, looks, vector if self._reads_vectors else None))
        if text is not None and query.credential is None and routing_rules.asks_haiku(ask, rules):
            ask = await self._ask_haiku(ask, text, rules, abilities, query.tenant.name, now)
        route = routing_rules.choose(ask, rules, abilities)
        if query.model == AUTO and route.model != self._default_model:
            route = replace(route, baseline=self._default_model)
        return route

    def learn(
        self, query: Query, route: Route, message: Mapping[str, Any], usage: Usage, now: float
    ) -> None:
        """Remember the model of the conversation. Never blocks."""
        rules = query.tenant.routing
        held = rules.enabled and "routing" not in query.controls.off
        if query.model != AUTO or not held or rules.sticky_s == 0 or not message:
            return
        digest = turns.turns(query).own
        if digest not in self._writing and len(self._writing) >= _MOST_WRITING:
            self._metrics.dropped(_SITE)
            return
        self._writing[digest] = turns.last_answer(route.model, usage, now)
        # Another server that does not know of it yet would lose a prompt cache; with thinking, it
        # could be refused by another model.
        if turns.thinks([message]):
            begun = self._background.do(lambda: self._keep([(digest, rules.sticky_s)]))
        else:
            begun = self._background.gather(self._keep, (digest, rules.sticky_s))
        if not begun:
            self._writing.pop(digest, None)

    async def check(self, rules: RoutingRules, now: float) -> None:
        """Raise `BadRequest` for rules that name an unknown task or model."""
        tiers.check(rules, await self._catalogue.model_ids(now))

    async def forget(self) -> None:
        """Delete the conversations' models, of all tenants. Raises `StoreError`."""
        await self._background.drain()
        await self._conversations.forget()

    async def drain(self) -> None:
        """Return once all pending records are written."""
        await self._background.drain()
        await self._catalogue.drain()

    async def close(self) -> None:
        """Write pending records. Later answers are not remembered."""
        await self._background.close(patience_s=2.0)
        await self._catalogue.close()

    async def _keep(self, answers: Sequence[tuple[str, int]]) -> None:
        """Write the last answers under these digests, until no newer one has come meanwhile."""
        due = dict(answers)
        try:
            while due:
                rows = [(one, self._writing[one], due[one]) for one in due if one in self._writing]
                await self._conversations.keep(rows)
                for digest, answer, _ in rows:
                    if self._writing.get(digest) is answer:
                        del self._writing[digest]
                due = {one: keep_s for one, keep_s in due.items() if one in self._writing}
        except BaseException:
            for digest in due:
                self._writing.pop(digest, None)
            raise

    async def _sticky(self, query: Query, now: float) -> str | None:
        """Return the conversation's model, if another model would cost it something."""
        if query.tenant.routing.sticky_s == 0:
            return None
        single = query.conversation is None and len(query.body["messages"]) == 1
        earlier: Sequence[str] = () if single else turns.turns(query).earlier
        last = next((self._writing[d] for d in earlier if d in self._writing), None)
        if last is None and earlier:
            try:
                last = await self._conversations.first(earlier)
            except StoreError:
                self._metrics.swallowed(_SITE)
        if last is None or not turns.would_lose(query.body, last, now):
            return None
        return last.model

    async def _ask_haiku(
        self,
        ask: Ask,
        text: str,
        rules: RoutingRules,
        abilities: Mapping[str, Abilities],
        tenant: str,
        now: float,
    ) -> Ask:
        model = rules.haiku.model or rules.tiers.low
        able = capabilities.of(model, abilities)
        body = classifier_prompt.question(text, model, able, rules.haiku.max_chars)
        call = Call(json_text.dumps(body), {"anthropic-version": API_VERSION}, tenant=tenant)
        try:
            async with asyncio.timeout(rules.haiku.timeout_ms / 1_000):
                reply = await self._claude.create(call)
            message = json_text.loads(reply.body)
        except (UpstreamError, TimeoutError, ValueError):
            self._metrics.swallowed("router-haiku")
            return replace(ask, haiku_asked=True)
        if not isinstance(message, dict):
            return replace(ask, haiku_asked=True)
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        spent = 0 if bill is None else bill.cost
        return replace(ask, haiku=classifier_prompt.answer(message), haiku_asked=True, spent=spent)


def _read(text: str, looks: str | None, vector: Any | None) -> Complexity:
    if vector is None or vector.shape != _PROJECTION.shape[1:]:
        return complexity.read_projected(text, looks, (0.0, 0.0), WITHOUT, embedded=False)
    # Here, because policy knows no numpy: without it, this is half of the time that routing takes.
    simple, complex = (_PROJECTION @ vector).tolist()
    return complexity.read_projected(text, looks, (simple, complex), WITH_VECTOR, embedded=True)
