"""Joins the servers on a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.peers.peers import Counts, Peers
from cacheserver.storage.build import Store


@asynccontextmanager
async def build(store: Store, swallowed: Counts) -> AsyncIterator[Peers]:
    """Yield this server among its peers; it leaves them at the end. Raises `StoreError`."""
    peers = Peers(store.redis, swallowed, prefix=store.prefix)
    await peers.start()
    try:
        yield peers
    finally:
        await peers.close()
