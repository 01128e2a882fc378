"""Deadline of a request for all its waiting on the store; no waiting at all while it hangs.

Rules: only tasks that answer a request have a deadline (`start`, `share`). Background writes keep
the store's own timeouts and their retries. Time in which our own event loop was late counts for
nobody's waiting: the store may have answered long ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

logger = logging.getLogger(__name__)

# A wait is measured in so many steps. Of a step that took longer than it should, no more than
# `_SLACK_S` is counted beyond its length: the rest is the lateness of the event loop.
_STEPS = 50
_SLACK_S = 0.001

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

    def bounded(self) -> _Bounded:
        """Return a context whose block runs within the time that the request has left.

        Entering it, or leaving it, raises `StoreHangs` when that time is over, and at once while
        the store hangs.
        """
        return _Bounded(self)

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
                async with Limit(_PROBE_ANSWER_S):
                    await self._probe()
                    return
            await asyncio.sleep(_PROBE_S)


class _Bounded:
    """The context of `StoreHealth.bounded`. A class, as every command of a request enters one."""

    __slots__ = ("_deadline", "_health", "_wait")

    def __init__(self, health: StoreHealth) -> None:
        self._health = health
        self._wait: Limit | None = None

    async def __aenter__(self) -> None:
        self._deadline = deadline = _current()
        if deadline is None:
            return
        if self._health.hangs or deadline.left_s <= 0:
            raise StoreHangs("the store does not answer")
        self._wait = wait = Limit(deadline.left_s)
        await wait.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        deadline, wait = self._deadline, self._wait
        if deadline is None or wait is None:
            return
        try:
            await wait.__aexit__(kind, error, trace)
        except TimeoutError:
            if wait.expired:
                self._health._note()
                raise StoreHangs("the store does not answer") from None
            raise
        finally:
            deadline.left_s -= wait.waited_s


class Limit:
    """Limit of the time that a block waits on the store, less the lateness of the event loop.

    Raises `TimeoutError` at the end of the block if it took longer than `limit_s`.
    """

    def __init__(self, limit_s: float) -> None:
        self.waited_s = 0.0
        self._limit_s, self._step_s = limit_s, limit_s / _STEPS
        self._scope = asyncio.timeout(None)

    @property
    def expired(self) -> bool:
        return self._scope.expired()

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        # Not `loop.time()`, which stands still within a turn of uvloop's.
        self._since = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._step_s, self._tick)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        self._count()
        await self._scope.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        self._count()
        if self.waited_s < self._limit_s:
            self._handle = self._loop.call_later(self._step_s, self._tick)
        else:
            self._scope.reschedule(self._loop.time())

    def _count(self) -> None:
        now = time.monotonic()
        self.waited_s += min(now - self._since, self._step_s + _SLACK_S)
        self._since = now
