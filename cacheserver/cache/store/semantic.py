"""Stored answers by fingerprint and by similarity: Redis is the truth, the index a derived view.

Rule: an answer is stored in Redis first and indexed after; a vector whose entry is gone is dropped
when it is met. So the index may lag behind Redis, but adds nothing to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cacheserver.cache.store.codec import VectorRow
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.stored_entry import Replaced, Stored, no_keys
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Candidate, Entry, Nanodollars, Near, Query
from cacheserver.index import snapshot
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import (
    EmbedderFailed,
    IndexingError,
    ModelChanged,
    ModelMissing,
    SnapshotRefused,
    TooLong,
    Unreadable,
)
from cacheserver.index.vectors import VectorIndex
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.question_text import is_normal
from cacheserver.storage.sealer import Sealer

logger = logging.getLogger(__name__)

_SAMPLE = 10  # of a scope's questions, to find its tenant: some may just be gone
_ROUNDS = 3  # searches past neighbours whose entries are gone; then the rest is used

Vector = npt.NDArray[np.float32]


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...


class SemanticEntries:
    """Entries with an index over the questions they answered."""

    def __init__(
        self,
        entries: Entries,
        batcher: Batcher,
        *,
        behind: Batcher,
        dim: int,
        embedder_id: str,
        snapshot_path: Path,
        clock: Callable[[], float],
        counts: Counts,
        sealer: Sealer | None = None,
        scale: CosineScale | None = None,
        limit_s: float | None = None,
        load: Callable[[], object] = lambda: None,
        missing: bool = False,
    ) -> None:
        """`behind` embeds what nobody waits for; it may be the same as `batcher`.

        `scale` maps the embedder's cosines. `limit_s`: how long a look-up waits for a vector.

        `load` reads the embedder's model; it is called in a thread when the index is restored.
        `missing`: there is no model. What is stored gets its vector after a start with one.
        """
        self.missing = missing
        self.entries = entries
        self.index = VectorIndex(dim)
        self.changing = False  # to this embedder: not all questions have its vector yet
        self.lacking = 0  # stored questions without a vector of this embedder, as far as known
        self.recovered = asyncio.Event()  # the embedder answers again after a failure
        self._failing = False
        self.restored = asyncio.Event()  # until then a look-up by similarity is `warming`
        self._batcher = batcher
        self._behind = behind
        self._dim = dim
        self._embedder_id = embedder_id
        self._snapshot_path = snapshot_path
        self._clock = clock
        self._counts = counts
        self._scale = scale or CosineScale()
        self._limit_s = limit_s
        self._load = load
        self._coat = None if sealer is None else sealer.files
        self._changed = False  # since the last snapshot

    @property
    def ready(self) -> bool:
        return self.restored.is_set()

    async def get(self, fingerprint: str) -> Entry | None:
        return await self.entries.get(fingerprint)

    def touch(self, entry: Entry, saved: Nanodollars = 0) -> None:
        self.entries.touch(entry, saved)

    def expects(self, query: Query) -> bool:
        """Return whether to read the exact entry first: it may be stored. A hint.

        Otherwise it is read with those that are near, after the question was embedded: always first
        where that is a call to an endpoint.
        """
        return self._limit_s is not None or query.fingerprint in self.entries.seen

    async def near(
        self,
        query: Query,
        top_k: int,
        *,
        exact: bool = False,
        beside: Callable[[str], Sequence[str]] = no_keys,
    ) -> Near:
        """Live entries of the query's scope, most similar first, or why none were searched.

        `exact`: the entry with the query's fingerprint, too. `beside`: keys to read with an entry,
        by its id. All is read in one round trip.
        """
        asked = query.fingerprint if exact else None
        vector = await self._question_vector(query)
        if isinstance(vector, Near):
            own = None if asked is None else await self.entries.get(asked)
            return replace(vector, exact=own)
        own = None
        for _ in range(_ROUNDS):
            try:
                matches = self.index.search(query.scope, vector, top_k, self._clock())
            except (RuntimeError, AssertionError, MemoryError) as error:  # what FAISS raises
                if asked is not None and (own := await self.entries.get(asked)) is not None:
                    return Near(skipped="degraded", exact=own)
                raise StoreError(f"the index failed: {type(error).__name__}") from error
            refs = [_unname(match.id) for match in matches]
            read = await self.entries.together(refs, beside=beside, exact=asked)
            own, asked = own or read.exact, None
            live, gone = [], 0
            for match, stored in zip(matches, read.grouped, strict=True):
                # Purged, evicted or replaced: the index follows Redis. An entry of another tenant
                # is in this scope only if a forged export brought it.
                if stored is None or stored.entry.tenant != query.tenant.name:
                    gone += self.index.remove(match.id)
                elif stored.entry.scope == query.scope and is_normal(stored.entry.text):
                    live.append(_candidate(stored, self._scale(match.cosine)))
            if not gone:
                break  # otherwise search again: dropped vectors may have hidden others
        if self.changing and not live:  # what is stored may have no vector yet
            return Near(skipped="warming", vector=vector, exact=own)
        return Near(live, vector=vector, exact=own, beside=read.beside)

    async def _question_vector(self, query: Query) -> Vector | Near:
        """Return a question's vector, or why there is none."""
        if query.text is None:
            return Near(skipped="exact-only")
        if self.missing:
            return Near(skipped="no-model")
        if not self.ready:
            return Near(skipped="warming")
        try:
            return await self._embed(query.text)
        except TooLong:
            return Near(skipped="window")
        except Unreadable:
            return Near(skipped="unreadable")
        except IndexingError:
            return Near(skipped="embedder")

    async def has_questions(self, tenant: str, scope: str) -> bool:
        """Return True if a question of the tenant's is stored in a scope. Raises `StoreError`."""
        nowhere = np.zeros(self._dim, np.float32)  # as near to one as to another
        matches = self.index.search(scope, nowhere, _SAMPLE, self._clock())
        found = await self.entries.grouped([_unname(match.id) for match in matches])
        return any(stored is not None and stored.entry.tenant == tenant for stored in found)

    async def put(
        self,
        entry: Entry,
        *,
        keep_s: int,
        asked_at: float,
        embed: bool = True,
        behind: bool = False,
        replaces: Replaced | None = None,
    ) -> bool:
        """Store an entry, then index its question. False: purged since `asked_at`, or too large.

        `embed` False: only a vector at hand is used, such as one that was late for the look-up.
        `behind`: the question is one of many, embedded behind those of requests.
        A question that the embedder failed to embed is embedded later (`reembedding`).
        """
        vector, lacks = None, False
        if entry.text is not None and (vector := self._batcher.recall(entry.text)) is None:
            lacks = not embed
            if embed:
                try:
                    vector = await self.embed(entry.text, behind=behind)
                except IndexingError:
                    lacks = True
        return await self.put_vector(
            entry, vector, keep_s=keep_s, asked_at=asked_at, lacks=lacks, replaces=replaces
        )

    async def put_vector(
        self,
        entry: Entry,
        vector: Vector | None,
        *,
        keep_s: int,
        asked_at: float,
        lacks: bool = False,
        replaces: Replaced | None = None,
    ) -> bool:
        """`put` with the question's vector at hand; without one it is matched exactly only.

        `lacks`: until it is embedded later.
        """
        packed = None if vector is None else vector.astype(np.float16).tobytes()
        was_stored = await self.entries.put(
            entry, keep_s=keep_s, vector=packed, asked_at=asked_at, lacks=lacks, replaces=replaces
        )
        if was_stored and replaces is not None:
            self.index.remove(replaces.id + entry.fingerprint)
        if was_stored and vector is not None:
            self.index.add(_name(entry), entry.scope, vector, entry.expires_at)
            self._changed = True
        if was_stored and lacks:
            self.lacking += 1
        return was_stored

    async def set_deadline(
        self, tenant: str, entry_id: str, expires_at: float, *, keep_s: int
    ) -> Entry | None:
        """Set when an entry of `tenant` expires, here and in the store; None if there is none."""
        found = await self.entries.deadlines.set(tenant, entry_id, expires_at, keep_s=keep_s)
        if found is None:
            return None
        entry, row = found
        if row is not None and not self.index_row(row):
            self.index.remove(_name(entry))
        return entry

    async def embed(self, text: str, *, behind: bool = False) -> Vector | None:
        """The vector of a text; None if the embedder cannot read it.

        Raises `IndexingError` where it fails or is slow, which is counted.
        """
        try:
            return await self._embed(text, behind=behind)
        except Unreadable:
            return None

    async def vector(self, text: str) -> Vector | None:
        """Return the vector of a text; None if the embedder cannot read it, or fails."""
        try:
            return await self.embed(text)
        except IndexingError:
            return None

    async def _embed(self, text: str, *, behind: bool = False) -> Vector:
        """The vector of a text, within the limit. Raises `IndexingError`; a failure is counted."""
        if self.missing:  # said at the start: no failure of this text
            raise ModelMissing("there is no embedding model")
        asked = self._batcher.recall(text) is None
        try:
            async with asyncio.timeout(self._limit_s):
                vector = await (self._behind if behind else self._batcher).embed(text)
        except Unreadable:
            raise
        except (IndexingError, TimeoutError) as error:
            self._failing = True
            self._counts.swallowed(site_of(error))
            if isinstance(error, TimeoutError):
                raise EmbedderFailed("the embedder is slow") from error
            raise
        if self._failing and asked:
            self._failing = False
            self.recovered.set()
        return vector

    async def restore(self) -> None:
        """Fill the index from the snapshot, then make it agree with Redis.

        Raises `StoreError`; the index stays `warming` and the caller may try again.
        """
        restored, _ = await asyncio.gather(
            asyncio.to_thread(self._from_snapshot), asyncio.to_thread(self._load)
        )
        # Entries stored while the snapshot was read are found in Redis.
        self.index = restored
        names = {name[:32]: name for name in restored.ids()}
        gone = set(names)  # until Redis names them
        added, self.lacking = 0, 0
        async for row in self.entries.vectors.scan(names, seen=gone.difference_update):
            added += self.index_row(row)
            self.lacking += self._embedder_id not in row.vectors
        for id in gone:
            restored.remove(names[id])
        # With encryption on, a snapshot from before it is replaced.
        self._changed = bool(gone or added) or self._coat is not None
        self.restored.set()
        logger.info("index ready: %d questions, %d of them from Redis alone", len(restored), added)

    def _from_snapshot(self) -> VectorIndex:
        """Return what the snapshot holds; an empty index if there is none that can be used."""
        try:
            found = snapshot.load(
                self._snapshot_path,
                embedder_id=self._embedder_id,
                dim=self._dim,
                coat=self._coat,
            ).index
            for name in found.ids():
                self.entries.seen.add(name[32:])
            return found
        except SnapshotRefused as refused:
            if self._snapshot_path.exists():
                logger.warning("the index snapshot is not used: %s", refused)
            return VectorIndex(self._dim)

    def index_row(self, row: VectorRow) -> bool:
        """Index a stored question; False if it has no vector of this embedder, or has expired."""
        stored = row.vectors.get(self._embedder_id, b"")
        vector = np.frombuffer(stored, dtype=np.float16).astype(np.float32)
        if vector.shape != (self._dim,) or row.expires_at <= self._clock():
            return False  # none, or only stored to be served stale
        vector /= np.linalg.norm(vector)
        self.index.add(row.entry_id + row.fingerprint, row.scope, vector, row.expires_at)
        self.entries.seen.add(row.fingerprint)
        self._changed = True
        return True

    async def drop_gone(self) -> int:
        """Drop vectors without an entry from the index and the snapshot; return their number.

        Raises `StoreError`, and `OSError` where the snapshot cannot be written.
        """
        live = await self.entries.live_ids()
        gone = sum(self.index.remove(name) for name in self.index.ids() if name[:32] not in live)
        await asyncio.to_thread(self.index.compact)
        self._changed = True
        await self.save()
        return gone

    async def tend(self) -> None:
        """Drop expired vectors and retrain grown partitions. Called off the request path."""
        if self.index.expire(self._clock()):
            self._changed = True
        await asyncio.to_thread(self.index.maintain)

    async def save(self) -> None:
        """Write the snapshot if anything changed since the last one."""
        if not self.ready or not self._changed:
            return
        self._changed = False
        await asyncio.to_thread(
            snapshot.save,
            self._snapshot_path,
            self.index,
            embedder_id=self._embedder_id,
            coat=self._coat,
        )


def site_of(error: IndexingError | TimeoutError) -> str:
    """Return where a failure of the embedder is counted."""
    return "embedder-changed" if isinstance(error, ModelChanged) else "embed"


def _candidate(stored: Stored, similarity: float) -> Candidate:
    return Candidate(
        stored.entry,
        similarity,
        stored.group,
        corroborated=stored.corroborated,
        pinned=stored.pinned,
    )


def _name(entry: Entry) -> str:
    """The name of an entry in the index: with its fingerprint, so one round trip fetches it."""
    return entry.id + entry.fingerprint


def _unname(id: str) -> tuple[str, str]:
    return id[32:], id[:32]
