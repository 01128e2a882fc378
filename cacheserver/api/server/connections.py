"""Registry of open connections: limits by address, and closing of slow ones."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from cacheserver.api.server.limits import Limits

_LINGERING = 64  # refused callers that may read why; a flood of them is closed at once
_AT_ONCE = 100  # connections swept in one turn of the loop: 10 ms if all of them are ended


class WatchedConnection(Protocol):
    """A connection that is checked at intervals."""

    def sweep(self, now: float) -> None:
        """Close it if one of its bounds is passed. `now` is the loop's time."""


class Connections:
    """Registry of connections. `closed` is called with the reason of each closed one."""

    def __init__(
        self, limits: Limits, closed: Callable[[str], object] = lambda reason: None
    ) -> None:
        self.limits = limits
        self.closed = closed
        self.stopping = asyncio.Event()  # set as the server stops: endless streams end then
        self._open: dict[WatchedConnection, str | None] = {}
        self._lingering = set[WatchedConnection]()
        self._by_address: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def refused(self, address: str | None) -> str | None:
        """Return the reason for refusing a connection from `address`; None to accept it."""
        if len(self._open) >= self.limits.connections:
            return "connections"
        if address is not None and self._by_address[network(address)] >= self.limits.per_address:
            return "connections-of-address"
        return None

    def add(self, one: WatchedConnection, address: str | None) -> None:
        """Add a connection. The first one starts the sweeps."""
        place = None if address is None else network(address)
        self._open[one] = place
        if place is not None:
            self._by_address[place] += 1
        self._watch()

    def linger(self, one: WatchedConnection) -> bool:
        """Watch a refused connection until its caller has left. False: there are too many."""
        if len(self._lingering) >= _LINGERING:
            return False
        self._lingering.add(one)
        self._watch()
        return True

    def discard(self, one: WatchedConnection) -> None:
        """Forget a connection that is lost. May be called twice."""
        self._lingering.discard(one)
        if one not in self._open:
            return
        place = self._open.pop(one)
        if place is not None:
            self._by_address[place] -= 1
            if not self._by_address[place]:
                del self._by_address[place]

    def _watch(self) -> None:
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.limits.tick_s, self._sweep)

    def _sweep(self) -> None:
        watched = [*self._open, *self._lingering]
        if watched:
            self._sweep_some(watched)  # the timer stands meanwhile: else `_watch` begins a second
        else:
            self._timer = None

    def _sweep_some(self, left: list[WatchedConnection]) -> None:
        """Look at a few, and at the rest in the loop's next turns: to end one takes 0.1 ms."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for one in left[-_AT_ONCE:]:
            if one in self._open or one in self._lingering:
                one.sweep(now)
        del left[-_AT_ONCE:]
        if left:
            loop.call_soon(self._sweep_some, left)
        else:
            self._arm()


@lru_cache(maxsize=4_096)
def network(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 that one site has of IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
