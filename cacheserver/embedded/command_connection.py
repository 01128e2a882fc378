"""Connection to the store for a command that may run beside the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cacheserver.embedded import store
from cacheserver.storage import connection
from cacheserver.storage.connection import Connection
from cacheserver.storage.redis_url import Tls


@asynccontextmanager
async def open_connection(
    url: str | None, *, data_dir: Path, prefix: str, tls: Tls, replicas: int | None = None
) -> AsyncIterator[Connection]:
    """Yield a connection to `url`, else to the embedded store of `data_dir`.

    An embedded store that does not run is started until the block ends. Raises `SettingsError`,
    `StoreError`.
    """
    async with AsyncExitStack() as stack:
        place = url or store.running_url(data_dir)
        if place is None:
            place = await stack.enter_async_context(store.EmbeddedStore(data_dir))
        redis = connection.connect(place, tls=tls, prefix=prefix, replicas=replicas)
        stack.push_async_callback(redis.aclose)
        await connection.check_reachable(redis, place)
        await connection.check_server(redis, prefix=prefix)
        yield redis
