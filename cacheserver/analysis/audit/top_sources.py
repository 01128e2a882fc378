"""The few sources of a leak that would have saved most."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cacheserver.core.types import Nanodollars

_SHOWN: Final = 3


@dataclass(slots=True)
class TopSources:
    """Names by saving, greatest first; of equals the earlier one first."""

    _entries: list[tuple[Nanodollars, int, str]] = field(default_factory=list)
    _count: int = 0

    def add(self, saved: Nanodollars, name: str) -> None:
        """Add a name with its saving."""
        self._count += 1
        if len(self._entries) == _SHOWN and saved <= -self._entries[-1][0]:
            return
        insort(self._entries, (-saved, self._count, name))
        del self._entries[_SHOWN:]

    def __iter__(self) -> Iterator[str]:
        return (name for _, _, name in self._entries)
