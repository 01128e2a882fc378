"""Scopes of an index in this process that are in memory: loaded when asked, evicted by recency.

Rules: of a scope that is not in memory the names of its questions are, so nothing stored meanwhile
is missed. Its vectors are read from the store, which is the truth: what was removed, replaced or
given another deadline meanwhile comes as it is now. While a scope moves, in or out, changes to it
wait; they are made in their order once it has moved.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cacheserver.cache.semantic_index.port import ScopeCounts, ScopeLoading
from cacheserver.cache.semantic_index.unloaded import PAGE, Unloaded, pack_all, pages_of
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.index.errors import BadVector
from cacheserver.index.models import Vectors
from cacheserver.index.names import Name, packed, unpacked
from cacheserver.index.vectors import VectorIndex

_AT_ONCE = 4  # loads: each reads half a megabyte at a time from the store
# How long a search waits for a scope: what a load of 10,000 questions takes, and a twentieth of
# the shortest call to Claude. `scripts/bench index` prints the times.
WAIT_S: Final = 0.25


@dataclass(slots=True)
class IndexLimit:
    """The limit of the vectors in memory, in bytes; None: no limit. It may change."""

    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Stored questions of a scope: as many ids and deadlines as unit vectors."""

    ids: Sequence[str]
    vectors: Vectors
    expires_at: npt.NDArray[np.float64]


# Reads the questions with these names in a scope from the store, those that are still there, in the
# order of the names. Raises `StoreError`.
Read: TypeAlias = Callable[[str, Sequence[str]], AsyncIterator[Rows]]


class Counts(Protocol):
    def scope_loaded(self, seconds: float) -> None: ...
    def scope_evicted(self) -> None: ...
    def swallowed(self, site: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Loading:
    """The reader of scopes that are loaded, and how much of them is kept."""

    read: Read
    limit: IndexLimit
    counts: Counts


@dataclass(slots=True)
class _Move:
    """A scope on its way into memory or out of it."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    late: list[Callable[[], object]] = field(default_factory=list)  # changes to it meanwhile
    added: set[str] = field(default_factory=set)  # names among them
    problem: StoreError | None = None


class ScopeLimit:
    """Scopes in memory (`vectors`) and those that are not (`unloaded`); one is never in both.

    All methods are called on the event loop; what takes long runs in threads.
    """

    def __init__(self, vectors: VectorIndex, loading: Loading | None) -> None:
        """`loading` None: all scopes stay in memory."""
        self.vectors = vectors
        self.unloaded = Unloaded()
        self.evictions = 0
        self._loading = loading
        self._moves: dict[str, _Move] = {}
        self._loads: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._evicting: asyncio.Task[None] | None = None

    @property
    def limit_bytes(self) -> int | None:
        return None if self._loading is None else self._loading.limit.bytes

    def counts(self) -> ScopeCounts:
        loaded = self.vectors.scope_count
        known = loaded + self.unloaded.scope_count
        untrained = len(self.vectors.pending())
        return ScopeCounts(loaded, known, self.vectors.bytes, self.limit_bytes, untrained)

    async def close(self) -> None:
        """Stop what is under way. Nothing is lost: names stay, or vectors."""
        for task in [*self._loads, *filter(None, [self._evicting])]:
            await end(task)
        self._evicting = None
        for scope, move in list(self._moves.items()):  # of tasks that had not begun
            move.problem = StoreError("the index is being closed")
            with self._moving(scope, move):
                pass

    async def load(self, scope: str) -> None:
        """Return once a scope is in memory.

        Raises `ScopeLoading` if that takes longer than `WAIT_S`: it goes on; and `StoreError`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while scope in self.unloaded:
                    move = self._moves.get(scope) or self._begin(scope)
                    await move.ended.wait()
                    if move.problem is not None:
                        raise move.problem
                return
        raise ScopeLoading(scope)

    def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        """Add a vector, to a scope in memory or not. Raises `BadVector`."""
        if (move := self._moves.get(scope)) is not None:
            move.late.append(partial(self.add, id, scope, vector, expires_at))
            move.added.add(id)
        elif scope in self.unloaded:
            self.unloaded.add(scope, id)
        else:
            self.vectors.add(id, scope, vector, expires_at)
            self.evict()

    def remove(self, id: str, scope: str) -> bool:
        """Remove a vector; return whether it was in."""
        if (move := self._moves.get(scope)) is not None:
            move.late.append(partial(self.remove, id, scope))
        removed = self.unloaded.remove(scope, id)
        self._tidy(scope)
        return self.vectors.remove(id) or removed

    def holds(self, id: str, scope: str) -> bool:
        return id in self.vectors or self.unloaded.holds(scope, id)

    async def discard(self, names: Collection[str]) -> int:
        """Remove these names from the scopes that are not in memory; return how many were in."""
        wanted, gone = frozenset(names), 0
        moves = list(self._moves.items())
        for scope, move in moves:
            move.late.append(partial(self._discard_anywhere, scope, wanted))
        for scope in self.unloaded.scopes():
            gone += self._discard(scope, wanted)
            await asyncio.sleep(0)
        for _, move in moves:  # what they have read may be among it
            await move.ended.wait()
        return gone

    def pages(self) -> Iterator[list[str]]:
        """Return all names of now, of scopes in memory and not, some at a time; some twice."""
        added = [packed(name) for move in self._moves.values() for name in move.added]
        return _paged([*added, *self.vectors.names()], b"".join(self.unloaded.copy().values()))

    def evict(self) -> None:
        """Begin to evict the scopes that were asked the longest ago, if the limit is exceeded."""
        if self._evicting is None and self._is_over():
            self._evicting = asyncio.create_task(self._evict_some(), name="index:evict")

    def _is_over(self) -> bool:
        """Return whether to evict. One scope stays, however large: else it would never serve."""
        limit = self.limit_bytes
        return limit is not None and self.vectors.bytes > limit and self.vectors.scope_count > 1

    def _begin(self, scope: str) -> _Move:
        move = _Move()
        task = asyncio.create_task(self._load(scope, move), name="index:load")
        self._moves[scope] = move
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        return move

    async def _load(self, scope: str, move: _Move) -> None:
        assert self._loading is not None  # else nothing was evicted
        counts = self._loading.counts
        began, found = time.monotonic(), VectorIndex(self.vectors.dim)
        with self._moving(scope, move):
            try:
                async with self._room:
                    names = await asyncio.to_thread(self.unloaded.names_of, scope)
                    async for rows in self._loading.read(scope, names):
                        await asyncio.to_thread(
                            found.extend, scope, rows.ids, rows.vectors, rows.expires_at
                        )
            except asyncio.CancelledError:
                move.problem = StoreError("the index is being closed")
                raise
            except Exception as error:  # the task boundary: those who wait are told
                said = error if isinstance(error, StoreError) else type(error).__name__
                move.problem = StoreError(f"a scope could not be loaded: {said}")
                counts.swallowed("scope-load")
                return
            self.unloaded.pop(scope)
            self.vectors.adopt(found)
            counts.scope_loaded(time.monotonic() - began)
        self.evict()

    async def _evict_some(self) -> None:
        try:
            while self._is_over() and (scope := self.vectors.coldest()) is not None:
                with self._moving(scope, _Move()):
                    await self._evict(scope)
        finally:
            self._evicting = None

    async def _evict(self, scope: str) -> None:
        self.unloaded.put(scope, b"")  # from here on it is asked for as one that is not in memory
        try:
            names = await asyncio.to_thread(lambda: pack_all(self.vectors.ids_of(scope)))
        except BaseException:
            self.unloaded.pop(scope)
            raise
        self.unloaded.put(scope, names)
        partition = self.vectors.detach(scope)
        self.evictions += 1
        if self._loading is not None:
            self._loading.counts.scope_evicted()
        if partition is not None:
            await asyncio.to_thread(self.vectors.forget, partition)

    @contextlib.contextmanager
    def _moving(self, scope: str, move: _Move) -> Iterator[None]:
        """Have changes to a scope wait within; they are made on the way out."""
        self._moves[scope] = move
        try:
            yield
        finally:
            del self._moves[scope]
            for change in move.late:
                try:
                    change()
                except BadVector:  # its caller has gone
                    if self._loading is not None:
                        self._loading.counts.swallowed("index")
            move.ended.set()

    def _discard(self, scope: str, names: frozenset[str]) -> int:
        gone = self.unloaded.discard(scope, names)
        self._tidy(scope)
        return gone

    def _discard_anywhere(self, scope: str, names: frozenset[str]) -> None:
        for name in names:
            self.vectors.remove(name)
        self._discard(scope, names)

    def _tidy(self, scope: str) -> None:
        """Forget a scope without names; one that moves is looked at once it has moved."""
        if scope not in self._moves:
            self.unloaded.forget_empty(scope)


def _paged(names: Sequence[Name], more: bytes) -> Iterator[list[str]]:
    for start in range(0, len(names), PAGE):
        yield list(map(unpacked, names[start : start + PAGE]))
    yield from pages_of(more)
