"""The levers of a miss, built together: what the asker is made of and what operators look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from cacheserver.asking.asker import Asker
from cacheserver.asking.catalogue import Catalogue
from cacheserver.asking.comparing import Comparer
from cacheserver.asking.drift import PromptCare, PromptWatch, Versions, reorder
from cacheserver.asking.gold import GoldRuns
from cacheserver.asking.history import History
from cacheserver.asking.lengths import Lengths
from cacheserver.asking.prewarm import Prewarmer
from cacheserver.asking.prompts import PromptPlanner
from cacheserver.asking.router import Router
from cacheserver.asking.trialcalls import TrialCalls
from cacheserver.asking.trials import Trials
from cacheserver.asking.validation import Validation
from cacheserver.metrics import Metrics
from cacheserver.policy.money import Pricer
from cacheserver.ports import Journal, Spent
from cacheserver.recording import Books, Watched
from cacheserver.stores.behind import Behind
from cacheserver.stores.connection import Connection
from cacheserver.stores.conversations import Conversations
from cacheserver.stores.labels import Labels
from cacheserver.stores.lengths import LengthStore
from cacheserver.stores.prefixes import Prefixes
from cacheserver.stores.promptlog import PromptLog
from cacheserver.stores.sealing import Sealer
from cacheserver.stores.semantic import SemanticEntries
from cacheserver.stores.tenants import Tenants
from cacheserver.stores.trials import TrialStore
from cacheserver.stores.turns import Turns
from cacheserver.upstream import Upstream

# Salts are derived from the secret that callers' keys are made pseudonyms with. No key is spelled
# so: they are printable.
_SALT = "\0prompt-salt:"


@dataclass(frozen=True, slots=True)
class Levers:
    """How misses are asked. `asker` has them all; the rest is for routes and tests."""

    asker: Asker
    router: Router
    catalogue: Catalogue
    lengths: Lengths
    history: History
    turns: Turns
    prompts: PromptCare
    trials: Trials
    gold: GoldRuns
    validation: Validation


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
    books: Books,
    labels: Labels,
    journal: Journal,
    comparer: Comparer,
    chance: Callable[[], float],
) -> AsyncIterator[Levers]:
    """Start the levers; what they have learned is written on the way out."""
    spent: Spent = books.spent

    async def salt(tenant: str) -> str:
        return await tenants.pseudonym(f"{_SALT}{tenant}")

    watched = partial(Watched, claude=upstream, books=books, clock=clock)
    async with AsyncExitStack() as stack:
        lengths = Lengths(LengthStore(redis, prefix=prefix), metrics)
        stack.push_async_callback(lengths.close)
        turns = Turns(redis, prefix=prefix, sealer=sealer)
        history = History(
            turns,
            claude=watched("summary"),
            pricer=pricer,
            metrics=metrics,
            model=default_model,
            spent=spent,
        )
        stack.push_async_callback(history.close)
        prefixes, log = Prefixes(redis, prefix=prefix), PromptLog(redis, prefix=prefix)
        booking = Behind("prompts", metrics)
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
            spent=spent,
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
        catalogue = Catalogue(upstream, metrics)
        trial_store = TrialStore(redis, prefix=prefix, sealer=sealer)
        calls = TrialCalls(
            labels=labels,
            catalogue=catalogue,
            claude=watched("trial"),
            pricer=pricer,
            journal=journal,
            metrics=metrics,
            clock=clock,
            spent=spent,
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
            conversations=Conversations(redis, prefix=prefix),
            catalogue=catalogue,
            claude=watched("classifier"),
            pricer=pricer,
            metrics=metrics,
            default_model=default_model,
            spent=spent,
            trials=trials,
        )
        stack.push_async_callback(router.close)
        versions = Versions(log=log, stored=semantic.entries, answers=semantic, clock=clock)
        yield Levers(
            asker=Asker(
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
            prompts=PromptCare(prefixes, watch, versions, prewarmer, booking),
            trials=trials,
            gold=gold,
            validation=Validation(catalogue, pricer, spent),
        )
