"""Cache of values read from Redis, with a grace period while Redis is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from cacheserver.core.errors import StoreError, Unavailable
from cacheserver.storage.connection import store_errors

FRESH_S = 3.0  # a change that is made past the servers, in the store, takes effect within it
# Long enough to restart or move a Redis; a revocation cannot be recorded meanwhile anyway.
GRACE_S = 900.0

_MAX_ENTRIES = 10_000  # about 5 MB of keys or tenants

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Cached(Generic[T]):
    value: T
    read_at: float
    read_again_at: float


class GraceCache(Generic[T]):
    """Cache of values by name. Absence is not cached: the value may be created any time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cached: dict[str, _Cached[T]] = {}
        self._forgotten = 0  # how often something was: what was read before is not kept

    async def get(self, name: str, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return the value of `name`, read by `ask` if the cached one is too old.

        While Redis is away a value is used for `GRACE_S`; then it raises `Unavailable`.
        """
        # Before the read: a change during it is seen in time.
        now = self._clock()
        cached = self._cached.get(name)
        if cached is not None and now < cached.read_again_at:
            return cached.value
        forgotten = self._forgotten
        try:
            with store_errors():
                found = await ask()
        except StoreError as error:
            changed = forgotten != self._forgotten  # and what it is now is not known
            if cached is None or changed or now - cached.read_at >= GRACE_S:
                raise Unavailable("the caller cannot be identified: the store is away") from error
            # A store that hangs must not hold up every request until it is back.
            self._cached[name] = replace(cached, read_again_at=now + FRESH_S)
            return cached.value
        if forgotten != self._forgotten:
            return found  # it changed during the read, and this may be what it was before
        self._cached.pop(name, None)
        if cached is not None and found == cached.value:
            found = cached.value  # the same object, so that what was made of it stays valid
        if found is not None:
            if len(self._cached) >= _MAX_ENTRIES:
                del self._cached[next(iter(self._cached))]  # the one read longest ago
            self._cached[name] = _Cached(found, now, now + FRESH_S)
        return found

    def clear(self) -> None:
        self._forgotten += 1
        self._cached.clear()

    def forget(self, name: str) -> None:
        self._forgotten += 1
        self._cached.pop(name, None)
