"""Deterministic embedders for tests, and a process that embeds a store's questions again.

`python -m tests.cache.store.embedders URL PREFIX FOLDER` runs a change to `NEW` until it is killed,
and prints a line for each question that it has embedded.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.store.embedder_state import EmbedderStates
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.reembedding import Reembedding
from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import EmbedderFailed, TooLong
from cacheserver.index.models import Vectors
from cacheserver.storage.connection import Connection, connect

OLD, NEW = "old:1", "new:2"
UNREADABLE = "unreadable"


@dataclass
class Digests:
    """Unit vectors from a digest of id and text. Text with `UNREADABLE` is not read by `NEW`."""

    id: str
    dim: int = 16
    pause_s: float = 0.0
    away: bool = False
    texts: list[str] = field(default_factory=list)  # embedded so far

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self.away:
            raise EmbedderFailed("away")
        rows = np.empty((len(texts), self.dim), np.float32)
        for at, text in enumerate(texts):
            if self.id == NEW and UNREADABLE in text:
                raise TooLong("not read")
            digest = hashlib.shake_256(f"{self.id} {text}".encode()).digest(self.dim)
            rows[at] = np.frombuffer(digest, np.uint8).astype(np.float32) - 127.5
            rows[at] /= np.linalg.norm(rows[at])
            self.texts.append(text)
            if self.pause_s:
                sys.stdout.write(f"{text}\n")
                sys.stdout.flush()
                time.sleep(self.pause_s)
        return rows


@dataclass
class Counts:
    left: list[int] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)

    def swallowed(self, site: str) -> None:
        self.sites.append(site)

    def embedder_left(self, questions: int) -> None:
        self.left.append(questions)


@dataclass
class Server:
    """State of a server over a store's questions."""

    embedder: Digests
    semantic: SemanticEntries
    work: Reembedding
    counts: Counts

    async def finish(self) -> None:
        """Do what `Reembedding.run` does until the store has this embedder's vectors."""
        await self.work._round()


@asynccontextmanager
async def serving(
    redis: Connection,
    prefix: str,
    folder: Path,
    embedder: Digests,
    *,
    max_bytes: int | None = None,
    ahead_s: float = 0.0,
    is_local: bool = True,
) -> AsyncIterator[Server]:
    """A server's stored questions with `embedder`, restored, and no background work yet."""

    def clock() -> float:
        return time.time() + ahead_s

    counts = Counts()
    entries = Entries(redis, prefix=prefix, embedder=embedder.id, max_bytes=max_bytes, clock=clock)
    async with Batcher(embedder, memo=0) as batcher:
        semantic = SemanticEntries(
            entries,
            batcher,
            FaissIndex(
                embedder.dim,
                embedder_id=embedder.id,
                path=folder / "index.snapshot",
                clock=clock,
            ),
            behind=batcher,
            dim=embedder.dim,
            embedder_id=embedder.id,
            clock=clock,
            counts=counts,
        )
        work = Reembedding(
            semantic,
            EmbedderStates(redis, prefix=prefix),
            batcher,
            redis,
            embedder_id=embedder.id,
            dim=embedder.dim,
            max_bytes=max_bytes,
            disk=folder if is_local else None,
            clock=clock,
            counts=counts,
            pause=0.0,
        )
        await work.prepare()
        await semantic.restore()
        try:
            yield Server(embedder, semantic, work, counts)
        finally:
            await entries.close()
            await semantic.save()


async def _main(url: str, prefix: str, folder: Path) -> None:
    redis = connect(url)
    async with serving(redis, prefix, folder, Digests(NEW, pause_s=0.01)) as server:
        await server.finish()
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
