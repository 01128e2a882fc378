"""Builds routing: the router, escalation, and the trials that compare models."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cacheserver.calibration.build import CalibrationParts
from cacheserver.host import Host
from cacheserver.routing.complexity_weights import EMBEDDER
from cacheserver.routing.escalation import Escalation
from cacheserver.routing.model_catalogue import ModelCatalogue
from cacheserver.routing.router import Router
from cacheserver.routing.sticky_models import StickyModels
from cacheserver.routing.trials.calls import TrialCalls
from cacheserver.routing.trials.comparison import Comparer
from cacheserver.routing.trials.gold import GoldRuns
from cacheserver.routing.trials.store import TrialStore
from cacheserver.routing.trials.trials import Trials
from cacheserver.routing.what_if import RoutingWhatIf


@dataclass(frozen=True, slots=True)
class TrialParts:
    """Trials on live requests, and runs over gold sets."""

    live: Trials
    gold: GoldRuns


@dataclass(frozen=True, slots=True)
class Routing:
    """Parts of routing; `trials` is None if they are switched off."""

    router: Router
    trials: TrialParts | None
    what_if: RoutingWhatIf


@asynccontextmanager
async def build(host: Host, comparing: CalibrationParts | None) -> AsyncIterator[Routing]:
    """Yield routing; without `comparing`, which compares answers, no trials run."""
    async with AsyncExitStack() as stack:
        catalogue = ModelCatalogue(host.claude, host.metrics)
        stack.push_async_callback(catalogue.close)
        trials = None
        if comparing is not None:
            trials = await stack.enter_async_context(_trials(host, comparing, catalogue))
            host.plugins.trials = trials.live
        router = Router(
            conversations=StickyModels(host.store.redis, prefix=host.store.prefix),
            catalogue=catalogue,
            claude=host.recorded("classifier"),
            pricer=host.pricer,
            metrics=host.metrics,
            default_model=host.settings.default_model,
            trials=None if trials is None else trials.live,
            reads_vectors=host.answers.embedder_id.startswith(EMBEDDER),
        )
        stack.push_async_callback(router.close)
        host.plugins.router = router
        host.plugins.escalation = Escalation(catalogue, host.pricer, host.ledger.spend.spent)
        what_if = RoutingWhatIf(
            host.answers.decision_search,
            host.answers.entries.entries.vectors,
            pricer=host.pricer,
            embedder_id=host.answers.embedder_id,
            default_model=host.settings.default_model,
            trials=None if trials is None else trials.live.store,
        )
        yield Routing(router, trials, what_if)


@asynccontextmanager
async def _trials(
    host: Host, comparing: CalibrationParts, catalogue: ModelCatalogue
) -> AsyncIterator[TrialParts]:
    async with AsyncExitStack() as stack:
        trial_store = TrialStore(
            host.store.redis, prefix=host.store.prefix, sealer=host.store.sealer
        )
        calls = TrialCalls(
            labels=comparing.labels,
            catalogue=catalogue,
            claude=host.recorded("trial"),
            pricer=host.pricer,
            decision_log=host.answers.decision_log,
            metrics=host.metrics,
            clock=host.clock,
        )
        comparer = Comparer(comparing.reader, comparing.judge)
        live = Trials(
            trial_store,
            calls=calls,
            comparer=comparer,
            metrics=host.metrics,
            clock=host.clock,
            chance=random.random,
        )
        stack.push_async_callback(live.close)
        gold = GoldRuns(
            trial_store,
            calls=calls,
            comparer=comparer,
            trials=live,
            tenants=host.tenants,
            metrics=host.metrics,
            clock=host.clock,
            lease=host.leases.of("gold"),
        )
        gold.start()
        stack.push_async_callback(gold.close)
        yield TrialParts(live, gold)
