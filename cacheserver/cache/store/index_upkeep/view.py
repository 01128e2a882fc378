"""The index as a view of the store: opened at the start, compared, swept and saved."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from cacheserver.cache.semantic_index.entry_ids import EntryIds, gone_of
from cacheserver.cache.semantic_index.pair import Pair
from cacheserver.cache.semantic_index.port import SemanticIndex
from cacheserver.cache.store.codec import VectorRow
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.hot_entries import STORED
from cacheserver.cache.store.index_upkeep.failed_changes import FailedChanges
from cacheserver.core.errors import StoreError
from cacheserver.peers.peers import Peers

logger = logging.getLogger(__name__)

_AGREE_S = 60.0  # between comparisons with all that is stored, after failures
_AT_ONCE = 1_000  # entries looked up by one command: a millisecond


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...


class IndexView:
    """Stored questions and the index over them."""

    def __init__(
        self,
        entries: Entries,
        index: SemanticIndex,
        *,
        dim: int,
        embedder_id: str,
        clock: Callable[[], float],
        load: Callable[[], object],
    ) -> None:
        """`load` reads the embedder's model, in a thread, when the index is restored."""
        self.entries = entries
        self.index = index
        self.incomplete = False  # the index lacks what the store has, until `tend` has added it
        self.lacking = 0  # stored questions without a vector of this embedder, as far as known
        self.restored = asyncio.Event()  # until then a look-up by similarity is `warming`
        self._agreed_at = -math.inf
        self._failed = FailedChanges()  # of what the index has already
        self._reads: list[set[str]] = []  # entries that changed since a page was read, by `agree`
        self._dim = dim
        self._embedder_id = embedder_id
        self._clock = clock
        self._load = load

    @property
    def ready(self) -> bool:
        return self.restored.is_set()

    @property
    def _parts(self) -> tuple[SemanticIndex, ...]:
        """The indexes to be compared with the store: one may have what the other lacks."""
        return (self.index.old, self.index.new) if isinstance(self.index, Pair) else (self.index,)

    async def restore(self) -> None:
        """Open the index, then make it agree with the store: behind the requests where it lasts.

        Raises `StoreError`; the index stays `warming` and the caller may try again.
        """
        await asyncio.gather(self.index.open(), asyncio.to_thread(self._load))
        if self.index.lasts:
            self.incomplete = True
            self._agreed_at = -math.inf
        else:
            await self._agree_all()
        self.restored.set()

    async def _agree_all(self, failed: FailedChanges | None = None) -> None:
        for part in self._parts:
            await self.agree(part, failed=failed)

    async def agree(
        self,
        index: SemanticIndex,
        *,
        seen: Callable[[int], object] = lambda count: None,
        failed: FailedChanges | None = None,
    ) -> None:
        """Add to an index what the store has and it lacks, and remove what the store lacks.

        `seen` is called with the number of questions looked at, some at a time. What is in `failed`
        is put into the index as the store has it. Raises `StoreError`, also where the index is
        deleted meanwhile, as at the end of a move that leaves it.
        """
        # Entries stored meanwhile are added as they are stored, or found in the store.
        version = await index.version()
        known = await EntryIds.read(index.pages(), note=self.entries.seen.add)
        changed = set[str]()

        def wanted(ids: Collection[str]) -> Collection[str]:
            self._require(index)
            seen(len(ids))
            changed.clear()  # the rows are read after this
            lacking = known.meet(ids)
            return [*lacking, *filter(failed.__contains__, ids)] if failed else lacking

        added, fresh, self.lacking = 0, list[tuple[str, str]](), 0
        self._reads.append(changed)
        try:
            async for row in self.entries.vectors.scan(wanted):
                self.lacking += self._embedder_id not in row.vectors
                if row.entry_id in changed:
                    continue  # whoever changed it indexes it
                if await self.index_row(row, index):
                    added += 1
                    fresh.append((row.entry_id + row.fingerprint, row.scope))
                elif failed and row.entry_id in failed:
                    await index.remove(row.entry_id + row.fingerprint, row.scope)
                if row.entry_id in changed:  # at the same time: either may have come last
                    self.note_failed(row.entry_id)
                if len(fresh) == _AT_ONCE:
                    await self._drop_erased(index, fresh)
            await self._drop_erased(index, fresh)
        finally:
            self._reads = [one for one in self._reads if one is not changed]
        if known.unmet:
            await index.discard_gone(self.entries.vectors.are_stored)
        self._require(index)
        await index.set_full(version)
        logger.info("index ready: %d questions, %d of them added from the store", len(index), added)

    async def _drop_erased(self, index: SemanticIndex, fresh: list[tuple[str, str]]) -> None:
        """Remove those that were erased between their page's reading and their addition.

        What is erased from the store later is in the index by now, for the erasure to find.
        """
        for id, scope in await self._without_entry(fresh):
            await index.remove(id, scope)
        fresh.clear()

    def note_changed(self, entry_id: str) -> None:
        """Note that an entry changed which is indexed next: `agree` may have read it before."""
        for changed in self._reads:
            changed.add(entry_id)

    def note_failed(self, entry_id: str) -> None:
        """Have `tend` index an entry anew: the index did not take its change."""
        self._failed.add(entry_id)
        self.incomplete = True

    def _require(self, index: SemanticIndex) -> None:
        """Raise `StoreError` unless the index is in use, or filled by a move."""
        if index not in self._parts:
            raise StoreError("the index was replaced by another one meanwhile")

    async def index_row(self, row: VectorRow, index: SemanticIndex | None = None) -> bool:
        """Index a stored question; False if it has no vector of this embedder, or has expired.

        Raises `StoreError`.
        """
        stored = row.vectors.get(self._embedder_id, b"")
        vector = np.frombuffer(stored, dtype=np.float16).astype(np.float32)
        if vector.shape != (self._dim,) or row.expires_at <= self._clock():
            return False  # none, or only stored to be served stale
        vector /= np.linalg.norm(vector)
        into = self.index if index is None else index
        await into.add(row.entry_id + row.fingerprint, row.scope, vector, row.expires_at)
        self.entries.seen.add(row.fingerprint)
        return True

    def follow(self, peers: Peers) -> None:
        """Index what other servers store, as they tell of it."""
        peers.listen(STORED, self._stored, anew=_nothing, missed=self._missed, waited=False)

    async def _stored(self, names: Sequence[str]) -> None:
        """Index entries by their names: an index that all servers share has them already."""
        fingerprints = list(dict.fromkeys(name[32:] for name in names))
        for fingerprint in fingerprints:
            self.entries.seen.add(fingerprint)
        for name in names:
            self.note_changed(name[:32])
        if not self.index.follows:
            return
        for row in await self.entries.vectors.of(fingerprints):
            if row is not None:
                try:
                    await self.index_row(row)
                except StoreError:  # of the other index of a move
                    self.note_failed(row.entry_id)

    async def _missed(self) -> None:
        """Have the next `tend` compare the index with all that is stored."""
        self.incomplete = True
        self._agreed_at = -math.inf

    async def drop_gone(self) -> int:
        """Drop vectors without an entry from the index and the snapshot; return their number.

        Raises `StoreError`, and `OSError` where the snapshot cannot be written.
        """
        gone = await self.index.discard_gone(self.entries.vectors.are_stored)
        await self.index.save()
        return gone

    async def tend(self) -> None:
        """Drop vectors that expired or lost their entries, and add those that are lacking.

        Called off the request path. Raises `StoreError`.
        """
        if self.index.follows or self.entries.lease.held:  # one that all share is swept by one
            await self.index.tend()
            page = await self.index.next_page()
            for id, scope in await self._without_entry(page):
                await self.index.remove(id, scope)
        if self.index.lasts and not await self.index.is_full():
            self.incomplete = True  # its server has lost it
        since = time.monotonic() - self._agreed_at
        if self.incomplete and since >= _AGREE_S:
            self._agreed_at = time.monotonic()
            self.incomplete = False  # an add that fails from now on says so again
            failed, self._failed = self._failed, FailedChanges()
            try:
                await self._agree_all(failed)
            except BaseException:
                self.incomplete = True
                self._failed.update(failed)
                raise

    async def _without_entry(self, page: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        gone = await gone_of([id for id, _ in page], self.entries.vectors.are_stored)
        return [one for one in page if one[0] in gone]

    async def close(self) -> None:
        """Close the index's connections; what it keeps on disk was saved before."""
        await self.index.close()

    async def save(self) -> None:
        """Write what the index keeps on disk, if anything changed since the last time."""
        if self.ready:
            await self.index.save()


async def _nothing() -> None:
    """Keep the index: it is only a view, and what is found in it is read from the store."""
