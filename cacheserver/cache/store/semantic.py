"""Stored answers by fingerprint and by similarity: Redis is the truth, the index a derived view.

Rule: an answer is stored in Redis first and indexed after; a vector whose entry is gone is dropped
when it is met. So the index may lag behind Redis, but adds nothing to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cacheserver.cache.semantic_index.port import ScopeLoading, SemanticIndex
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.index_upkeep.view import Counts, IndexView
from cacheserver.cache.store.stored_entry import Replaced, Stored, Together, no_keys
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Candidate, Entry, Nanodollars, Near, Query
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import (
    EmbedderFailed,
    IndexingError,
    ModelChanged,
    ModelMissing,
    TooLong,
    Unreadable,
)
from cacheserver.index.partition import Match
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.question_text import is_normal

logger = logging.getLogger(__name__)

_SAMPLE = 10  # of a scope's questions, to find its tenant: some may just be gone
_ROUNDS = 3  # searches past neighbours whose entries are gone; then the rest is used

Vector = npt.NDArray[np.float32]


class SemanticEntries(IndexView):
    """Entries with an index over the questions they answered."""

    def __init__(
        self,
        entries: Entries,
        batcher: Batcher,
        index: SemanticIndex,
        *,
        behind: Batcher,
        dim: int,
        embedder_id: str,
        clock: Callable[[], float],
        counts: Counts,
        scale: CosineScale | None = None,
        limit_s: float | None = None,
        load: Callable[[], object] = lambda: None,
        missing: bool = False,
    ) -> None:
        """`behind` embeds what nobody waits for; it may be the same as `batcher`.

        `scale` maps the embedder's cosines. `limit_s`: how long a look-up waits for a vector.

        `missing`: there is no model. What is stored gets its vector after a start with one.
        """
        super().__init__(entries, index, dim=dim, embedder_id=embedder_id, clock=clock, load=load)
        self.missing = missing
        self.changing = False  # to this embedder: not all questions have its vector yet
        self.recovered = asyncio.Event()  # the embedder answers again after a failure
        self._failing = False
        self._batcher = batcher
        self._behind = behind
        self._counts = counts
        self._scale = scale or CosineScale()
        self._limit_s = limit_s

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
        own, index = None, self.index
        cosines: list[float | None]
        for _ in range(_ROUNDS):
            try:
                matches = await index.search(
                    query.scope, vector, top_k + index.spare, self._clock()
                )
            except StoreError:
                if asked is not None and (own := await self.entries.get(asked)) is not None:
                    return Near(skipped="degraded", exact=own)
                raise
            except ScopeLoading:
                own = own if asked is None else await self.entries.get(asked)
                return Near(skipped="warming", vector=vector, exact=own)
            refs = [_unname(match.id) for match in matches]
            if index.spare:
                read, cosines = await self._with_cosines(refs, vector, beside, asked)
            else:
                read = await self.entries.together(refs, beside=beside, exact=asked)
                cosines = [match.cosine for match in matches]
            own, asked = own or read.exact, None
            live, gone = list[tuple[float, Stored]](), 0
            for match, stored, cosine in zip(matches, read.grouped, cosines, strict=True):
                # Purged, evicted or replaced: the index follows Redis. An entry of another tenant
                # is in this scope only if a forged export brought it.
                if stored is None or stored.entry.tenant != query.tenant.name:
                    gone += await self._drop(match.id, query.scope)
                elif cosine is not None and _is_of(stored.entry, query):
                    live.append((cosine, stored))
            if not gone:
                break  # otherwise search again: dropped vectors may have hidden others
        if index.spare:  # only now are they in order; ids are in the order of times
            live.sort(key=lambda one: (one[0], one[1].entry.id), reverse=True)
        if (self.changing or self.incomplete) and not live:  # what is stored may have no vector yet
            return Near(skipped="warming", vector=vector, exact=own)
        found = [_candidate(stored, self._scale(cosine)) for cosine, stored in live[:top_k]]
        return Near(found, vector=vector, exact=own, beside=read.beside)

    async def _with_cosines(
        self,
        refs: Sequence[tuple[str, str]],
        vector: Vector,
        beside: Callable[[str], Sequence[str]],
        exact: str | None,
    ) -> tuple[Together, list[float | None]]:
        """Read entries in one round trip, with the cosine of each; None: it has no vector."""
        rows = self.entries.vectors.beside(refs, beside)
        read = await self.entries.together(refs, beside=rows.keys, exact=exact)
        cosines, others = rows.compute(read.beside, vector, embedder=self._embedder_id)
        return replace(read, beside=others), [cosines.get(id) for _, id in refs]

    async def _drop(self, id: str, scope: str) -> bool:
        """Remove a vector from the index. A failure is counted: it is met again."""
        try:
            return await self.index.remove(id, scope)
        except StoreError:
            self._counts.swallowed("index")
            return False

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
        matches: Sequence[Match] | None = None
        while matches is None:
            with contextlib.suppress(ScopeLoading):  # whoever asks this waits
                matches = await self.index.search(scope, nowhere, _SAMPLE, self._clock())
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
            await self._drop(replaces.id + entry.fingerprint, entry.scope)
        if was_stored and vector is not None:
            try:
                await self.index.add(_name(entry), entry.scope, vector, entry.expires_at)
            except StoreError:  # the answer is stored; `tend` adds what is lacking
                self._counts.swallowed("index")
                self.incomplete = True
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
        self.note_changed(entry.id)
        try:
            if row is not None and not await self.index_row(row):
                await self.index.remove(_name(entry), entry.scope)
        except StoreError:  # an entry that is over is not served, whatever the index has
            self._counts.swallowed("index")
            self.note_failed(entry.id)
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


def _is_of(entry: Entry, query: Query) -> bool:
    """Return whether an entry may be compared: it is of the scope, and its text is plain."""
    return entry.scope == query.scope and is_normal(entry.text)


def _name(entry: Entry) -> str:
    """The name of an entry in the index: with its fingerprint, so one round trip fetches it."""
    return entry.id + entry.fingerprint


def _unname(id: str) -> tuple[str, str]:
    return id[32:], id[:32]
