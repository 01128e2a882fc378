"""A cache in memory, bounded in bytes: the least recently used leave first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruBytes(Generic[K, V]):
    """Values by key, with the size that each was given. `max_bytes` 0 keeps nothing."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, size: int) -> list[V]:
        """Keep a value in place of the key's last one; return the values that left for it.

        A value that alone exceeds the bound leaves at once.
        """
        self.pop(key)
        self._kept[key] = value, size
        self.bytes += size
        left = []
        while self.bytes > self.max_bytes:
            _, (gone, freed) = self._kept.popitem(last=False)
            self.bytes -= freed
            left.append(gone)
        return left

    def pop(self, key: K) -> None:
        """Drop the key's value, if there is one."""
        if (found := self._kept.pop(key, None)) is not None:
            self.bytes -= found[1]

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0
