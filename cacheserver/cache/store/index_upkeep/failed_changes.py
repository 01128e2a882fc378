"""Entries whose changes an index did not take, to be put into it again. Pure."""

from __future__ import annotations

_MOST = 1_000  # ids known one by one: 100 kB


class FailedChanges:
    """Set of entry ids: of all entries, once it has too many."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._ids)

    def __contains__(self, entry_id: object) -> bool:
        return len(self._ids) > _MOST or entry_id in self._ids

    def add(self, entry_id: str) -> None:
        if len(self._ids) <= _MOST:
            self._ids.add(entry_id)

    def update(self, others: FailedChanges) -> None:
        for entry_id in others._ids:
            self.add(entry_id)
