"""Nearest neighbours as a server finds them: through FAISS, or through vector sets of Redis 8."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.semantic_index.port import SemanticIndex
from cacheserver.cache.semantic_index.server import open_server
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.matching.cosine_scale import CosineScale
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.vectors import Vectors
from tests.redis_clusters import redis8
from tests.redis_servers import serving

IndexName: TypeAlias = Literal["all", "faiss", "vector-sets"]
NAMES: tuple[IndexName, ...] = get_args(IndexName)  # `all`: every stored row is compared

Make: TypeAlias = Callable[[Vectors, CosineScale], StoredVectors]

_DIM = 384
_FAR = 1e10  # Unix seconds: nothing expires


class ServedVectors(StoredVectors):
    """Stored rows, found through an index and put in order by their own cosines."""

    def __init__(
        self,
        vectors: Vectors,
        scale: CosineScale,
        *,
        index: SemanticIndex,
        scope: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(vectors, scale)
        self._index = index
        self._scope = scope
        self._loop = loop
        self._half = vectors.astype(np.float16).astype(np.float32)  # as the store keeps them

    def add(self, at: int) -> None:
        super().add(at)
        if self._half[at].any():  # what is not read has no vector, and is in no index
            adding = self._index.add(_name(at), self._scope, self._vectors[at], _FAR)
            self._loop.run_until_complete(adding)

    def nearest(self, at: int, top: int) -> list[tuple[int, float]]:
        if not self._half[at].any():
            return []
        query, k = self._vectors[at], top + self._index.spare
        found = self._loop.run_until_complete(self._index.search(self._scope, query, k, 0.0))
        rows = [int(match.id[:32], 16) for match in found]
        cosines = [float(self._half[row] @ query) for row in rows]
        ranked = sorted(zip(cosines, rows, strict=True), key=lambda one: (-one[0], one[1]))
        return [(row, self._scale(cosine)) for cosine, row in ranked[:top]]


@contextmanager
def opened(name: IndexName) -> Iterator[Make]:
    """Yield what makes the stored vectors of one replay."""
    if name == "all":
        yield StoredVectors
        return
    loop = asyncio.new_event_loop()
    try:
        if name == "faiss":

            def alone(vectors: Vectors, scale: CosineScale) -> StoredVectors:
                index = FaissIndex(_DIM, embedder_id="evaluate", path=Path(), clock=time.time)
                return ServedVectors(vectors, scale, index=index, scope="scope", loop=loop)

            yield alone
            return
        with serving(redis8()) as url:
            server, scopes = open_server(url), count()
            sets = VectorSets(server, prefix="e:", dim=_DIM, embedder_id="evaluate")
            loop.run_until_complete(sets.open())

            def shared(vectors: Vectors, scale: CosineScale) -> StoredVectors:
                scope = f"scope{next(scopes)}"
                return ServedVectors(vectors, scale, index=sets, scope=scope, loop=loop)

            yield shared
            loop.run_until_complete(sets.close())
    finally:
        loop.close()


def _name(at: int) -> str:
    return f"{at:032x}{at:064x}"
