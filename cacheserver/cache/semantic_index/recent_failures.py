"""Scopes that failed lately. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_LATELY_S: Final = 60.0
_MOST: Final = 100  # scopes known one by one


class RecentFailures:
    """Scopes that failed within a minute, and were not asked with success since.

    One node of a cluster may fail while the others do not.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._at: dict[str, float] = {}

    def __bool__(self) -> bool:
        since = self._monotonic() - _LATELY_S
        return any(at > since for at in self._at.values())

    def note(self, scope: str) -> None:
        self._at.pop(scope, None)
        if len(self._at) == _MOST:
            del self._at[next(iter(self._at))]  # the oldest
        self._at[scope] = self._monotonic()

    def clear(self, scope: str) -> None:
        """Note that a scope was asked with success."""
        self._at.pop(scope, None)
