"""How long a request waits for the store: a bound for all of it, and nothing while it hangs.

Rule: only tasks that answer a request have a deadline (`start_deadline`, `share_deadline`).
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

# The loop itself was held up by more than this: the store's reply may lie there unread.
_LATE_S = 0.05
_AGAIN_S = 0.1

# A store that hangs is asked again so long after its return at most. Its answer to a probe has
# a quarter of a second, 100 times what it takes (p99 2.4 ms, docs/performance.md).
_PROBE_S = 0.1
_PROBE_ANSWER_S = 0.25

T = TypeVar("T")


class StoreHangs(TimeoutError):
    """The store took longer than the request could wait, or is known to hang."""


@dataclass(slots=True)
class _Patience:
    left_s: float
    tasks: WeakSet[asyncio.Task[Any]] = field(default_factory=WeakSet)


_patience: ContextVar[_Patience | None] = ContextVar("store_patience", default=None)


def start_deadline(left_s: float) -> None:
    """Bound what the task that runs waits for the store from now on, in all."""
    found = _Patience(left_s)
    _patience.set(found)
    share_deadline()


def clear_deadline() -> None:
    """Take the bound away: what comes must be written before it is acknowledged."""
    _patience.set(None)


def share_deadline() -> None:
    """Count what the task that runs waits as its request's. Tasks do not by themselves."""
    if (found := _patience.get()) is not None and (task := asyncio.current_task()) is not None:
        found.tasks.add(task)


def _mine() -> _Patience | None:
    found = _patience.get()
    return found if found is not None and asyncio.current_task() in found.tasks else None


class StoreHealth:
    """Whether the store answers. One that hung is probed, and asked again once a probe came back.

    `probe` sends the store something and returns once it answered or refused; `hung` is told each
    time that the store begins to hang.
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
        """Give what is awaited inside the time that the request has left.

        Raises `StoreHangs` where that was not enough, and at once while the store hangs.
        """
        patience = _mine()
        if patience is None:
            yield
            return
        if self.hangs or patience.left_s <= 0:
            raise StoreHangs("the store does not answer")
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(None) as scope:
                timer = _Timer(loop, scope, began + patience.left_s)
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
            patience.left_s -= loop.time() - began

    async def close(self) -> None:
        """Stop probing. May be called twice."""
        if (probing := self._probing) is not None:
            probing.cancel()
            await asyncio.wait({probing})

    def _note(self) -> None:
        if self._probing is None:
            logger.warning("the store hangs: requests go on without it")
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
    """Expires a timeout scope, once more only if the loop was too late to look."""

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
