"""The store of a server that runs, else one for the moment: for commands beside the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cacheserver.storage import connection
from cacheserver.storage.connection import Connection
from cacheserver.storage.embedded import store
from cacheserver.storage.redis_url import Tls


@asynccontextmanager
async def opened(
    url: str | None, *, data_dir: Path, prefix: str, tls: Tls
) -> AsyncIterator[Connection]:
    """Yield a client for `url`, or for the embedded store of `data_dir` where there is none.

    Raises `SettingsError`, `StoreError`.
    """
    async with AsyncExitStack() as stack:
        place = url or store.running_url(data_dir)
        if place is None:
            place = await stack.enter_async_context(store.EmbeddedStore(data_dir))
        redis = connection.connect(place, tls=tls)
        stack.push_async_callback(redis.aclose)
        await connection.check_reachable(redis, place)
        await connection.check_server(redis, prefix=prefix)
        yield redis
