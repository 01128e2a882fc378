"""Index in this process: FAISS, with a snapshot on disk for a faster start.

Its coroutines that a request awaits do not yield while the scope is in memory: a search is a call
of a function. The snapshot has the vectors of the scopes in memory, and the names of all others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Final

from cacheserver.cache.semantic_index import unloaded
from cacheserver.cache.semantic_index.entry_ids import gone_of
from cacheserver.cache.semantic_index.port import AreStored, ScopeCounts
from cacheserver.cache.semantic_index.scope_limit import Loading, ScopeLimit
from cacheserver.core.errors import StoreError
from cacheserver.index import snapshot
from cacheserver.index.errors import SnapshotRefused
from cacheserver.index.memory import give_back
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
        loading: Loading | None = None,
    ) -> None:
        """`path`: of the snapshot, which is written and read through `coat`.

        `loading`: how scopes are loaded when they are asked; None: all stay in memory.
        """
        self._loading = loading
        self._scopes = ScopeLimit(VectorIndex(dim), loading)
        self._evicted = 0  # evictions when memory was given back last
        self._dim = dim
        self._embedder_id = embedder_id
        self._path = path
        self._clock = clock
        self._coat = coat
        self._changed = False  # since the last snapshot

    @property
    def vectors(self) -> VectorIndex:
        """Return the vectors that are in memory."""
        return self._scopes.vectors

    @property
    def scopes(self) -> ScopeCounts:
        return self._scopes.counts()

    def __len__(self) -> int:
        return len(self.vectors) + len(self._scopes.unloaded)

    async def open(self) -> None:
        await self._scopes.close()
        self._scopes = await asyncio.to_thread(self._from_snapshot)
        self._scopes.evict()
        # With encryption on, a snapshot from before it is replaced.
        self._changed = self._coat is not None

    async def is_full(self) -> bool:
        return False  # the store may have changed since the snapshot

    async def version(self) -> str:
        return ""  # nobody else has it

    async def set_full(self, version: str) -> None:
        return

    async def search(self, scope: str, vector: Vectors, k: int, now: float) -> list[Match]:
        while scope in self._scopes.unloaded:  # of another object, if it was opened anew
            await self._scopes.load(scope)
        try:
            return self._scopes.vectors.search(scope, vector, k, now)
        except (RuntimeError, AssertionError, MemoryError) as error:  # what FAISS raises
            raise StoreError(f"the index failed: {type(error).__name__}") from error

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        self._scopes.add(id, scope, vector, expires_at)
        self._changed = True

    async def remove(self, id: str, scope: str) -> bool:
        return self._scopes.remove(id, scope)

    async def holds(self, id: str, scope: str) -> bool:
        return self._scopes.holds(id, scope)

    async def pages(self) -> AsyncIterator[Sequence[str]]:
        for page in self._scopes.pages():
            yield page

    async def next_page(self) -> list[tuple[str, str]]:
        """Return some of what is not in memory: what is, is met, or expires."""
        return self._scopes.unloaded.next_page()

    async def discard_gone(self, are_stored: AreStored) -> int:
        """Remove what has no stored entry, in memory too; it is in no later snapshot."""
        gone = set[str]()
        async for page in self.pages():
            gone |= await gone_of(page, are_stored)
        return await self.discard(gone)

    async def discard(self, names: Collection[str]) -> int:
        """Remove these ids, in memory too; what is removed is in no later snapshot."""
        gone = await asyncio.to_thread(self._remove, names)
        gone += await self._scopes.discard(names)
        gone += await asyncio.to_thread(self._remove, names)  # of scopes loaded meanwhile
        gone += await self._scopes.discard(names)  # of those that were evicted again
        await asyncio.to_thread(self.vectors.compact)
        self._changed = True
        return gone

    def _remove(self, names: Collection[str]) -> int:
        return sum(self.vectors.remove(name) for name in names)

    async def tend(self) -> None:
        """Drop expired vectors, retrain grown partitions, and evict what exceeds the limit."""
        if self.vectors.expire(self._clock()):
            self._changed = True
        self._scopes.evict()
        stop = threading.Event()
        try:
            await asyncio.to_thread(self.vectors.maintain, stop.is_set)
        finally:
            stop.set()  # a server that stops saves next, which waits for a training
        if self._evicted != self._scopes.evictions:
            self._evicted = self._scopes.evictions
            await asyncio.to_thread(give_back)

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
            extra=unloaded.write(self._scopes.unloaded.copy()),
            coat=self._coat,
        )

    async def wipe(self) -> None:
        await self._scopes.close()
        self._scopes = ScopeLimit(VectorIndex(self._dim), self._loading)
        self._changed = False
        await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def close(self) -> None:
        await self._scopes.close()

    def _from_snapshot(self) -> ScopeLimit:
        """Return what the snapshot holds; nothing if there is none that can be used."""
        try:
            found = snapshot.load(
                self._path,
                embedder_id=self._embedder_id,
                dim=self._dim,
                coat=self._coat,
                limit=self._scopes.limit_bytes,
            )
            names = unloaded.read(found.extra)
        except (SnapshotRefused, ValueError) as refused:
            if self._path.exists():
                logger.warning("the index snapshot is not used: %s", refused)
            return ScopeLimit(VectorIndex(self._dim), self._loading)
        scopes = ScopeLimit(found.index, self._loading)
        if self._loading is not None:  # else the store gives what is lacking
            in_memory = found.index.scopes()  # one that was loaded while this was written is both
            names.update({scope: unloaded.pack_all(ids) for scope, ids in found.left.items()})
            for scope, packed in names.items():
                if scope not in in_memory:
                    scopes.unloaded.put(scope, packed)
        return scopes
