"""Background work that nobody waits for: bounded, and counted if it fails or is dropped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end

Work: TypeAlias = Callable[[], Awaitable[Any]]


class Counters(Protocol):
    """The counters of failed and dropped background work."""

    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class BackgroundWork:
    """Runs small pieces of work, `at_once` at a time in the order they came.

    At most `limit` wait; if `at_once` is None each starts at once, and at most `limit` run. One at
    a time is a queue of writes (write-behind). A piece that fails is counted and gone, so only what
    may be lost is done here.
    """

    def __init__(
        self, site: str, counters: Counters, *, limit: int = 256, at_once: int | None = None
    ) -> None:
        self._site = site
        self._counters = counters
        self._limit = limit
        self._at_once = at_once
        self._waiting: deque[Work] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def do(self, work: Work) -> bool:
        """Start or queue `work`; drop and count it if there is too much. Never blocks.

        Return False if it was dropped.
        """
        if self._closed or max(len(self._waiting), len(self._tasks)) >= self._limit:
            self._counters.dropped(self._site)
            return False
        self._waiting.append(work)
        if self._at_once is None or len(self._tasks) < self._at_once:
            task = asyncio.create_task(self._run(), name=f"background:{self._site}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def drain(self) -> None:
        """Wait for the end of everything started or queued before."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Finish the work, for `patience_s` at most; the rest is cancelled or dropped."""
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=patience_s)
            for task in late:
                await end(task)
        if self._waiting:
            self._counters.dropped(self._site, len(self._waiting))
            self._waiting.clear()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while self._waiting:
                work = self._waiting.popleft()
                try:
                    await work()
                except StoreError:
                    self._counters.swallowed(self._site)
                if self._at_once is None:
                    return  # each piece has a task of its own, in the context of its caller
        finally:
            # At once, not by a callback: work that comes before it would wait for nobody.
            self._tasks.discard(task)
