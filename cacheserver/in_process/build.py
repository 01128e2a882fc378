"""Opens the cache in this process, for asyncio and without it."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Callable, Generator, Mapping

from cacheserver import bootstrap
from cacheserver.app import create_app
from cacheserver.client.loop_thread import LoopThread
from cacheserver.config.settings import Settings, load
from cacheserver.embedded import build as embedded
from cacheserver.in_process.cache import Cache, Opened, SyncCache
from cacheserver.in_process.gate import ProcessGate
from cacheserver.in_process.transport import AppTransport


class Opening:
    """Cache that is being opened: `async with` it, or `await` it and `close` the cache later."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self._settings = settings
        self._tenant = tenant
        self._cache: Cache | None = None

    def __await__(self) -> Generator[None, None, Cache]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Cache:
        self._cache = Cache(await _open(self._settings, self._tenant))
        return self._cache

    async def __aexit__(self, *_: object) -> None:
        if self._cache is not None:
            await self._cache.close()


def open_cache(
    settings: Settings | None = None,
    *,
    tenant: str = "default",
    environ: Mapping[str, str] | None = None,
) -> Opening:
    """Open the cache as one tenant, with the settings that a server would read.

    What `settings` sets goes before the environment, `ANTHROPIC_API_KEY` included; `environ={}`
    reads none. Processes that open the same data directory share its store.

    Raises `SettingsError` for what must be changed, `StoreError` where Redis is away, and
    `RuntimeError` in a child that was forked from a process with a cache.
    """
    _refuse_forked()
    return Opening(load(environ, given=settings), tenant)


def open_cache_sync(
    settings: Settings | None = None,
    *,
    tenant: str = "default",
    environ: Mapping[str, str] | None = None,
) -> SyncCache:
    """`open_cache`, without asyncio: its loop runs in a thread. Threads may share the cache.

    `with` or `close` ends it; at the latest the end of the process does.
    """
    _refuse_forked()
    chosen = load(environ, given=settings)
    loop = LoopThread("cache")
    try:
        opened = loop.run(_open(chosen, tenant))
    except BaseException:
        loop.close()
        raise
    cache = SyncCache(opened, loop)
    _at_exit(cache.close)
    return cache


async def _open(settings: Settings, tenant: str) -> Opened:
    """Build the parts in a task of their own, which also takes them down: a cache may be opened in
    one task and closed in another.
    """
    opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    holding = asyncio.create_task(_hold(settings, tenant, opened), name="in-process:hold")
    holding.add_done_callback(lambda _: opened.cancel())  # it ended before it was open
    try:
        found = await opened
    except asyncio.CancelledError:
        holding.cancel()
        await holding  # raises what went wrong, if anything did
        raise
    found.holding = holding
    return found


async def _hold(settings: Settings, tenant: str, opened: asyncio.Future[Opened]) -> None:
    async with (
        embedded.build(settings, shared=True) as store,
        bootstrap.build(settings, server=store) as parts,
    ):
        gate = ProcessGate(parts, tenant)
        transport = AppTransport(create_app(parts, settings, gate=gate))
        found = Opened(transport, parts)
        try:
            opened.set_result(found)
            await found.closing.wait()
        finally:
            await transport.aclose()


@functools.cache
def _first_opened_in() -> int:
    return os.getpid()


def _refuse_forked() -> None:
    """Raise `RuntimeError` in a child of a process that had opened a cache.

    ONNX Runtime and FAISS have threads, which the child lacks: it would hang when it uses them, or
    abort at its end.
    """
    if _first_opened_in() != os.getpid():
        raise RuntimeError(
            "this process was forked from one that had opened a cache; open it after the fork only"
        )


def _at_exit(close: Callable[[], None]) -> None:
    """Close at the end of the process, before its executors end, which closing needs.

    The public `atexit` comes after them: then it would be too late for `asyncio.to_thread`.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    register(close)
