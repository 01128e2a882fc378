"""Builds the server of the store: the operator's Redis, else one of our own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.config import settings as config
from cacheserver.config.settings import Settings
from cacheserver.embedded.shared_store import SharedStore
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.storage.build import StoreServer


@asynccontextmanager
async def build(settings: Settings, *, shared: bool = False) -> AsyncIterator[StoreServer]:
    """Yield the Redis of the settings, or the embedded store, stopped when the block ends.

    `shared`: use the store of another process that runs on the directory, if there is one.
    Raises `SettingsError` if the embedded store cannot be started.
    """
    prefix, tls = settings.redis_prefix, config.tls(settings)
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        yield StoreServer(url, prefix, tls, settings.redis_replicas)
        return
    store = SharedStore(settings.data_dir) if shared else EmbeddedStore(settings.data_dir)
    async with store as url:
        yield StoreServer(url, prefix, tls, None, store.sync, store.repairs)
