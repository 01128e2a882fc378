"""Builds prompt caching: the planner of marks, pre-warming, and the watch over prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cacheserver.core.background import BackgroundWork
from cacheserver.host import Host
from cacheserver.promptcache.drift import PromptWatch, Versions, reorder
from cacheserver.promptcache.prefixes import Prefixes
from cacheserver.promptcache.prewarm import Prewarmer
from cacheserver.promptcache.prompt_log import PromptLog
from cacheserver.promptcache.session import PromptPlanner

# Salts are derived from the secret that callers' keys are made pseudonyms with. No key is spelled
# so: they are printable.
_SALT = "\0prompt-salt:"


@dataclass(frozen=True, slots=True)
class PromptCaching:
    """Parts of prompt caching that operators see and use."""

    prefixes: Prefixes
    watch: PromptWatch
    versions: Versions
    prewarmer: Prewarmer
    writes: BackgroundWork  # flushed before what it writes is shown


@asynccontextmanager
async def build(host: Host) -> AsyncIterator[PromptCaching]:
    """Pre-warm until the block ends; pending records are written at the end."""

    async def salt(tenant: str) -> str:
        return await host.tenants.pseudonym(f"{_SALT}{tenant}")

    store, metrics, cost = host.store, host.metrics, host.pricer.cost
    async with AsyncExitStack() as stack:
        prefixes = Prefixes(store.redis, prefix=store.prefix)
        log = PromptLog(store.redis, prefix=store.prefix)
        writes = BackgroundWork("prompts", metrics, limit=10_000, at_once=1)
        stack.push_async_callback(writes.close)
        watch = PromptWatch(log=log, writes=writes, cost=cost)
        host.answers.memories.append(watch.forget)
        prewarmer = Prewarmer(
            claude=host.recorded("prewarm"),
            tenants=host.tenants,
            prefixes=prefixes,
            pricer=host.pricer,
            metrics=metrics,
            clock=host.clock,
            salt=salt,
            lease=host.leases.of("prewarm"),
        )
        prewarmer.start()
        stack.push_async_callback(prewarmer.close)
        host.plugins.prompt_caching = PromptPlanner(
            prefixes=prefixes,
            writes=writes,
            cost=cost,
            salt=salt,
            watcher=watch,
            reorder=reorder,
        )
        entries = host.answers.entries
        versions = Versions(log=log, stored=entries.entries, answers=entries, clock=host.clock)
        yield PromptCaching(prefixes, watch, versions, prewarmer, writes)
