"""Notices that the store has lost data: emptied (`FLUSHALL`), started without its files, set back.

A counter in the store is raised at every look, by every server on it. If it is not above what this
server saw last, the store is not the one it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.embedded.aof_sync import AofSync

log = logging.getLogger(__name__)


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StoreState:
    """What an operator should know. `lost_at` is Unix seconds."""

    lost_at: float | None = None
    unsynced_s: float = 0.0
    failing: bool = False  # the disk did not take what was written
    unspilled: bool = False  # rows of the ledger could not be written to a file


class DataLossWatch:
    """Looks when asked to. `sync` is the embedded store's."""

    def __init__(
        self,
        redis: Connection,
        counts: Counts,
        *,
        prefix: str = PREFIX,
        sync: AofSync | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.unspilled: Callable[[], bool] = lambda: False  # set by whoever writes the files
        self._redis = redis
        self._counts = counts
        self._key = f"{prefix}beats"
        self._sync = sync
        self._clock = clock
        self._seen = 0
        self._failures = 0
        self._lost_at: float | None = None

    @property
    def unsynced_s(self) -> float:
        """The age in seconds of the oldest write that may not be on the disk; 0 where unknown."""
        return 0.0 if self._sync is None else self._sync.unsynced_s

    async def look(self) -> bool:
        """Return True if data were lost since the last look. Raises `StoreError`."""
        if self._sync is not None:
            for _ in range(self._sync.failures - self._failures):
                self._counts.swallowed("store-sync")
                self._failures += 1
        beats = int(await command(self._redis, "INCR", self._key))
        lost = beats <= self._seen
        if lost:
            self._counts.swallowed("store-lost")
            self._lost_at = self._clock()
            log.error(
                "the store has lost data: it was emptied, restarted without its files, or set "
                "back (look %d, after %d). Keys, tenants' settings and budgets may be gone; what "
                "it has no more is not served",
                beats,
                self._seen,
            )
        self._seen = beats
        return lost

    def state(self) -> StoreState:
        failing = self._sync is not None and self._sync.failing
        return StoreState(self._lost_at, self.unsynced_s, failing, self.unspilled())
