"""Feed of live counts: what this server has counted, every two seconds, while somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from cacheserver.core import json_text
from cacheserver.core.money import usd
from cacheserver.observability.snapshot import Snapshot

LISTENERS: Final = 20  # each takes 0.5 ms of every two seconds; an office of operators
_EVERY_S: Final = 2.0


class LiveFeed:
    """Live counts of one server. Nothing runs while nobody listens."""

    def __init__(
        self,
        count: Callable[[], Awaitable[Snapshot]],
        clock: Callable[[], float],
        *,
        every_s: float = _EVERY_S,
    ) -> None:
        self.since = clock()  # the server's start
        self._count = count
        self._clock = clock
        self._every_s = every_s
        self._listeners = 0

    @property
    def full(self) -> bool:
        return self._listeners >= LISTENERS

    @contextmanager
    def listener(self) -> Iterator[None]:
        """Count a listener for as long as the context lasts."""
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    async def events(self, stopping: asyncio.Event) -> AsyncIterator[bytes]:
        """Yield an event at once and every two seconds, until the server stops.

        `now` counts since the event before, `total` since the first.
        """
        first = before = await self._count()
        number, at = 0, self._clock()
        yield b"retry: 2000\n\n"  # after a restart the page is back within seconds
        while not stopping.is_set():
            snapshot, now = await self._count(), self._clock()
            event = {
                "of": "this server",
                "at": round(now, 3),
                "seconds": round(now - at, 3),
                "now": _difference(snapshot, before),
                "total": _difference(snapshot, first),
            }
            yield b"id: %d\ndata: %b\n\n" % (number, json_text.dumps(event))
            number, before, at = number + 1, snapshot, now
            try:
                async with asyncio.timeout(self._every_s):
                    await stopping.wait()
            except TimeoutError:
                pass


def _difference(after: Snapshot, before: Snapshot) -> dict[str, Any]:
    requests = {kind: count - before.requests[kind] for kind, count in after.requests.items()}
    return {
        "requests": sum(requests.values()),
        "decisions": requests,
        "cost_usd": usd(after.cost - before.cost),
        "saved_usd": usd(after.saved - before.saved),
        "latency": after.latencies(before),
    }
