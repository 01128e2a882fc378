"""The most expensive values by key, in bounded memory.

What is worth no more than the median makes room at once, and a newcomer starts from that median
(Misra-Gries in batches: Anderson et al., A High-Performance Algorithm for Identifying Frequent
Items in Data Streams, IMC 2017). Whenever that floor rises, half of the kept lose as much each, so
it never passes 2/most of all that was counted in, and whatever is worth more is kept. A value that
came back may miss what it was worth before, at most the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class TopK(Generic[K, T]):
    """Values by key. Beyond `most`, the cheapest are removed and passed to `let_go`."""

    def __init__(
        self, most: int, worth: Callable[[T], int], let_go: Callable[[T], None] = lambda value: None
    ) -> None:
        """`worth` must not fall while a value is kept; below 0 counts as 0."""
        self.floor = 0
        self._most = most
        self._worth = worth
        self._let_go = let_go
        self._entries: dict[K, tuple[int, T]] = {}  # with the floor it came at

    def of(self, key: K, make: Callable[[], T]) -> T:
        """Return the value of a key; call `make` for a new key."""
        found = self._entries.get(key)
        if found is None:
            if len(self._entries) >= self._most:
                self._make_room()
            found = self._entries[key] = self.floor, make()
        return found[1]

    def __iter__(self) -> Iterator[tuple[K, T]]:
        """Iterate over the values, most expensive first."""
        ranked = sorted(self._entries.items(), key=lambda one: -self._worth(one[1][1]))
        return ((key, value) for key, (_, value) in ranked)

    def __len__(self) -> int:
        return len(self._entries)

    def _make_room(self) -> None:
        levels = {
            key: came + max(0, self._worth(one)) for key, (came, one) in self._entries.items()
        }
        self.floor = sorted(levels.values())[(len(levels) - 1) // 2]
        for key, level in levels.items():
            if level <= self.floor:
                self._let_go(self._entries.pop(key)[1])
