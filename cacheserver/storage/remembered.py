"""What was read from Redis lately: believed for a moment, and a while longer with Redis away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from cacheserver.core.errors import StoreError, Unavailable
from cacheserver.storage.connection import store_errors

FRESH_S = 3.0
# Long enough to restart a Redis or move it; a revocation cannot be recorded meanwhile anyway.
GRACE_S = 900.0

_REMEMBERED = 10_000  # keys and tenants kept in memory, some 5 MB

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    read_at: float
    ask_at: float  # when to read it again


class GraceCache(Generic[T]):
    """What was read from Redis lately. What was absent is not remembered: it may be new."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept[T]] = {}

    async def get(self, name: str, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return what is known of `name`, asking where that is too old. Raises `Unavailable`."""
        # Before asking: what changes while the answer is on its way is seen in time too.
        now = self._clock()
        kept = self._kept.get(name)
        if kept is not None and now < kept.ask_at:
            return kept.value
        try:
            with store_errors():
                found = await ask()
        except StoreError as error:
            if kept is None or now - kept.read_at >= GRACE_S:
                raise Unavailable("who is asking cannot be told: the store is away") from error
            # A store that hangs must not hold up every request until it is back.
            self._kept[name] = replace(kept, ask_at=now + FRESH_S)
            return kept.value
        self.forget(name)
        if found is not None:
            if len(self._kept) >= _REMEMBERED:
                del self._kept[next(iter(self._kept))]  # the one read longest ago
            self._kept[name] = _Kept(found, now, now + FRESH_S)
        return found

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)
