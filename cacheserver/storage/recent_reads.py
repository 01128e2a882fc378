"""What was read from the store a moment ago, so that a hot value costs no round trip.

Rule: nothing is believed for longer than `FRESH_S`, absence included. With the store away there is
no grace: no entry could be served then anyway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

FRESH_S = 3.0  # as for keys and tenants' settings: what an operator changes holds within that

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    ask_at: float  # when to read it again


class RecentReads(Generic[T]):
    """Up to `most` values by name. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float], *, most: int) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[Hashable, _Kept[T]] = {}
        self._forgotten = 0

    async def get(self, name: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The value of `name`, from `ask` where it is not known. Raises what `ask` raises."""
        now = self._clock()  # before asking: what changes on the way is seen in time too
        kept = self._kept.get(name)
        if kept is not None and now < kept.ask_at:
            return kept.value
        forgotten = self._forgotten
        value = await ask()
        # What was asked before this process wrote may be what it wrote over.
        if forgotten == self._forgotten:
            self._kept.pop(name, None)
            if len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]  # the one read longest ago
            self._kept[name] = _Kept(value, now + FRESH_S)
        return value

    def forget(self, name: Hashable) -> None:
        """Have the next `get` ask: this process has written the value."""
        self._forgotten += 1
        self._kept.pop(name, None)

    def __len__(self) -> int:
        return len(self._kept)
