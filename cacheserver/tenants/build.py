"""Builds the tenants and their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cacheserver.config.settings import Settings
from cacheserver.core.background import BackgroundWork
from cacheserver.core.types import Bar, Tenant
from cacheserver.live.settings import LiveSettings
from cacheserver.observability.metrics import Metrics
from cacheserver.peers.peers import Peers
from cacheserver.storage.build import Store
from cacheserver.tenants.store import Tenants


def default_tenant(settings: Settings) -> Tenant:
    """Return the settings of a tenant that has none of its own."""
    return Tenant(
        name="default",
        default_ttl_s=settings.default_ttl_s,
        max_ttl_s=settings.max_ttl_s,
        bar=Bar(
            similarity=settings.similarity,
            target=None if settings.similarity is not None else settings.target,
            top_k=settings.top_k,
        ),
        compare_with=settings.compare_with,
    )


@asynccontextmanager
async def build(
    store: Store, peers: Peers, live: LiveSettings, metrics: Metrics, clock: Callable[[], float]
) -> AsyncIterator[Tenants]:
    """Yield the tenants; when each key was last used is written on the way out."""
    uses = BackgroundWork("key-use", metrics, limit=10_000, at_once=1)
    tenants = Tenants(
        store.redis,
        prefix=store.prefix,
        defaults=default_tenant(live.current),
        now=clock,
        swallowed=metrics.swallowed,
        access=live.base.data_dir / "access",
        writes=uses,
        sealer=store.sealer,
        told=peers.everywhere,
    )

    async def forget(names: Sequence[str]) -> None:
        for name in names:
            tenants.forget(name)

    async def forget_keys(_: Sequence[str]) -> None:
        tenants.forget_keys()

    async def anew() -> None:
        if not store.redis.recent.unsure:  # else nothing can be read; it is called again then
            tenants.forget_all()

    peers.listen("tenants", forget, anew=anew)
    peers.listen("keys", forget_keys, anew=anew)
    live.listen(lambda settings: tenants.use_defaults(default_tenant(settings)))
    try:
        yield tenants
    finally:
        await uses.close()
