"""Training of large scopes while a server stops."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from tests.hostile.raw import until
from tests.index.data import unit_rows

DIM, COUNT = 96, 60_000


async def test_a_server_that_stops_gives_a_training_up_and_saves(tmp_path: Path) -> None:
    def opened() -> FaissIndex:
        return FaissIndex(DIM, embedder_id="m", path=tmp_path / "index", clock=lambda: 0.0)

    index, rows = opened(), unit_rows(COUNT, DIM)
    index.vectors.extend("s", [str(n) for n in range(COUNT)], rows, np.full(COUNT, 1e9))
    await index.add("last", "s", rows[0], 1e9)
    tending = asyncio.create_task(index.tend())
    await until(index.vectors._long_job.locked)
    tending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tending
    await index.save()
    assert index.vectors.pending() == ["s"]
    again = opened()
    await again.open()
    assert len(again) == COUNT + 1
    await again.tend()
    assert again.vectors.pending() == []
