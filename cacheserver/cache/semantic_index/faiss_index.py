"""Index in this process: FAISS, with a snapshot on disk for a faster start.

Its coroutines that a request awaits never yield: a search is a call of a function.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from cacheserver.core.errors import StoreError
from cacheserver.index import snapshot
from cacheserver.index.errors import SnapshotRefused
from cacheserver.index.models import Vectors
from cacheserver.index.partition import Match
from cacheserver.index.vectors import VectorIndex
from cacheserver.storage.sealer import FileFilter

logger = logging.getLogger(__name__)


class FaissIndex:
    kind: Final = "faiss"
    spare: Final = 0
    lasts: Final = False
    follows: Final = True
    failing: Final = False

    def __init__(
        self,
        dim: int,
        *,
        embedder_id: str,
        path: Path,
        clock: Callable[[], float],
        coat: FileFilter | None = None,
    ) -> None:
        """`path`: of the snapshot, which is written and read through `coat`."""
        self.vectors = VectorIndex(dim)
        self._dim = dim
        self._embedder_id = embedder_id
        self._path = path
        self._clock = clock
        self._coat = coat
        self._changed = False  # since the last snapshot

    def __len__(self) -> int:
        return len(self.vectors)

    async def open(self) -> None:
        self.vectors = await asyncio.to_thread(self._from_snapshot)
        # With encryption on, a snapshot from before it is replaced.
        self._changed = self._coat is not None

    async def is_full(self) -> bool:
        return False  # the store may have changed since the snapshot

    async def set_full(self) -> None:
        return

    async def search(self, scope: str, vector: Vectors, k: int, now: float) -> list[Match]:
        try:
            return self.vectors.search(scope, vector, k, now)
        except (RuntimeError, AssertionError, MemoryError) as error:  # what FAISS raises
            raise StoreError(f"the index failed: {type(error).__name__}") from error

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        self.vectors.add(id, scope, vector, expires_at)
        self._changed = True

    async def remove(self, id: str, scope: str) -> bool:
        return self.vectors.remove(id)

    async def holds(self, id: str, scope: str) -> bool:
        return id in self.vectors

    async def names(self) -> set[str]:
        return set(self.vectors.ids())

    async def next_page(self) -> list[tuple[str, str]]:
        return []  # the view is restored from the store at each start

    async def discard(self, names: Collection[str]) -> int:
        """Remove these ids, in memory too; what is removed is in no later snapshot."""
        gone = sum(self.vectors.remove(name) for name in names)
        await asyncio.to_thread(self.vectors.compact)
        self._changed = True
        return gone

    async def tend(self) -> None:
        """Drop expired vectors and retrain grown partitions."""
        if self.vectors.expire(self._clock()):
            self._changed = True
        await asyncio.to_thread(self.vectors.maintain)

    async def save(self) -> None:
        """Write the snapshot if anything changed since the last one."""
        if not self._changed:
            return
        self._changed = False
        await asyncio.to_thread(
            snapshot.save,
            self._path,
            self.vectors,
            embedder_id=self._embedder_id,
            coat=self._coat,
        )

    async def wipe(self) -> None:
        self.vectors = VectorIndex(self._dim)
        self._changed = False
        await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def close(self) -> None:
        return

    def _from_snapshot(self) -> VectorIndex:
        """Return what the snapshot holds; an empty index if there is none that can be used."""
        try:
            return snapshot.load(
                self._path,
                embedder_id=self._embedder_id,
                dim=self._dim,
                coat=self._coat,
            ).index
        except SnapshotRefused as refused:
            if self._path.exists():
                logger.warning("the index snapshot is not used: %s", refused)
            return VectorIndex(self._dim)
