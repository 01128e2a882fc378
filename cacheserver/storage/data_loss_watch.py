"""Detection of data loss in the store: emptied (`FLUSHALL`), restarted without files, set back.

Every server increments one counter in the store at each check. If the counter is not above the
value this server saw last, the store has lost data.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cacheserver.storage.connection import PREFIX, Connection, command

log = logging.getLogger(__name__)


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...


class DiskSync(Protocol):
    """Sync of the store's files to the disk, known only of a store that runs beside us."""

    @property
    def failures(self) -> int: ...  # syncs that failed
    @property
    def failing(self) -> bool: ...  # a write may not be on the disk, and cannot be synced
    @property
    def unsynced_s(self) -> float: ...  # age of the oldest write that may not be on the disk


@dataclass(frozen=True, slots=True)
class StoreState:
    """State of the store for alerts and health. `lost_at` is Unix seconds."""

    lost_at: float | None = None
    unsynced_s: float = 0.0
    failing: bool = False  # the disk rejected a write
    unspilled: bool = False  # ledger rows could not be written to a file


class DataLossWatch:
    """Check for data loss, run on request."""

    def __init__(
        self,
        redis: Connection,
        counts: Counts,
        *,
        prefix: str = PREFIX,
        sync: DiskSync | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.unspilled: Callable[[], bool] = lambda: False  # set by ledger retention
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
        """Return the age in seconds of the oldest write not known to be on disk; 0 if unknown."""
        return 0.0 if self._sync is None else self._sync.unsynced_s

    async def check(self) -> bool:
        """Return whether data were lost since the last check. Raises `StoreError`."""
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
                "back (counter %d, after %d). Keys, tenants' settings and budgets may be gone; "
                "lost answers are not served",
                beats,
                self._seen,
            )
        self._seen = beats
        return lost

    def state(self) -> StoreState:
        failing = self._sync is not None and self._sync.failing
        return StoreState(self._lost_at, self.unsynced_s, failing, self.unspilled())
