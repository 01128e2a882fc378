"""Deadline of a request for all its waiting on the store; no waiting at all while it hangs.

Rule: only tasks that answer a request have a deadline (`start`, `share`).
Background writes keep the store's own timeouts and their retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

logger = logging.getLogger(__name__)

# If the event loop itself was this late, the store's reply may be there unread: wait once more.
_LATE_S = 0.05
_AGAIN_S = 0.1

# A store that hangs is probed this often. A probe may take a quarter of a second, 100 times the
# usual round trip (p99 2.4 ms, docs/performance.md).
_PROBE_S = 0.1
_PROBE_ANSWER_S = 0.25

T = TypeVar("T")


class StoreHangs(TimeoutError):
    """Raised when the store exceeds the request's deadline, or is known to hang."""


@dataclass(slots=True)
class _Deadline:
    left_s: float
    tasks: WeakSet[asyncio.Task[Any]] = field(default_factory=WeakSet)


_deadline: ContextVar[_Deadline | None] = ContextVar("store_deadline", default=None)


def start(left_s: float) -> None:
    """Limit the current task's total waiting on the store, from now on, to `left_s` seconds."""
    found = _Deadline(left_s)
    _deadline.set(found)
    share()


def clear() -> None:
    """Remove the limit: what follows must be written before it is acknowledged."""
    _deadline.set(None)


def share() -> None:
    """Make the current task share its request's deadline. A new task does not by itself."""
    if (found := _deadline.get()) is not None and (task := asyncio.current_task()) is not None:
        found.tasks.add(task)


def _current() -> _Deadline | None:
    found = _deadline.get()
    return found if found is not None and asyncio.current_task() in found.tasks else None


class StoreHealth:
    """Tracker of whether the store answers. A store that hangs is probed until it answers again.

    `probe` returns once the store has answered or refused. `hung` is called each time the store
    begins to hang.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self.hung: Callable[[str], object] = lambda site: None
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None

    @property
    def hangs(self) -> bool:
        return self._probing is not None

    @contextlib.asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Run the block within the time that the request has left.

        Raises `StoreHangs` when that time is over, and at once while the store hangs.
        """
        deadline = _current()
        if deadline is None:
            yield
            return
        if self.hangs or deadline.left_s <= 0:
            raise StoreHangs("the store does not answer")
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(None) as scope:
                timer = _Timer(loop, scope, began + deadline.left_s)
                try:
                    yield
                finally:
                    timer.cancel()
        except TimeoutError:
            if scope.expired():
                self._note()
                raise StoreHangs("the store does not answer") from None
            raise
        finally:
            deadline.left_s -= loop.time() - began

    async def close(self) -> None:
        """Stop probing. May be called twice."""
        if (probing := self._probing) is not None:
            probing.cancel()
            await asyncio.wait({probing})

    def _note(self) -> None:
        if self._probing is None:
            logger.warning("the store does not answer: requests continue without it")
            self.hung("store-hangs")
            self._probing = asyncio.create_task(self._until_back(), name="store:probe")
            self._probing.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._probing = None
        if not task.cancelled() and task.exception() is None:
            logger.warning("the store answers again")

    async def _until_back(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_ANSWER_S):
                    await self._probe()
                    return
            await asyncio.sleep(_PROBE_S)


class _Timer:
    """Timer of a timeout scope, extended once if the event loop itself was late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scope: asyncio.Timeout, due: float) -> None:
        self._loop, self._scope, self._due = loop, scope, due
        self._again = True
        self._handle = loop.call_at(due, self._expire)

    def cancel(self) -> None:
        self._handle.cancel()

    def _expire(self) -> None:
        now = self._loop.time()
        if self._again and now - self._due > _LATE_S:
            self._again = False
            self._handle = self._loop.call_later(_AGAIN_S, self._expire)
        else:
            self._scope.reschedule(now)
