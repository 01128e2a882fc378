"""Builds live settings and prices, before everything that uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cacheserver.config import live_settings
from cacheserver.config.settings import Settings
from cacheserver.core.errors import BadRequest
from cacheserver.live.documents import LiveDocuments
from cacheserver.live.follower import LiveFollower
from cacheserver.live.prices import LivePrices
from cacheserver.live.settings import LiveSettings
from cacheserver.observability.metrics import Metrics
from cacheserver.peers.peers import Peers
from cacheserver.pricing.prices import Pricer
from cacheserver.storage.build import Store


@dataclass(frozen=True, slots=True)
class Live:
    """Settings and prices that admins change while servers run."""

    settings: LiveSettings
    prices: LivePrices


@asynccontextmanager
async def build(
    store: Store,
    peers: Peers,
    base: Settings,
    pricer: Pricer,
    metrics: Metrics,
    clock: Callable[[], float],
) -> AsyncIterator[Live]:
    """Read what admins have changed, and follow it until the block ends. Raises `StoreError`."""
    documents = LiveDocuments(store.redis, prefix=store.prefix, told=peers.everywhere)
    settings = LiveSettings(base, documents, metrics.swallowed)
    prices = LivePrices(
        pricer,
        documents,
        clock,
        metrics.swallowed,
        needed=lambda: live_settings.need_prices(settings.current),
    )

    def check_prices(now: Settings, names: Collection[str]) -> None:
        for name, model in live_settings.need_prices(now).items():
            if name in names and not pricer.steps(model, clock()):
                raise BadRequest(name, f"no price of `{model}` is known; give it one first")

    settings.check(check_prices)
    follower = LiveFollower(documents, (settings, prices), metrics.swallowed)
    peers.listen("live", lambda _: follower.follow(), anew=follower.follow)
    await follower.follow()
    follower.start()
    try:
        yield Live(settings, prices)
    finally:
        await follower.close()
