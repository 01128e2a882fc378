"""Servers over one store whose indexes have a limit, and what their answers should be."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.semantic_index.scope_limit import IndexLimit, Loading
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.index_upkeep.scope_rows import ScopeRows
from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.core.types import Entry, Near
from cacheserver.index.batcher import Batcher
from cacheserver.index.models import Vectors
from cacheserver.storage.connection import Connection
from tests.cache.entries import entry
from tests.cache.queries import query
from tests.index.data import unit_rows

DIM = 16
EMBEDDER = "pool:1"
# Vectors of questions, by number: far enough apart that half precision cannot reorder them.
POOL = unit_rows(12, DIM, seed=11)


def text(number: int) -> str:
    return f"question {number}"


class Pool:
    """Embedder of the pool's questions."""

    id = EMBEDDER
    dim = DIM

    def embed(self, texts: Sequence[str]) -> Vectors:
        return POOL[[int(one.split()[-1]) for one in texts]]


@dataclass
class Counted:
    """Counts of what the index says."""

    loads: list[float] = field(default_factory=list)
    evictions: int = 0
    sites: list[str] = field(default_factory=list)

    def scope_loaded(self, seconds: float) -> None:
        self.loads.append(seconds)

    def scope_evicted(self) -> None:
        self.evictions += 1

    def swallowed(self, site: str) -> None:
        self.sites.append(site)


@dataclass
class Server:
    semantic: SemanticEntries
    index: FaissIndex
    limit: IndexLimit
    counted: Counted

    async def ask(self, scope: str, number: int, k: int = len(POOL) * 3) -> Near:
        asked = replace(query(), text=text(number), scope=scope)
        return await self.semantic.near(asked, k)

    async def found(self, scope: str, number: int, now: float) -> list[Entry]:
        """Ask until the scope is in memory; return what is found and has not expired."""
        while (near := await self.ask(scope, number)).skipped == "warming":
            pass
        assert near.skipped is None
        return [one.entry for one in near.candidates if one.entry.expires_at > now]

    async def settled(self) -> None:
        """Wait for evictions under way."""
        while self.index._scopes._evicting is not None:
            await self.index._scopes._evicting


@asynccontextmanager
async def serving(
    redis: Connection, prefix: str, folder: Path, clock: Any, limit: int | None
) -> AsyncIterator[Server]:
    """A server's stored questions, restored; saved at the end."""
    entries = Entries(redis, prefix=prefix, embedder=EMBEDDER, clock=clock)
    async with Batcher(Pool(), memo=0) as batcher:
        rows = ScopeRows(entries.vectors, embedder_id=EMBEDDER, dim=DIM, clock=clock)
        counted, bound = Counted(), IndexLimit(limit)
        index = FaissIndex(
            DIM,
            embedder_id=EMBEDDER,
            path=folder / "index.snapshot",
            clock=clock,
            loading=Loading(rows.read, bound, counted),
        )
        semantic = SemanticEntries(
            entries,
            batcher,
            index,
            behind=batcher,
            dim=DIM,
            embedder_id=EMBEDDER,
            clock=clock,
            counts=counted,
        )
        await semantic.restore()
        try:
            yield Server(semantic, index, bound, counted)
        finally:
            await semantic.save()
            await semantic.close()
            await entries.close()


def question(scope: str, number: int, now: float, *, lives_s: float = 100.0, **more: Any) -> Entry:
    """Return an entry for a question of the pool, with a fingerprint as long as a real one."""
    digest = hashlib.sha256(f"{scope} {number}".encode()).hexdigest()
    given = {"scope": scope, "text": text(number), "created_at": now, "expires_at": now + lives_s}
    return entry(digest, **(given | more))


@dataclass
class Oracle:
    """Brute force over what is stored, by fingerprint."""

    held: dict[str, tuple[Entry, int]] = field(default_factory=dict)

    def nearest(self, scope: str, number: int, now: float) -> list[Entry]:
        live = [
            (float(POOL[number] @ POOL[which]), one)
            for one, which in self.held.values()
            if one.scope == scope and one.expires_at > now
        ]
        return [one for _, one in sorted(live, key=lambda row: -row[0])]
