"""Move of the vectors to another index, while the server answers from the one it has.

The new index is filled from the stored vectors, not from the old index; what is stored meanwhile is
added to both. Then the new one is searched and the old one deleted. After a kill the next server
begins where the last one ended: a question that is in is not added again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cacheserver.cache.semantic_index.pair import Pair
from cacheserver.cache.semantic_index.port import IndexKind, SemanticIndex
from cacheserver.cache.store.index_upkeep.view import IndexView
from cacheserver.core.errors import SettingsError, StoreError

_RETRY_S = 5.0

log = logging.getLogger(__name__)


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...


@dataclass(slots=True)
class Progress:
    """Counts of a move; `problem` is why the last try failed."""

    moving_to: IndexKind | None = None
    done: int = 0
    total: int = 0
    problem: str | None = None


async def _to_nobody(kinds: Sequence[IndexKind]) -> None:
    pass


async def _by_nobody(kind: IndexKind) -> bool:
    return False


class IndexMove:
    """Brings the view to the index that is wanted."""

    def __init__(
        self,
        view: IndexView,
        make: Callable[[IndexKind], SemanticIndex],
        counts: Counts,
        *,
        has_leftovers: Callable[[IndexKind], Awaitable[bool]],
        says: Callable[[Sequence[IndexKind]], Awaitable[None]] = _to_nobody,
        is_used: Callable[[IndexKind], Awaitable[bool]] = _by_nobody,
    ) -> None:
        """`has_leftovers`: whether an index of that kind, not in use, may still have vectors.

        `says` tells the other servers which kinds this one searches or fills. `is_used`: whether
        another one does so with that kind.
        """
        self._says = says
        self._is_used = is_used
        self.progress = Progress()
        self.view = view
        self._make = make
        self._counts = counts
        self._has_leftovers = has_leftovers
        self._wanted: IndexKind = view.index.kind
        self._changed = asyncio.Event()

    def as_json(self) -> dict[str, Any]:
        """Return the index in use and the progress of a move, as operators see it."""
        index = self.view.index
        return {
            "kind": index.kind,
            "vectors": len(index),
            "failing": index.failing,
            "scopes": None if index.scopes is None else asdict(index.scopes),
            "incomplete": self.view.incomplete,
            **asdict(self.progress),
        }

    def want(self, kind: IndexKind) -> None:
        """Have `run` move to this kind of index."""
        self._wanted = kind
        self._changed.set()

    async def run(self) -> None:
        """Move whenever another index is wanted. Ends only by cancellation."""
        await self.view.restored.wait()
        is_clean = False
        while True:
            self._changed.clear()
            try:
                if self._wanted != self.view.index.kind:
                    is_clean = False
                    await self._move(self._wanted)
                    is_clean = True
                elif not is_clean:
                    await self._clean()
                    is_clean = True
                self.progress.problem = None
                await self._changed.wait()
            except Exception as error:  # the task boundary: the old index serves on
                said = isinstance(error, SettingsError | StoreError)
                self.progress.problem = str(error) if said else type(error).__name__
                self._counts.swallowed("index-move")
                log.warning("the index could not be moved yet: %s", self.progress.problem)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S):
                        await self._changed.wait()

    async def _move(self, to: IndexKind) -> None:
        view, old = self.view, self.view.index
        total = await view.entries.vectors.count()
        self.progress = Progress(to, 0, total, self.progress.problem)
        new = self._make(to)

        def seen(count: int) -> None:
            self.progress.done = min(total, self.progress.done + count)
            if self._wanted != to:
                raise StoreError("another index is wanted by now")

        try:
            await self._says([old.kind, to])
            await new.open()
            view.index = Pair(old, new)
            await view.agree(new, seen=seen)
            await new.save()
        except BaseException:
            view.index = old
            self.progress.moving_to = None
            await new.close()
            raise
        view.index = new
        log.info("the index is %s now, with %d questions", to, len(new))
        try:
            await self._says([to])  # before it asks for others: the last one to move sees none
            if not await self._is_shared(old):
                await old.wipe()
        finally:
            self.progress.moving_to = None
            await old.close()

    async def _clean(self) -> None:
        """Delete what a move that was never finished has left in the other index."""
        kind = self.view.index.kind
        other: IndexKind = "faiss" if kind == "vector-sets" else "vector-sets"
        await self._says([kind])
        if not await self._has_leftovers(other):
            return
        left = self._make(other)
        try:
            await left.open()
            if not await self._is_shared(left):
                await left.wipe()
        finally:
            await left.close()

    async def _is_shared(self, index: SemanticIndex) -> bool:
        """Return whether other servers use it; the last of them to move deletes it."""
        return not index.follows and await self._is_used(index.kind)
