"""Trials over a real store, the real embedder and a simulated Claude whose models differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cacheserver import jsontext
from cacheserver.asking.catalogue import Catalogue
from cacheserver.asking.comparing import Comparer
from cacheserver.asking.gold import GoldRuns
from cacheserver.asking.trialcalls import TrialCalls
from cacheserver.asking.trials import Trials
from cacheserver.learning.answers import Answers
from cacheserver.metrics import Metrics
from cacheserver.policy.lexicon import standard
from cacheserver.policy.money import Pricer
from cacheserver.policy.row import Row
from cacheserver.policy.trials import Pair, Shown
from cacheserver.recording import Books, Watched
from cacheserver.rules.routing import RoutingRules, TaskRule, Tier
from cacheserver.rules.trials import TrialRules
from cacheserver.simulated import Directives, Simulated, SimulatedSettings, serve_simulated
from cacheserver.stores.connection import Connection
from cacheserver.stores.journal import Journal
from cacheserver.stores.labels import Labels
from cacheserver.stores.ledger import Ledger
from cacheserver.stores.trials import TrialStore
from cacheserver.types import Asked, Controls, Query, Route, Tenant
from cacheserver.upstream import Upstream
from index.batcher import Batcher
from index.models import OnnxEmbedder
from tests.models import model_dir
from tests.policy.making_queries import query

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
NOW = 1_795_000_000.0
RULES = RoutingRules(
    tasks={"extraction": TaskRule("low", 0.9)}, trials=TrialRules(share=1.0, usd_per_day=10)
)
PAIR = Pair("extraction", SONNET, HAIKU)
MODELS: Mapping[Tier, str] = {"low": HAIKU, "middle": SONNET, "high": OPUS}


@dataclass
class Trying:
    """Trials, and the Claude they ask. `says` is each model's answer."""

    store: TrialStore
    trials: Trials
    gold: GoldRuns
    calls: TrialCalls
    claude: Simulated
    metrics: Metrics
    says: dict[str, Directives]
    tenants: list[Tenant] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)  # of the ledger
    now: float = NOW

    @property
    def asked(self) -> list[Any]:
        return [dict(r.body) for r in self.claude.requests if r.path == "/v1/messages"]

    def counted(self, sample: str) -> bool:
        return sample in self.metrics.render().decode()

    async def answer(
        self,
        text: str = "When does it end?",
        *,
        tier: Tier = "middle",
        said: str = "On 5 May.",
        **given: Any,
    ) -> None:
        """A request answered by a tier, and its trial."""
        asked, call, message = answered(text, tier=tier, said=said, **given)
        self.trials.answered(asked, call, message)
        await self.trials.settle()

    async def shown(self, tenant: str = "acme", pair: Pair = PAIR) -> Shown:
        return await self.store.shown(tenant, pair)

    async def barred(self, tenant: Tenant, task: str = "extraction") -> Mapping[Tier, str]:
        """What is known once it was looked up."""
        self.trials.barred(tenant, task)
        await self.trials.settle()
        return self.trials.barred(tenant, task)


def tenant(name: str = "acme", rules: RoutingRules = RULES, **trials: Any) -> Tenant:
    return Tenant(name, routing=replace(rules, trials=replace(rules.trials, **trials)))


def answered(
    text: str = "When does it end?",
    *,
    tier: Tier = "middle",
    said: str = "On 5 May.",
    stop: str = "end_turn",
    reason: str = "task",
    task: str = "extraction",
    **given: Any,
) -> tuple[Query, Asked, dict[str, Any]]:
    """A request, how it was asked and what came back."""
    given = {"tenant": tenant(), "controls": Controls(task=task), **given}
    asked = query(text, **given)
    body = jsontext.dumps({**asked.body, "model": MODELS[tier]})
    message = {
        "id": "msg_1",
        "type": "message",
        "model": MODELS[tier],
        "stop_reason": stop,
        "usage": {"input_tokens": 20, "output_tokens": 5},
        "content": [{"type": "text", "text": said}],
    }
    return asked, Asked(body, Route(MODELS[tier], reason, tier=tier, task=task)), message


@asynccontextmanager
async def trying(
    redis: Connection,
    prefix: str,
    *,
    store: Connection | None = None,
    chance: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Trying]:
    says: dict[str, Directives] = {}

    def direct(body: Mapping[str, Any]) -> Directives | None:
        return says.get(body["model"])

    claude = Simulated(SimulatedSettings(direct=direct))
    async with serve_simulated(claude) as address, Batcher(OnnxEmbedder(model_dir())) as batcher:
        upstream = Upstream(
            base_url=address,
            api_key="sk-ant-ours",
            name="simulated",
            max_concurrent=8,
            max_waiting=8,
            timeout_s=10.0,
        )
        metrics, kept = Metrics(), TrialStore(store or redis, prefix=prefix)
        labels, journal = Labels(redis, prefix=prefix), Journal(redis, prefix=prefix)
        catalogue = Catalogue(upstream, metrics)
        desk: Trying

        def clock() -> float:
            return desk.now

        class Kept(Ledger):
            def put(self, row: Row) -> asyncio.Event:
                desk.rows.append(row)
                return super().put(row)

        ledger = Kept(redis, prefix=prefix)
        books = Books(ledger, Pricer())
        calls = TrialCalls(
            labels=labels,
            catalogue=catalogue,
            claude=Watched("trial", claude=upstream, books=books, clock=clock),
            pricer=Pricer(),
            journal=journal,
            metrics=metrics,
            clock=clock,
        )
        comparer = Comparer(Answers(batcher.embed, standard()))
        made = Trials(
            kept, calls=calls, comparer=comparer, metrics=metrics, clock=clock, chance=chance
        )
        everybody: list[Tenant] = []

        class Everybody:
            async def list_tenants(self) -> list[Tenant]:
                return everybody

        runs = GoldRuns(
            kept,
            calls=calls,
            comparer=comparer,
            trials=made,
            tenants=Everybody(),
            metrics=metrics,
            clock=clock,
        )
        desk = Trying(kept, made, runs, calls, claude, metrics, says, everybody)
        try:
            yield desk
        finally:
            await runs.close()
            await made.close()
            await catalogue.close()
            await ledger.close()
            await labels.close()
            await journal.close()
            await upstream.close()
