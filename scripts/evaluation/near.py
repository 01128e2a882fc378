"""Exhaustive nearest-neighbour search over the vectors that a replay has stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cacheserver.matching.cosine_scale import CosineScale
from scripts.evaluation.vectors import Vectors


class StoredVectors:
    """Rows of a stream's vectors, in the order they were stored."""

    def __init__(self, vectors: Vectors, scale: CosineScale | None = None) -> None:
        self._vectors = vectors
        self._scale = scale or CosineScale()
        self._rows = np.empty_like(vectors)
        self.ids: list[int] = []

    def add(self, at: int) -> None:
        self._rows[len(self.ids)] = self._vectors[at]
        self.ids.append(at)

    def nearest(self, at: int, top: int) -> list[tuple[int, float]]:
        """(row, cosine on the scale) of the `top` nearest to row `at`, the nearest first."""
        if not self.ids:
            return []
        near: NDArray[np.float32] = self._rows[: len(self.ids)] @ self._vectors[at]
        if top == 1:
            best = int(near.argmax())
            return [(self.ids[best], self._scale(float(near[best])))]
        top = min(top, len(self.ids))
        rows = np.argpartition(-near, top - 1)[:top]
        rows = rows[np.argsort(-near[rows], kind="stable")]
        return [(self.ids[row], self._scale(float(near[row]))) for row in rows]
