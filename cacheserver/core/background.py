"""Background work that nobody waits for: bounded, and counted if it fails or is dropped.

Rounds of the tasks that run as long as the server are kept by task, as asyncio keeps its tasks: a
loop needs no counters of its own, and whoever looks at the tasks finds when each ran last and how.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end

Work: TypeAlias = Callable[[], Awaitable[Any]]
T = TypeVar("T")

# Gathered items wait so long for others, and no longer than until there are so many. It is also
# what a killed server loses of them.
_GATHER_S, _TOGETHER = 1.0, 64


class Counters(Protocol):
    """The counters of failed and dropped background work."""

    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class BackgroundWork:
    """Runs small pieces of work, `at_once` at a time in the order they came.

    At most `limit` pieces and gathered items wait or run; if `at_once` is None each piece starts at
    once. One at a time is a queue of writes (write-behind). What fails is counted and gone, so only
    what may be lost is done here.
    """

    def __init__(
        self, site: str, counters: Counters, *, limit: int = 256, at_once: int | None = None
    ) -> None:
        self._site = site
        self._counters = counters
        self._limit = limit
        self._at_once = at_once
        self._waiting: deque[tuple[Work, int]] = deque()
        self._load = 0  # pieces and items that are not done
        self._gathered: dict[Callable[[list[Any]], Awaitable[Any]], list[Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def do(self, work: Work) -> bool:
        """Start or queue `work`; drop and count it if there is too much. Never blocks.

        Return False if it was dropped.
        """
        if admitted := self._admit():
            self._start(work, 1)
        return admitted

    def gather(self, write: Callable[[list[T]], Awaitable[Any]], item: T) -> bool:
        """Have `write` called with this item and others, a second later at most. Never blocks.

        Return False if it was dropped. A write that fails loses all of its items.
        """
        if not self._admit():
            return False
        items = self._gathered.setdefault(write, [])
        items.append(item)
        if len(items) >= _TOGETHER:
            self._write_gathered()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_GATHER_S, self._write_gathered)
        return True

    async def drain(self) -> None:
        """Wait for the end of everything started, queued or gathered before."""
        self._write_gathered()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Finish the work, for `patience_s` at most; the rest is cancelled or dropped."""
        self._closed = True
        self._write_gathered()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=patience_s)
            for task in late:
                await end(task)
        if self._waiting:
            self._counters.dropped(self._site, sum(weight for _, weight in self._waiting))
            self._waiting.clear()

    def _admit(self) -> bool:
        if self._closed or self._load >= self._limit:
            self._counters.dropped(self._site)
            return False
        self._load += 1
        return True

    def _write_gathered(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, {}
        for write, items in gathered.items():
            self._start(partial(write, items), len(items))

    def _start(self, work: Work, weight: int) -> None:
        self._waiting.append((work, weight))
        if self._at_once is None or len(self._tasks) < self._at_once:
            task = asyncio.create_task(self._run(), name=f"background:{self._site}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while self._waiting:
                work, weight = self._waiting.popleft()
                try:
                    await work()
                except StoreError:
                    self._counters.swallowed(self._site)
                finally:
                    self._load -= weight
                if self._at_once is None:
                    return  # each piece has a task of its own, in the context of its caller
        finally:
            # At once, not by a callback: work that comes before it would wait for nobody.
            self._tasks.discard(task)


@dataclass(slots=True)
class Rounds:
    """Rounds of one task. `ended_at` is of the monotonic clock."""

    done: int = 0  # those that failed included
    failed: int = 0
    ended_at: float = 0.0  # the last one, as all below
    took_s: float = 0.0
    error: str | None = None  # type of its exception; None: it went well


_ROUNDS: Final[WeakKeyDictionary[asyncio.Task[Any], Rounds]] = WeakKeyDictionary()


@contextmanager
def one_round() -> Iterator[None]:
    """Time a round of the running task, and count its failure. One that is cancelled is none."""
    task = asyncio.current_task()
    assert task is not None
    found = _ROUNDS.get(task, Rounds())
    began = time.monotonic()
    try:
        yield
    except asyncio.CancelledError:
        raise
    except Exception as wrong:
        found.failed += 1
        _note(task, found, began, type(wrong).__name__)
        raise
    _note(task, found, began, None)


def _note(task: asyncio.Task[Any], found: Rounds, began: float, error: str | None) -> None:
    found.ended_at = time.monotonic()
    found.took_s = found.ended_at - began
    found.error = error
    found.done += 1
    _ROUNDS[task] = found


def rounds_of(task: asyncio.Task[Any]) -> Rounds | None:
    """Return the rounds of a task; None: it has ended none yet, or has none."""
    return _ROUNDS.get(task)
