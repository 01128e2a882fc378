"""Write-behind: a queue of writes that nobody waits for, made in order by one task.

A write that fails is counted and dropped, so only data that may be lost is written this way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end

Write: TypeAlias = Callable[[], Awaitable[Any]]


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class WriteBehind:
    """Queue of up to `most` writes; further ones are dropped."""

    def __init__(self, site: str, counts: Counts, *, most: int = 10_000) -> None:
        self._site = site
        self._counts = counts
        self._most = most
        self._waiting: deque[Write] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, write: Write) -> None:
        """Queue a write. Never blocks and never fails."""
        if self._closed or len(self._waiting) >= self._most:
            self._counts.dropped(self._site)
            return
        self._waiting.append(write)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name=f"store:{self._site}")

    async def flush(self) -> None:
        """Wait until every queued write was made or dropped."""
        while self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Make the queued writes, for `patience_s` at most."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience_s)
            await end(self._task)
            self._task = None
        if self._waiting:
            self._counts.dropped(self._site, len(self._waiting))

    async def _work(self) -> None:
        while self._waiting:
            write = self._waiting.popleft()
            try:
                await write()
            except StoreError:
                self._counts.swallowed(self._site)
