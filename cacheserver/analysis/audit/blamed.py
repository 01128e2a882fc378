"""Who is to blame: of many the dearest few."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cacheserver.core.types import Nanodollars

_SHOWN: Final = 3


@dataclass(slots=True)
class Blamed:
    """Names by what each would have saved, the dearest first; among equals, who came first."""

    _kept: list[tuple[Nanodollars, int, str]] = field(default_factory=list)
    _count: int = 0

    def add(self, saved: Nanodollars, name: str) -> None:
        """Count one in."""
        self._count += 1
        if len(self._kept) == _SHOWN and saved <= -self._kept[-1][0]:
            return
        insort(self._kept, (-saved, self._count, name))
        del self._kept[_SHOWN:]

    def __iter__(self) -> Iterator[str]:
        return (name for _, _, name in self._kept)
