"""Change of the embedder: every stored question is embedded again, behind the requests.

So is a question that the embedder failed to embed as its answer was stored.

Each entry says which embedders made its vectors, so a pass over the entries needs no list: after
a kill it finds what is left. Vectors of two embedders are never compared, for the index holds
those of one. The previous embedder's vectors stay for a week after a change, so that going back
embeds nothing again. Exact hits know no embedder.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cacheserver.cache.semantic_index.entry_ids import EntryIds
from cacheserver.cache.store.embedder_state import EmbedderState, EmbedderStates, state_for
from cacheserver.cache.store.semantic import SemanticEntries, site_of
from cacheserver.cache.store.stored_vectors import FoundRow, with_vectors
from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.core.types import Entry
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import IndexingError, Unreadable
from cacheserver.index.models import Vectors
from cacheserver.matching.question_text import is_normal
from cacheserver.peers.work_lease import ALONE, Lease
from cacheserver.storage.connection import Connection, command

KEPT_S = 7 * 86_400  # previous vectors after a change: a week in which operators may go back
_PAGE = 100  # entries at a time: some 400 kB
_BUSY_S, _MOST_BUSY_S = 0.02, 1.0  # wait for requests: each look, and at most for one question
_FAILURES_IN_A_ROW = 20  # then it is the embedder that fails, not a text
_RETRY_S = 5.0  # after a failure of the store
_OTHERS_S = 60.0  # between looks at what another server has embedded: a look reads the ids of all
_AWAY_S = 30.0  # after one of the embedder, unless it answers before: a try may hold it a while
_BACK_S = 10.0  # from the first answer after a failure to a pass: a pass reads the ids of all
_LOOK_S = 600.0  # between looks at whether a week is over
_ROW_BYTES = 100  # of a row beside its vectors: ids and names
# Bytes on disk for each byte of a vector: the append-only file has the old row and the new one
# until it is rewritten, which writes both again; and the snapshot of the index.
_DISK = 4

log = logging.getLogger(__name__)


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...
    def embedder_left(self, questions: int) -> None: ...


@dataclass(slots=True)
class Progress:
    """Counts of a pass. `left` is exact at its end, and an estimate within."""

    left: int = 0
    embedded: int = 0
    unreadable: int = 0


class Reembedding:
    """Brings all stored questions to one embedder."""

    def __init__(
        self,
        semantic: SemanticEntries,
        states: EmbedderStates,
        batcher: Batcher,
        redis: Connection,
        *,
        embedder_id: str,
        dim: int,
        max_bytes: int | None,
        disk: Path | None,
        clock: Callable[[], float],
        counts: Counts,
        probe: Vectors | None = None,
        changed: Callable[[], str | None] = lambda: None,
        pause: float = 1.0,
        lease: Lease = ALONE,
    ) -> None:
        """`disk`: where the store's files are; None: on a server that somebody else runs.

        `probe`: as `Embedding` has it, and `changed`.

        `pause`: seconds of rest for each second of embedding, which leaves half to requests.

        `lease`: one server at a time embeds; the others index what it has embedded.
        """
        self.changed = changed
        self.progress = Progress()
        self.state: EmbedderState | None = None
        self._semantic = semantic
        self._entries = semantic.entries
        self._states = states
        self._batcher = batcher
        self._redis = redis
        self._id = embedder_id
        self._dim = dim
        self.max_bytes = max_bytes
        self._disk = disk
        self._clock = clock
        self._counts = counts
        self._probe = probe
        self._pause = pause
        self._lease = lease

    def as_json(self) -> dict[str, Any]:
        """Return the embedder and the progress of a change, as operators see it."""
        state = self.state
        return {
            "id": self._id,
            "dim": self._dim,
            "changing": self._semantic.changing,
            "lacking": self._semantic.lacking,
            "model_changed": self.changed(),
            "model_missing": self._semantic.missing,
            **asdict(self.progress),
            "previous": None if state is None else state.previous,
            "since": None if state is None else state.since,
            "finished": None if state is None else state.finished,
        }

    async def prepare(self) -> None:
        """Read the state; a change begins here, if there is room for it.

        Raises `SettingsError` naming the setting, before anything is written, and `StoreError`.
        """
        questions = await self._entries.vectors.count()
        stored = await self._states.read()
        state = state_for(self._id, stored, questions, self._clock())
        begins = stored != state and state.finished is None
        if begins and (stored is None or stored.previous != self._id):
            await self._check_room(questions)
        if self._probe is not None:
            await self._states.check_model(self._id, self._probe)
        if begins:
            log.warning(
                "the embedder changes from %s to %s: %d stored questions are embedded again",
                *(state.previous, self._id, questions),
            )
        if stored != state:
            await self._states.write(state)
        self.state = state
        self._semantic.changing = state.finished is None

    async def run(self) -> None:
        """Embed what is left, then delete old vectors in time.

        Ends only by cancellation; at once if there is no model.
        """
        await self._semantic.restored.wait()
        if self._semantic.missing:
            return
        while True:
            try:
                is_done = await self._round()
            except StoreError:
                self._counts.swallowed("re-embed")
                await asyncio.sleep(_RETRY_S)
                continue
            except IndexingError as error:
                log.warning("stored questions cannot be embedded yet: %s", type(error).__name__)
                await self._rest(_AWAY_S)
                continue
            except Exception as error:  # the task boundary: the next round goes on
                self._counts.swallowed("re-embed")
                log.warning("embedding stored questions again failed: %s", type(error).__name__)
                await asyncio.sleep(_RETRY_S)
                continue
            await self._rest(_LOOK_S if is_done else _OTHERS_S)

    async def _rest(self, most: float) -> None:
        """Wait, less if the embedder answers again after a failure."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most):
                await self._semantic.recovered.wait()
                await asyncio.sleep(_BACK_S)

    async def _round(self) -> bool:
        """Do what is due; False if another server is doing it, and only its work was followed."""
        state = self.state
        assert state is not None  # `prepare` ran
        self._semantic.recovered.clear()
        lacks = state.finished is None or self._semantic.lacking > 0
        if not lacks and not self._is_over(state):
            return True
        if not await self._lease.take():
            if lacks:
                await self.index_embedded()
            return False
        try:
            await self._work(state, lacks=lacks)
        finally:
            if not self._lease.held:
                self._counts.embedder_left(0)  # what is left is another server's
            await self._lease.give_back()
        return True

    def _is_over(self, state: EmbedderState) -> bool:
        """Return whether the previous embedder's vectors are to be deleted."""
        over = state.finished is not None and self._clock() - state.finished >= KEPT_S
        return over and state.previous is not None

    async def _work(self, state: EmbedderState, *, lacks: bool) -> None:
        if lacks:
            await self.embed_all()
            state = replace(state, finished=state.finished or self._clock())
            await self._finish(state)
        if self._is_over(state):
            stored = await self._states.read()
            if stored is None or stored.id != self._id:
                return  # another server went back: the old vectors are its own
            await self.drop_old()
            await self._finish(replace(state, previous=None))

    async def _finish(self, state: EmbedderState) -> None:
        """Record a step, unless another server uses another embedder by now."""
        stored = await self._states.read()
        if stored is None or stored.id == self._id:
            await self._states.write(state)
        self.state = state

    async def index_embedded(self) -> None:
        """Index what another server has embedded so far. Raises `StoreError`."""
        known = await EntryIds.read(self._semantic.index.pages())
        async for page in self._entries.vectors.pages(known.meet, size=_PAGE):
            for one in page:
                await self._wants(one)
            await asyncio.sleep(0)

    async def embed_all(self) -> None:
        """Embed each question that lacks this embedder's vector, until none is left.

        Raises `StoreError`, and `IndexingError` if the embedder fails.
        """
        failed = in_a_row = 0
        before = self._semantic.lacking
        known = await EntryIds.read(self._semantic.index.pages())
        stored = await self._entries.vectors.count()
        self.progress = Progress(left=max(0, stored - len(known)))
        async for page in self._entries.vectors.pages(known.meet, size=_PAGE):
            lacking = [one for one in page if await self._wants(one)]
            questions = await self._entries.vectors.questions(lacking)
            for found, entry in zip(lacking, questions, strict=True):
                if not self._lease.held:
                    raise StoreError("the lease of embedding stored questions has lapsed")
                if entry is None or entry.text is None or not is_normal(entry.text):
                    continue
                try:
                    await self._embed(found, entry, entry.text)
                    in_a_row = 0
                except IndexingError:  # one bad text must not stop the others
                    failed, in_a_row = failed + 1, in_a_row + 1
                    if in_a_row >= _FAILURES_IN_A_ROW:
                        raise
            self.progress.left = max(0, self.progress.left - len(page))
            self._counts.embedder_left(self.progress.left)
        self.progress.left = 0
        self._counts.embedder_left(0)
        self._semantic.changing = False
        # Others may have been stored meanwhile.
        self._semantic.lacking = max(0, self._semantic.lacking - before) + failed
        if self.progress.embedded or self.progress.unreadable:
            log.info(
                "stored questions embedded again: %d; the embedder cannot read %d",
                *(self.progress.embedded, self.progress.unreadable),
            )

    async def drop_old(self) -> None:
        """Delete the vectors of all other embedders."""
        async for page in self._entries.vectors.pages(size=_PAGE):
            for found in page:
                if found.row is not None and set(found.row.vectors) - {self._id}:
                    mine = {k: v for k, v in found.row.vectors.items() if k == self._id}
                    await self._entries.vectors.replace(found, replace(found.row, vectors=mine))
            await asyncio.sleep(0)

    async def _wants(self, found: FoundRow) -> bool:
        """Return True if it is to be embedded. A vector of another server's is indexed.

        What has no row is to be matched exactly only, or could not be read by the embedder before
        a change: then this one tries.
        """
        scope = "" if found.row is None else found.row.scope
        if await self._semantic.index.holds(found.id + found.fingerprint, scope):
            return False
        if found.row is None or self._id not in found.row.vectors:
            return found.row is not None or self._semantic.changing
        await self._semantic.index_row(found.row)
        return False

    async def _embed(self, found: FoundRow, entry: Entry, text: str) -> None:
        if entry.expires_at <= self._clock():
            return  # only stored to be served stale
        await self._wait_for_requests()
        began = time.monotonic()
        try:
            vector = (await self._batcher.embed(text)).astype(np.float16).tobytes()
        except Unreadable:
            vector = b""
        except IndexingError as error:
            self._counts.swallowed(site_of(error))
            raise
        row = with_vectors(entry, found.row, {self._id: vector})
        if self._semantic.changing:  # a third embedder's go
            kept = {k: v for k, v in row.vectors.items() if k in (self._id, self._previous)}
            row = replace(row, vectors=kept)
        if await self._entries.vectors.replace(found, row):
            if vector:
                await self._semantic.index_row(row)
                self.progress.embedded += 1
            else:
                self.progress.unreadable += 1
        await asyncio.sleep(self._pause * (time.monotonic() - began))

    @property
    def _previous(self) -> str | None:
        return None if self.state is None else self.state.previous

    async def _wait_for_requests(self) -> None:
        waited = 0.0
        while not self._batcher.idle and waited < _MOST_BUSY_S:
            await asyncio.sleep(_BUSY_S)
            waited += _BUSY_S

    async def _check_room(self, questions: int) -> None:
        """Raise `SettingsError` where the new vectors cannot fit.

        `CACHESERVER_MAX_BYTES` is no such place: answers of least worth are evicted for them.
        """
        need = questions * (2 * self._dim + _ROW_BYTES)
        if self.max_bytes is not None:
            left = max(0, self.max_bytes - await self._entries.used_bytes())
            if left < need:
                log.warning(
                    "vectors of the new embedder take %d bytes and `CACHESERVER_MAX_BYTES` leaves "
                    "%d: answers are evicted for them",
                    *(need, left),
                )
            need = min(need, left)
        change = f"changing the embedder adds {need:,} bytes of vectors to {questions:,} questions"
        memory = await command(self._redis, "INFO", "memory")
        limit = int(memory.get("maxmemory", 0))
        left = limit - int(memory.get("used_memory", 0))
        if limit and left < need and memory.get("maxmemory_policy") == "noeviction":
            raise SettingsError(
                f"`CACHESERVER_REDIS_URL`: {change}, and the server's `maxmemory` leaves "
                f"{max(0, left):,}; raise it, or keep `CACHESERVER_EMBEDDER` as it was"
            )
        if self._disk is None:
            return
        free = await asyncio.to_thread(_free_bytes, self._disk)
        if free < _DISK * need:
            raise SettingsError(
                f"`CACHESERVER_DATA_DIR`: {change}, which takes up to {_DISK * need:,} on disk, "
                f"and {free:,} are free; make room, or keep `CACHESERVER_EMBEDDER` as it was"
            )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
