"""Two indexes while questions are moved from one to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from cacheserver.cache.semantic_index.port import (
    AreStored,
    IndexKind,
    ScopeCounts,
    SemanticIndex,
)
from cacheserver.index.models import Vectors
from cacheserver.index.partition import Match


class Pair:
    """Searches the old index, and changes both: what is stored meanwhile is in the new one too."""

    def __init__(self, old: SemanticIndex, new: SemanticIndex) -> None:
        self.old = old
        self.new = new

    @property
    def kind(self) -> IndexKind:
        return self.old.kind

    @property
    def spare(self) -> int:
        return self.old.spare

    @property
    def lasts(self) -> bool:
        return self.old.lasts

    @property
    def follows(self) -> bool:
        return self.old.follows or self.new.follows

    @property
    def failing(self) -> bool:
        return self.old.failing or self.new.failing

    @property
    def scopes(self) -> ScopeCounts | None:
        return self.old.scopes or self.new.scopes

    def __len__(self) -> int:
        return len(self.old)

    async def open(self) -> None:
        await self.old.open()

    async def is_full(self) -> bool:
        return await self.old.is_full()

    async def version(self) -> str:
        return await self.old.version()

    async def set_full(self, version: str) -> None:
        await self.old.set_full(version)

    async def search(self, scope: str, vector: Vectors, k: int, now: float) -> list[Match]:
        return await self.old.search(scope, vector, k, now)

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        await self.old.add(id, scope, vector, expires_at)
        await self.new.add(id, scope, vector, expires_at)

    async def remove(self, id: str, scope: str) -> bool:
        removed = await self.old.remove(id, scope)
        return await self.new.remove(id, scope) or removed

    async def holds(self, id: str, scope: str) -> bool:
        return await self.old.holds(id, scope) and await self.new.holds(id, scope)

    async def pages(self) -> AsyncIterator[Sequence[str]]:
        for index in (self.old, self.new):
            async for page in index.pages():
                yield page

    async def next_page(self) -> list[tuple[str, str]]:
        return await self.old.next_page()

    async def discard_gone(self, are_stored: AreStored) -> int:
        gone = await self.old.discard_gone(are_stored)
        return max(gone, await self.new.discard_gone(are_stored))

    async def tend(self) -> None:
        await self.old.tend()
        await self.new.tend()

    async def save(self) -> None:
        await self.old.save()

    async def wipe(self) -> None:
        await self.old.wipe()
        await self.new.wipe()

    async def close(self) -> None:
        await self.old.close()
        await self.new.close()
