"""Clients of the cache in this process: those of a server, over no connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import httpx2

from cacheserver.api.components import Components
from cacheserver.client import AsyncClient, Client
from cacheserver.client.cached import Rules, cached, cached_async
from cacheserver.client.loop_thread import LoopThread
from cacheserver.in_process.transport import AppTransport, ThreadTransport

P = ParamSpec("P")
R = TypeVar("R")

_URL = "http://in-process"  # no host: `AppTransport` reads the path alone


@dataclass(slots=True)
class Opened:
    """The running parts; they end when `closing` is set."""

    transport: AppTransport
    parts: Components
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Task[None] | None = None

    async def close(self) -> None:
        self.closing.set()
        if self.holding is not None:
            await asyncio.shield(self.holding)


class Cache(AsyncClient):
    """`AsyncClient` of the cache in this process. It belongs to the event loop it was opened in.

    `client.admin` is open to the process, and nothing is retried: Claude was asked again already.
    """

    def __init__(self, opened: Opened) -> None:
        http = httpx2.AsyncClient(transport=opened.transport, timeout=None, trust_env=False)
        super().__init__(_URL, max_retries=0, http=http)
        self._opened = opened

    async def ready(self, *, similarity: bool | None = None) -> dict[str, Any]:
        """Wait until questions are matched by similarity; before, they are matched exactly."""
        self._opened.transport.check()
        await self._opened.parts.entries.restored.wait()
        return await super().ready(similarity=similarity)

    def cached(
        self,
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        semantic: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        none: bool = False,
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """Keep the results of an `async def`, as `SyncCache.cached` those of a `def`."""
        return cached_async(self, Rules(ttl, tags, semantic, name, namespace, none))

    async def close(self) -> None:
        """Close the cache, answers under way first. Idempotent; it asks nothing more."""
        if not self._opened.transport.closed:
            self._opened.transport.check()
            await self._opened.close()


class SyncCache(Client):
    """`Client` of the cache in this process. Threads may share it; a forked child may not."""

    def __init__(self, opened: Opened, loop: LoopThread) -> None:
        transport = ThreadTransport(opened.transport, loop)
        http = httpx2.Client(transport=transport, timeout=None, trust_env=False)
        super().__init__(_URL, max_retries=0, http=http)
        self._opened = opened
        self._loop = loop
        self._closing = threading.Lock()
        self._closed = False

    def ready(self, *, similarity: bool | None = None) -> dict[str, Any]:
        """Wait until questions are matched by similarity; before, they are matched exactly."""
        self._loop.run(_wait(self._opened.parts.entries.restored))
        return super().ready(similarity=similarity)

    def cached(
        self,
        *,
        ttl: float | timedelta | None = None,
        tags: Sequence[str] = (),
        semantic: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        none: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Keep the results of a function, which are text or JSON, by its name, code and arguments.

        `ttl` is in seconds. `semantic` names the argument that is a question: results are given for
        similar ones too, with the other arguments equal. `name` is an identity of your own in place
        of name and code. Exceptions are never kept, and None only with `none`.
        """
        return cached(self, Rules(ttl, tags, semantic, name, namespace, none))

    def close(self) -> None:
        """Close the cache, answers under way first. Idempotent; it asks nothing more."""
        if self._loop.forked:
            return  # it is the parent's
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                self._loop.run(self._opened.close())
            finally:
                self._loop.close()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
