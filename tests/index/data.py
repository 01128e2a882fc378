"""Vectors for the tests."""

from __future__ import annotations

import numpy as np

from cacheserver.index.models import Vectors
from cacheserver.index.names import unpacked
from cacheserver.index.vectors import VectorIndex


def unit_rows(count: int, dim: int, *, seed: int = 0) -> Vectors:
    """Return `count` random unit vectors."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return normal(rows)


def normal(rows: Vectors) -> Vectors:
    """Return the rows at length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def near(rows: Vectors, cosine: float, *, seed: int = 1) -> Vectors:
    """Return one neighbour of each row at about that cosine."""
    noise = unit_rows(len(rows), rows.shape[1], seed=seed)
    return normal(rows + noise * float(np.tan(np.arccos(cosine))))


def ids_in(index: VectorIndex) -> list[str]:
    """Return the ids that are in, in the order in which they were added."""
    return [unpacked(name) for name in index.names()]
