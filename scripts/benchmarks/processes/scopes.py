"""Scopes of the index that are not in memory: how long a load takes, what memory a limit saves.

`python -m scripts.benchmarks.processes.scopes loads QUESTIONS` (or `memory SCOPES EACH LIMIT`)
prints figures as JSON: memory is a process's, so each comparison has one of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.semantic_index.port import ScopeLoading
from cacheserver.cache.semantic_index.scope_limit import IndexLimit, Loading
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.index_upkeep.scope_rows import ScopeRows
from cacheserver.core.types import FIRST_EMBEDDER
from cacheserver.embedded.process import find_server
from cacheserver.index.models import Vectors
from cacheserver.storage.connection import Connection, connect
from tests.cache.entries import entry
from tests.redis_servers import serving

_DIM = 384
_FAR = 1e10
_AT_ONCE = 32
_TURNS = 5


class _Uncounted:
    def __init__(self) -> None:
        self.took: list[float] = []

    def scope_loaded(self, seconds: float) -> None:
        self.took.append(seconds)

    def scope_evicted(self) -> None:
        pass

    def swallowed(self, site: str) -> None:
        raise RuntimeError(site)


def _index(redis: Connection, folder: str, limit: int | None, counts: _Uncounted) -> FaissIndex:
    entries = Entries(redis)
    rows = ScopeRows(entries.vectors, embedder_id=FIRST_EMBEDDER, dim=_DIM, clock=time.time)
    return FaissIndex(
        _DIM,
        embedder_id=FIRST_EMBEDDER,
        path=Path(folder) / "index",
        clock=time.time,
        loading=Loading(rows.read, IndexLimit(limit), counts),
    )


def _rows(count: int) -> Vectors:
    drawn = np.random.default_rng(1).standard_normal((count, _DIM)).astype(np.float32)
    unit: Vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


async def _loads(url: str, folder: str, questions: int) -> dict[str, float]:
    """Return seconds: of a load, and the longest that it kept the event loop from a turn."""
    redis, counts = connect(url), _Uncounted()
    entries, vectors = Entries(redis), _rows(questions)
    index = _index(redis, folder, None, counts)
    numbers = iter(range(questions))

    async def fill() -> None:
        for number in numbers:
            one = entry(f"{number:064x}", scope="s")
            half = vectors[number].astype(np.float16).tobytes()
            await entries.put(one, keep_s=0, vector=half, asked_at=time.time())
            await index.add(one.id + one.fingerprint, "s", vectors[number], _FAR)

    await asyncio.gather(*(fill() for _ in range(_AT_ONCE)))
    await index.add("0" * 96, "other", vectors[0], _FAR)
    limit, late = index._loading.limit if index._loading else IndexLimit(), 0.0
    for _ in range(_TURNS):
        await index.search("other", vectors[0], 1, 0.0)  # so that the large one is evicted
        limit.bytes = 1
        index._scopes.evict()
        await _evicted(index)
        limit.bytes = None
        done = asyncio.create_task(_until_loaded(index, vectors[0]))
        while not done.done():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            late = max(late, time.perf_counter() - began - 0.001)
    await redis.aclose()
    return {"load_s": sorted(counts.took)[len(counts.took) // 2], "late_s": late}


async def _evicted(index: FaissIndex) -> None:
    while (task := index._scopes._evicting) is not None:
        await asyncio.wait({task})


async def _until_loaded(index: FaissIndex, vector: Vectors) -> None:
    while "s" in index._scopes.unloaded:
        try:
            await index.search("s", vector, 1, 0.0)
        except ScopeLoading:
            continue


async def _memory(folder: str, scopes: int, each: int, limit: int | None) -> dict[str, float]:
    """Return bytes: resident for the index, what it says itself, and scopes in memory."""
    index = _index(connect("redis://127.0.0.1:1"), folder, limit, _Uncounted())
    vectors = _rows(1_000)
    gc.collect()
    before = _resident()
    for number in range(scopes * each):
        name = f"{number:032x}{number:064x}"
        await index.add(name, f"scope{number // each:060}", vectors[number % 1_000], _FAR)
        if number % 500 == 0:
            await asyncio.sleep(0)
    await _evicted(index)
    await index.tend()
    gc.collect()
    found, resident = index.scopes, _resident() - before
    await index.save()
    began = time.perf_counter()
    await index.open()
    return {
        "resident": resident,
        "said": found.bytes,
        "loaded": found.loaded,
        "known": found.known,
        "open_s": time.perf_counter() - began,
    }


def _resident() -> float:
    return float(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)


def main(words: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if words[0] == "loads":
            with serving(find_server()) as url:
                found = asyncio.run(_loads(url, folder, int(words[1])))
        else:
            scopes, each, limit = (int(word) for word in words[1:])
            found = asyncio.run(_memory(folder, scopes, each, limit or None))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
