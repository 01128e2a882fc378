"""Indexes of both kinds for tests, over real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.semantic_index.port import SemanticIndex
from cacheserver.cache.semantic_index.server import IndexServer, open_server
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from tests.redis_clusters import redis8
from tests.redis_servers import serving

DIM = 24
EMBEDDER = "an embedder"


class Clock:
    """Time that a test moves by hand."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def one_redis8() -> Iterator[str]:
    """Yield the URL of a single Redis 8."""
    with serving(redis8()) as url:
        yield url


def sets(
    at: str | IndexServer,
    prefix: str,
    clock: Clock,
    *,
    dim: int = DIM,
    most: int = 10_000,
    embedder: str = EMBEDDER,
) -> VectorSets:
    return VectorSets(
        open_server(at) if isinstance(at, str) else at,
        prefix=prefix,
        dim=dim,
        embedder_id=embedder,
        clock=clock,
        most=most,
        monotonic=clock,
    )


@asynccontextmanager
async def opened(
    kind: str, url: str, prefix: str, folder: Path, clock: Clock, *, dim: int = DIM
) -> AsyncIterator[SemanticIndex]:
    """Yield an open index: `faiss`, `vector-sets`, or `split`: three vectors in a set."""
    index: SemanticIndex
    if kind == "faiss":
        path = folder / "index.snapshot"
        index = FaissIndex(dim, embedder_id=EMBEDDER, path=path, clock=clock)
    else:
        index = sets(url, prefix, clock, dim=dim, most=3 if kind == "split" else 10_000)
    await index.open()
    try:
        yield index
    finally:
        await index.close()


def name(number: int) -> str:
    """Return an id as entries have them: in the order of times."""
    return f"{number:032x}{number:064x}"
