"""Trials over a real store, the real embedder and a simulated Claude whose models differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.calibration.answers.reader import AnswerReader
from cacheserver.calibration.labels import Labels
from cacheserver.claude.upstream import Upstream
from cacheserver.core import json_text
from cacheserver.core.ledger_row import Row
from cacheserver.core.rules.routing import RoutingRules, TaskRule, Tier
from cacheserver.core.rules.trials import TrialRules
from cacheserver.core.types import Controls, PlannedCall, Query, Route, Tenant
from cacheserver.english.language import english
from cacheserver.index.batcher import Batcher
from cacheserver.index.models import OnnxEmbedder
from cacheserver.ledger.recorder import RecordedClaude, SpendRecorder
from cacheserver.ledger.writer import Ledger
from cacheserver.observability.metrics import Metrics
from cacheserver.pricing.prices import Pricer
from cacheserver.routing.model_catalogue import ModelCatalogue
from cacheserver.routing.trials.calls import TrialCalls
from cacheserver.routing.trials.comparison import Comparer
from cacheserver.routing.trials.gold import GoldRuns
from cacheserver.routing.trials.rules import Pair, PairRecord
from cacheserver.routing.trials.store import TrialStore
from cacheserver.routing.trials.trials import Trials
from cacheserver.simulated import Directives, Simulated, SimulatedSettings, serve_simulated
from cacheserver.storage.connection import Connection
from cacheserver.storage.stored_row import Details
from tests.cache.queries import query
from tests.models import model_dir

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
NOW = 1_795_000_000.0
RULES = RoutingRules(
    tasks={"extraction": TaskRule("low", 0.9)}, trials=TrialRules(share=1.0, usd_per_day=10)
)
PAIR = Pair("extraction", SONNET, HAIKU)
MODELS: Mapping[Tier, str] = {"low": HAIKU, "middle": SONNET, "high": OPUS}


@dataclass
class TrialHarness:
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
        asked, call, message = answered_request(text, tier=tier, said=said, **given)
        self.trials.learn(asked, call, message)
        await self.trials.drain()

    async def shown(self, tenant: str = "acme", pair: Pair = PAIR) -> PairRecord:
        return await self.store.shown(tenant, pair)

    async def barred(self, tenant: Tenant, task: str = "extraction") -> Mapping[Tier, str]:
        """What is known once it was looked up."""
        self.trials.barred(tenant, task)
        await self.trials.drain()
        return self.trials.barred(tenant, task)


def tenant(name: str = "acme", rules: RoutingRules = RULES, **trials: Any) -> Tenant:
    return Tenant(name, routing=replace(rules, trials=replace(rules.trials, **trials)))


def answered_request(
    text: str = "When does it end?",
    *,
    tier: Tier = "middle",
    said: str = "On 5 May.",
    stop: str = "end_turn",
    reason: str = "task",
    task: str = "extraction",
    **given: Any,
) -> tuple[Query, PlannedCall, dict[str, Any]]:
    """A request, how it was asked and what came back."""
    given = {"tenant": tenant(), "controls": Controls(task=task), **given}
    asked = query(text, **given)
    body = json_text.dumps({**asked.body, "model": MODELS[tier]})
    message = {
        "id": "msg_1",
        "type": "message",
        "model": MODELS[tier],
        "stop_reason": stop,
        "usage": {"input_tokens": 20, "output_tokens": 5},
        "content": [{"type": "text", "text": said}],
    }
    return asked, PlannedCall(body, Route(MODELS[tier], reason, tier=tier, task=task)), message


@asynccontextmanager
async def trial_harness(
    redis: Connection,
    prefix: str,
    *,
    store: Connection | None = None,
    chance: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[TrialHarness]:
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
        labels = Labels(redis, prefix=prefix)
        catalogue = ModelCatalogue(upstream, metrics)
        harness: TrialHarness

        def clock() -> float:
            return harness.now

        class Kept(Ledger):
            def append(self, row: Row, details: Details | None = None) -> asyncio.Event:
                harness.rows.append(row)
                return super().append(row, details)

        ledger = Kept(redis, prefix=prefix)
        decision_log = DecisionLog(redis, ledger, prefix=prefix)
        books = SpendRecorder(ledger, Pricer())
        calls = TrialCalls(
            labels=labels,
            catalogue=catalogue,
            claude=RecordedClaude("trial", claude=upstream, books=books, clock=clock),
            pricer=Pricer(),
            decision_log=decision_log,
            metrics=metrics,
            clock=clock,
        )
        comparer = Comparer(AnswerReader(batcher.embed, english()))
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
        harness = TrialHarness(kept, made, runs, calls, claude, metrics, says, everybody)
        try:
            yield harness
        finally:
            await runs.close()
            await made.close()
            await catalogue.close()
            await ledger.close()
            await decision_log.close()
            await upstream.close()
