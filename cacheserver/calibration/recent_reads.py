"""Cache of recent reads from the store: a hot value costs no round trip.

Rule: a value, or its absence, is used for `FRESH_S` at most. There is no grace period while the
store is away: no entry could be served then anyway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cacheserver.tenants.grace_cache import FRESH_S

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Cached(Generic[T]):
    value: T
    read_again_at: float


class RecentReads(Generic[T]):
    """Cache of up to `most` values by name. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float], *, most: int) -> None:
        self._clock = clock
        self._most = most
        self._cached: dict[Hashable, _Cached[T]] = {}
        self._forgotten = 0

    async def get(self, name: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the value of `name`, read by `ask` if not cached. Raises what `ask` raises."""
        now = self._clock()  # before the read: a change during it is seen in time
        cached = self._cached.get(name)
        if cached is not None and now < cached.read_again_at:
            return cached.value
        forgotten = self._forgotten
        value = await ask()
        # A read that began before this process's write may have the old value.
        if forgotten == self._forgotten:
            self._cached.pop(name, None)
            if len(self._cached) >= self._most:
                del self._cached[next(iter(self._cached))]  # the one read longest ago
            self._cached[name] = _Cached(value, now + FRESH_S)
        return value

    def forget(self, name: Hashable) -> None:
        """Drop a value that this process has written; the next `get` reads it."""
        self._forgotten += 1
        self._cached.pop(name, None)

    def __len__(self) -> int:
        return len(self._cached)
