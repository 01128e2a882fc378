"""The levers of a miss, built together: what the asker is made of and what operators look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from cacheserver.cache.call_planner import CallPlanner
from cacheserver.cache.ports import DecisionLog
from cacheserver.cache.semantic import SemanticEntries
from cacheserver.calibration.labels import Labels
from cacheserver.claude.model_catalogue import ModelCatalogue
from cacheserver.claude.upstream import Upstream
from cacheserver.conversations.history import HistoryTrimmer
from cacheserver.conversations.turns import Turns
from cacheserver.ledger.recorder import RecordedClaude, SpendRecorder
from cacheserver.observability.metrics import Metrics
from cacheserver.output_caps.caps import OutputCaps
from cacheserver.output_caps.store import LengthStore
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.drift import PromptCaching, PromptWatch, Versions, reorder
from cacheserver.promptcache.prefixes import Prefixes
from cacheserver.promptcache.prewarm import Prewarmer
from cacheserver.promptcache.prompt_log import PromptLog
from cacheserver.promptcache.session import PromptPlanner
from cacheserver.routing.escalation import Escalation
from cacheserver.routing.router import Router
from cacheserver.routing.sticky_models import StickyModels
from cacheserver.routing.trials.calls import TrialCalls
from cacheserver.routing.trials.comparison import Comparer
from cacheserver.routing.trials.gold import GoldRuns
from cacheserver.routing.trials.store import TrialStore
from cacheserver.routing.trials.trials import Trials
from cacheserver.storage.connection import Connection
from cacheserver.storage.sealing.sealer import Sealer
from cacheserver.storage.write_behind import WriteBehind
from cacheserver.tenants.store import Tenants

# Salts are derived from the secret that callers' keys are made pseudonyms with. No key is spelled
# so: they are printable.
_SALT = "\0prompt-salt:"


@dataclass(frozen=True, slots=True)
class Levers:
    """How misses are asked. `call_planner` has them all; the rest is for routes and tests."""

    call_planner: CallPlanner
    router: Router
    catalogue: ModelCatalogue
    lengths: OutputCaps
    history: HistoryTrimmer
    turns: Turns
    prompts: PromptCaching
    trials: Trials
    gold: GoldRuns
    validation: Escalation


@asynccontextmanager
async def levers(
    *,
    redis: Connection,
    prefix: str,
    sealer: Sealer,
    upstream: Upstream,
    semantic: SemanticEntries,
    tenants: Tenants,
    pricer: Pricer,
    metrics: Metrics,
    clock: Callable[[], float],
    default_model: str,
    books: SpendRecorder,
    labels: Labels,
    decision_log: DecisionLog,
    comparer: Comparer,
    chance: Callable[[], float],
) -> AsyncIterator[Levers]:
    """Start the levers; what they have learned is written on the way out."""

    async def salt(tenant: str) -> str:
        return await tenants.pseudonym(f"{_SALT}{tenant}")

    watched = partial(RecordedClaude, claude=upstream, books=books, clock=clock)
    async with AsyncExitStack() as stack:
        lengths = OutputCaps(LengthStore(redis, prefix=prefix), metrics)
        stack.push_async_callback(lengths.close)
        turns = Turns(redis, prefix=prefix, sealer=sealer)
        history = HistoryTrimmer(
            turns,
            claude=watched("summary"),
            pricer=pricer,
            metrics=metrics,
            model=default_model,
        )
        stack.push_async_callback(history.close)
        prefixes, log = Prefixes(redis, prefix=prefix), PromptLog(redis, prefix=prefix)
        booking = WriteBehind("prompts", metrics)
        stack.push_async_callback(booking.close)
        watch = PromptWatch(log=log, behind=booking, cost=pricer.cost)
        prewarmer = Prewarmer(
            claude=watched("prewarm"),
            tenants=tenants,
            prefixes=prefixes,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            salt=salt,
        )
        prewarmer.start()
        stack.push_async_callback(prewarmer.close)
        planner = PromptPlanner(
            prefixes=prefixes,
            behind=booking,
            cost=pricer.cost,
            salt=salt,
            watcher=watch,
            reorder=reorder,
        )
        catalogue = ModelCatalogue(upstream, metrics)
        trial_store = TrialStore(redis, prefix=prefix, sealer=sealer)
        calls = TrialCalls(
            labels=labels,
            catalogue=catalogue,
            claude=watched("trial"),
            pricer=pricer,
            decision_log=decision_log,
            metrics=metrics,
            clock=clock,
        )
        trials = Trials(
            trial_store,
            calls=calls,
            comparer=comparer,
            metrics=metrics,
            clock=clock,
            chance=chance,
        )
        stack.push_async_callback(trials.close)
        gold = GoldRuns(
            trial_store,
            calls=calls,
            comparer=comparer,
            trials=trials,
            tenants=tenants,
            metrics=metrics,
            clock=clock,
        )
        gold.start()
        stack.push_async_callback(gold.close)
        router = Router(
            conversations=StickyModels(redis, prefix=prefix),
            catalogue=catalogue,
            claude=watched("classifier"),
            pricer=pricer,
            metrics=metrics,
            default_model=default_model,
            trials=trials,
        )
        stack.push_async_callback(router.close)
        versions = Versions(log=log, stored=semantic.entries, answers=semantic, clock=clock)
        yield Levers(
            call_planner=CallPlanner(
                default_model=default_model,
                metrics=metrics,
                router=router,
                history=history,
                lengths=lengths,
                prompts=planner,
                trials=trials,
            ),
            router=router,
            catalogue=catalogue,
            lengths=lengths,
            history=history,
            turns=turns,
            prompts=PromptCaching(prefixes, watch, versions, prewarmer, booking),
            trials=trials,
            gold=gold,
            validation=Escalation(catalogue, pricer, books.spent),
        )
