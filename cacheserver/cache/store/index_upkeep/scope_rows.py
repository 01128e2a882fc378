"""Stored questions of one scope, read from the store as the index takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np

from cacheserver.cache.semantic_index.scope_limit import Rows
from cacheserver.cache.store.codec import VectorRow
from cacheserver.cache.store.stored_vectors import StoredVectors

_PAGE = 500  # rows read by one round trip: half a megabyte


class ScopeRows:
    """Reader of scopes, for an index over one embedder's vectors."""

    def __init__(
        self,
        vectors: StoredVectors,
        *,
        embedder_id: str,
        dim: int,
        clock: Callable[[], float],
    ) -> None:
        self._vectors = vectors
        self._embedder_id = embedder_id
        self._dim = dim
        self._clock = clock

    async def read(self, scope: str, names: Sequence[str]) -> AsyncIterator[Rows]:
        """Yield what the store has of these names, some at a time, in their order.

        What has expired is left out, as what is gone, of another scope, or without a vector of the
        embedder. Under a name that was replaced its successor comes, perhaps under its own as well.
        Raises `StoreError`.
        """
        for start in range(0, len(names), _PAGE):
            page = dict.fromkeys(name[32:] for name in names[start : start + _PAGE])
            found = await self._vectors.of(list(page))
            rows = await asyncio.to_thread(self._rows, scope, found)
            if rows.ids:
                yield rows

    def _rows(self, scope: str, found: Sequence[VectorRow | None]) -> Rows:
        now, size = self._clock(), 2 * self._dim
        live = [
            row
            for row in found
            if row is not None
            and row.scope == scope
            and row.expires_at > now
            and len(row.vectors.get(self._embedder_id, b"")) == size
        ]
        packed = b"".join(row.vectors[self._embedder_id] for row in live)
        vectors = np.frombuffer(packed, np.float16).reshape(-1, self._dim).astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1)
        whole = np.isfinite(lengths) & (lengths > 0)  # one damaged row must not hide the others
        vectors = vectors[whole] / lengths[whole, None]
        live = [row for row, is_whole in zip(live, whole.tolist(), strict=True) if is_whole]
        return Rows(
            [row.entry_id + row.fingerprint for row in live],
            vectors,
            np.array([row.expires_at for row in live], np.float64),
        )
