"""The evaluation finds neighbours through the indexes that servers have."""

from __future__ import annotations

import numpy as np
import pytest

from cacheserver.matching.cosine_scale import CosineScale
from scripts.evaluation import served
from scripts.evaluation.near import StoredVectors
from scripts.evaluation.served import IndexName


@pytest.mark.parametrize("name", ["faiss", "vector-sets"])
def test_an_index_finds_what_comparing_all_rows_finds(name: IndexName) -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((120, 384)).astype(np.float32)
    rows[60:] = rows[:60] + 0.3 * rng.standard_normal((60, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[119] = 0  # a text that is not read
    everything = StoredVectors(rows, CosineScale())
    with served.opened(name) as make:
        replays = [make(rows, CosineScale()) for _ in range(2)]  # each its own
        for at in range(60):
            everything.add(at)
            replays[0].add(at)
        for at in range(60, 119):
            found = replays[0].nearest(at, 5)
            assert found[0][0] == everything.nearest(at, 5)[0][0]
            assert [one for _, one in found] == sorted((one for _, one in found), reverse=True)
            assert replays[1].nearest(at, 5) == []
        replays[0].add(119)
        assert replays[0].nearest(119, 5) == []
