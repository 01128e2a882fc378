"""Single-flight: one fill per key, with any number of readers, each from the first event.

A fill is a task of its own: a reader that leaves cancels nothing that another still reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cacheserver.core.types import PlannedCall, Usage

T = TypeVar("T")


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a background task until it has ended.

    Once may not be enough: a library may take a cancellation for a time-out of its own, and a task
    that survives failures would go on for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A call to Claude that was stopped. It may be billed."""

    planned: PlannedCall | None  # None: Claude was not asked
    lost: int = 0  # tries that were sent and not answered to the end
    heard: Usage | None = None  # of the last of them, what its `message_start` said


class EventLog:
    """The raw events of a fill so far. One writer, any number of readers."""

    def __init__(self) -> None:
        self.headers: Mapping[str, str] | None = None  # set by `open`: the answer has begun
        self.events: list[bytes] = []
        self.error_sent = False  # the last event is an error of Claude's
        self.received = False  # Claude's answer is complete: what is left is short work of ours
        self.unfinished: Unfinished | None = None  # of a fill that was stopped
        self._changed = asyncio.Event()

    def open(self, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.wake()

    def write(self, event: bytes) -> None:
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        # Waiters hold the old event; a new one for the next round means none can miss a change.
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()


class Flight(Generic[T]):
    """A fill under way and its log."""

    def __init__(self, key: str, fill: Callable[[EventLog], Coroutine[Any, Any, T]]) -> None:
        self.key = key
        self.log = EventLog()
        self.readers = 0
        self.grace: asyncio.TimerHandle | None = None  # until it is cancelled, if nobody reads it
        self.task: asyncio.Task[T] = asyncio.create_task(fill(self.log), name=f"fill:{key[:16]}")
        self.task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        self.log.wake()
        if self.grace is not None:
            self.grace.cancel()
        if not task.cancelled():
            task.exception()  # seen: with every reader gone, nobody else retrieves it

    async def result(self) -> T:
        """Wait for the fill's result; raises its error. Cancelling the caller leaves it running."""
        return await asyncio.shield(self.task)

    async def opened(self) -> None:
        """Wait until the answer has begun. Raises the fill's error before that."""
        while self.log.headers is None and not self.task.done():
            await self.log.changed()
        if self.log.headers is None:
            await self.result()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield every event from the first, then live. Raises the fill's error."""
        seen = 0
        while True:
            while seen < len(self.log.events):
                yield self.log.events[seen]
                seen += 1
            if self.task.done():
                break
            await self.log.changed()
        await self.result()


class SingleFlight(Generic[T]):
    """Joins callers that want the same key to one fill."""

    def __init__(
        self, *, grace_s: float = 30.0, stopped: Callable[[], None] = lambda: None
    ) -> None:
        """Let a fill without readers run for `grace_s`; `stopped` counts those then cancelled."""
        self._running: dict[str, Flight[T]] = {}
        self._grace_s = grace_s
        self._stopped = stopped

    def __len__(self) -> int:
        return len(self._running)

    def under_way(self, key: str) -> bool:
        """Return whether a fill for `key` is running."""
        flight = self._running.get(key)
        return flight is not None and not flight.task.done()

    def join(
        self, key: str, fill: Callable[[EventLog], Coroutine[Any, Any, T]]
    ) -> tuple[Flight[T], bool]:
        """Return the flight under `key`, and whether this call started it with `fill`.

        Every `join` is paired with one `leave`.
        """
        flight = self._running.get(key)
        if led := flight is None or flight.task.done():  # over, and about to be forgotten
            flight = Flight(key, fill)
            self._running[key] = flight
            flight.task.add_done_callback(lambda _: self._forget(flight))
        flight.readers += 1
        if flight.grace is not None:
            flight.grace.cancel()
            flight.grace = None
        return flight, led

    def leave(self, flight: Flight[T], *, abandon: bool) -> None:
        """Leave a flight. The last reader to leave has an unfinished fill cancelled.

        At once if `abandon`; else only if nobody joins it within the grace.
        """
        flight.readers -= 1
        if flight.readers > 0 or flight.task.done():
            return
        if abandon:
            self._stop(flight)
        else:
            loop = asyncio.get_running_loop()
            flight.grace = loop.call_later(self._grace_s, self._stop, flight)

    def _stop(self, flight: Flight[T]) -> None:
        if flight.task.done() or flight.log.received:  # paid for: it is stored and priced
            return
        self._forget(flight)  # before the cancellation lands, so that nobody joins a dying fill
        self._stopped()
        flight.task.cancel()

    def _forget(self, flight: Flight[T]) -> None:
        if self._running.get(flight.key) is flight:
            del self._running[flight.key]

    async def drain(self, patience_s: float) -> None:
        """Wait for every fill under way; stop those that take longer than `patience_s`."""
        flights = {flight.task: flight for flight in self._running.values()}
        if not flights:
            return
        _, late = await asyncio.wait(flights, timeout=patience_s)
        for task in late:
            if not flights[task].log.received:
                task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
