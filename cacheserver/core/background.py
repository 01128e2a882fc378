"""Background tasks behind the answers: bounded, and counted if they fail or are dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from cacheserver.core.errors import StoreError


class Counters(Protocol):
    """The counters of failed and dropped background work."""

    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class BackgroundTasks:
    """Runs small pieces of work in the background; `limit` of them at a time."""

    def __init__(self, site: str, metrics: Counters, *, limit: int = 256) -> None:
        self._site = site
        self._metrics = metrics
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work`; if too much is under way it is dropped and counted."""
        if len(self._tasks) >= self._limit:
            work.close()
            self._metrics.dropped(self._site)
            return
        task = asyncio.create_task(self._run(work), name=f"background:{self._site}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait for the end of everything started before."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, *, patience_s: float = 2.0) -> None:
        """Wait for running work, for `patience_s` at most; then cancel it."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=patience_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoreError:
            self._metrics.swallowed(self._site)
