"""Connects to the store and unlocks its content."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cacheserver.core.errors import StoreError
from cacheserver.storage import connection
from cacheserver.storage.connection import Connection
from cacheserver.storage.data_loss_watch import DataLossWatch, DiskSync
from cacheserver.storage.redis_url import Tls
from cacheserver.storage.sealer import Sealer

_WAIT_S = 10.0  # for a Redis that starts beside us

SealerBuilder: TypeAlias = Callable[[Connection], Awaitable[Sealer]]


class Gauges(Protocol):
    def watch_store(self, unsynced_s: Callable[[], float]) -> None: ...


class Metrics(Protocol):
    @property
    def gauges(self) -> Gauges: ...
    def swallowed(self, site: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StoreServer:
    """Server to connect to. `sync` is None for a server that somebody else runs."""

    url: str = field(repr=False)  # may contain a password
    prefix: str  # of our keys there
    tls: Tls
    replicas: int | None = None  # that must have a change before it is acknowledged
    sync: DiskSync | None = None
    repairs: Sequence[str] = ()  # sentences on damage that was repaired when it started


@dataclass(frozen=True, slots=True)
class Store:
    """The store, connected, and what every package that keeps state in it needs."""

    redis: Connection
    prefix: str
    sealer: Sealer
    watch: DataLossWatch
    server: StoreServer


@asynccontextmanager
async def build(
    server: StoreServer, build_sealer: SealerBuilder, metrics: Metrics, clock: Callable[[], float]
) -> AsyncIterator[Store]:
    """Yield the store once it answers.

    Raises `StoreError` if Redis cannot be reached, `SettingsError` if the keys do not fit.
    """
    async with AsyncExitStack() as stack:
        redis = connection.connect(
            server.url, tls=server.tls, prefix=server.prefix, replicas=server.replicas
        )
        redis.health.hung = metrics.swallowed
        stack.push_async_callback(redis.aclose)
        await _reached(redis, server.url, server.prefix)
        sealer = await build_sealer(redis)  # before anything is read or written
        watch = DataLossWatch(
            redis,
            metrics,
            prefix=server.prefix,
            sync=server.sync,
            clock=clock,
        )
        await watch.check()
        metrics.gauges.watch_store(lambda: watch.unsynced_s)
        yield Store(redis, server.prefix, sealer, watch, server)


async def _reached(redis: Connection, url: str, prefix: str) -> None:
    """Return once Redis answers and may be used. It may be starting beside us."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            await connection.check_reachable(redis, url)
            return await connection.check_server(redis, prefix=prefix)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
