"""Cosines and scales that a prior is fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cacheserver.index.errors import Unknown
from cacheserver.index.models import Vectors
from scripts.pairs.priors import Cosines


class Letters:
    """An embedder that counts letters, and cannot read digits."""

    id, dim = "letters", 26

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        if any(char.isdigit() for text in texts for char in text):
            raise Unknown("digits")
        self.seen += texts
        rows = np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], float)
        unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


def test_each_text_is_embedded_once_and_what_cannot_be_read_resembles_nothing() -> None:
    embedder = Letters()
    cosines = Cosines(embedder)
    pairs = [("abc", "cab"), ("abc", "xyz"), ("abc", "abc 1")]
    assert cosines(pairs) == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
    assert cosines([("cab", "xyz")]) == pytest.approx([0.0], abs=1e-6)
    assert sorted(embedder.seen) == ["abc", "cab", "xyz"]
