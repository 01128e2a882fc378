"""Delayed task: work that is due a moment after something happened, however often it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end


class DelayedTask:
    """Runner of `work`, `delay_s` after the first `start` since it ran last.

    `failed` is called with each `StoreError`; the work is then repeated after the same delay.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[object]],
        *,
        delay_s: float,
        name: str,
        failed: Callable[[StoreError], object],
    ) -> None:
        self._work = work
        self._delay_s = delay_s
        self._name = name
        self._failed = failed
        self._due = False
        self._closed = False
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, *, now: bool = False) -> None:
        """Have the work run, after the delay or at once. Never blocks."""
        self._due = True
        if now:
            self._now.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self, *, patience_s: float) -> None:
        """Run the work that is due, once and for `patience_s` at most."""
        self._closed = True
        if self._task is not None:
            self._now.set()
            await asyncio.wait({self._task}, timeout=patience_s)
            await end(self._task)
            self._task = None

    async def _run(self) -> None:
        while self._due:
            await wait_for_event(self._now, self._delay_s)
            self._now.clear()
            self._due = False
            try:
                await self._work()
            except StoreError as error:
                self._failed(error)
                if self._closed:
                    return
                self._due = True


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for some seconds at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
