"""FAISS against vector sets: the same questions in some scopes (docs/vector-sets.md).

Vectors are drawn around centres, as questions of many subjects lie; what is asked is near a stored
one (cosine 0.92), as a paraphrase is. CPU of FAISS is this process's, of vector sets the server's.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from redis import Redis

from cacheserver.cache.semantic_index.faiss_index import FaissIndex
from cacheserver.cache.semantic_index.port import SemanticIndex
from cacheserver.cache.semantic_index.server import open_server
from cacheserver.cache.semantic_index.vector_sets import VectorSets
from cacheserver.index.memory import give_back
from scripts.benchmarks.processes.load import pinned
from scripts.benchmarks.rows import at_least, row
from scripts.benchmarks.run import Run
from tests.redis_clusters import redis8
from tests.redis_servers import serving

_DIM = 384
_ASKED = 300
_NEAR = 0.92  # cosine of a paraphrase
_SPREAD = 64  # dimensions in which questions of a subject differ
_AT_ONCE = 8
_PATIENCE_S = 60  # for a command of Redis: the machine may be busy with other work
_DRAWN = 10_000  # vectors drawn at a time
_FAR = 1e10

Rows = npt.NDArray[np.float32]
Cpu = Callable[[], float]  # seconds used so far


def measure(run: Run) -> list[dict[str, Any]]:
    return [
        *(
            one
            for count in run.vectors
            for scopes in run.scopes
            for one in asyncio.run(_compared(count, scopes, run))
        ),
        *_under_a_limit(),
    ]


def _under_a_limit() -> list[dict[str, Any]]:
    """Measure loads of scopes, and the memory of 200,000 questions in 5,000 scopes."""
    found = []
    for questions in (1_000, 20_000):
        took = _process("loads", questions)
        found += [
            row(f"load a scope of {questions:,} questions", took["load_s"] * 1e3, "ms"),
            row("  at most without a turn of the event loop", took["late_s"] * 1e3, "ms"),
        ]
    for limit in (0, 50_000_000):
        took = _process("memory", 5_000, 40, limit)
        name = f"limit of {limit / 1e6:.0f} MB" if limit else "no limit"
        found += [
            row(f"200,000 in 5,000 scopes, {name}: memory", took["resident"] / 1e6, "MB"),
            row("  as the index says", took["said"] / 1e6, "MB"),
            row("  scopes in memory", took["loaded"]),
            row("  reading the snapshot", took["open_s"], "s"),
        ]
    return found


def _process(*words: str | int) -> dict[str, float]:
    command = [sys.executable, "-m", "scripts.benchmarks.processes.scopes", *map(str, words)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(shown.stdout)
    return figures


async def _compared(count: int, scopes: int, run: Run) -> list[dict[str, Any]]:
    rows, found = _questions(count), list[dict[str, Any]]()
    what = f"{count:,} in {scopes:,} scopes"
    give_back()  # else the index takes memory that this process has already
    if "faiss" in run.indexes:
        faiss = FaissIndex(_DIM, embedder_id="bench", path=run.folder / "bench", clock=time.time)
        found += await _measured(
            f"FAISS, {what}", faiss, rows, scopes, time.process_time, _resident
        )
        del faiss
        gc.collect()
    if "vector-sets" in run.indexes:
        with pinned(), serving(redis8()) as url:  # Redis searches in threads beside its own
            found += await _in_vector_sets(url, f"vector sets, {what}", rows, scopes)
    return found


async def _in_vector_sets(url: str, what: str, rows: Rows, scopes: int) -> list[dict[str, Any]]:
    info = Redis(unix_socket_path=url.removeprefix("unix://"))

    def cpu() -> float:
        told: Any = info.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    def memory() -> float:
        told: Any = info.info("memory")
        return float(told["used_memory"])

    sets = VectorSets(
        open_server(url, timeout_s=_PATIENCE_S), prefix="b:", dim=_DIM, embedder_id="bench"
    )
    await sets.open()
    try:
        return await _measured(what, sets, rows, scopes, cpu, memory)
    finally:
        await sets.close()
        info.close()


async def _measured(
    what: str, index: SemanticIndex, rows: Rows, scopes: int, cpu: Cpu, memory: Cpu
) -> list[dict[str, Any]]:
    built = await _built(index, rows, scopes, cpu, memory)
    return [*await _searched(what, index, rows, scopes, cpu), *built]


async def _built(
    index: SemanticIndex, rows: Rows, scopes: int, cpu: Cpu, memory: Cpu
) -> list[dict[str, Any]]:
    memory_before, began, cpu_before = memory(), time.perf_counter(), cpu()

    async def add(number: int) -> None:
        await index.add(_name(number), f"scope{number % scopes}", rows[number], _FAR)

    await _all(add, range(len(rows)))
    await index.tend()
    took, used = time.perf_counter() - began, cpu() - cpu_before
    return [
        row("  memory a vector", (memory() - memory_before) / len(rows), "bytes"),
        row("  building", took, "s"),
        row("  CPU of building, a vector", used * 1e3 / len(rows), "ms"),
    ]


async def _searched(
    what: str, index: SemanticIndex, rows: Rows, scopes: int, cpu: Cpu
) -> list[dict[str, Any]]:
    """Measure searches of an index that holds `rows`, each in the scope of its number."""
    rng = np.random.default_rng(2)
    picked = rng.choice(len(rows), _ASKED, replace=False)
    asked = _near(rows[picked], rng)
    times, found = [], []
    cpu_before = cpu()
    for number, question in zip(picked.tolist(), asked, strict=True):
        began = time.perf_counter()
        found.append(await index.search(f"scope{number % scopes}", question, 5 + index.spare, 0.0))
        times.append((time.perf_counter() - began) * 1e3)
    used = (cpu() - cpu_before) * 1e3 / _ASKED
    hits, nearest = 0, nearest_rows(rows, scopes, picked, asked)
    for question, matches, true in zip(asked, found, nearest.tolist(), strict=True):
        # As the cache does: by the stored vectors, where the index's cosines are approximate.
        numbers = [int(match.id[:32], 16) for match in matches]
        hits += true == max(numbers, key=lambda one: float(_half(rows[one]) @ question), default=-1)
    times.sort()
    return [
        row(f"{what}: search p50", statistics.median(times), "ms"),
        row("  p99", times[int(0.99 * len(times))], "ms"),
        row("  CPU a search", used, "ms"),
        at_least("  recall@1 against brute force", hits / _ASKED, 0.99),
    ]


def nearest_rows(
    rows: Rows, scopes: int, picked: npt.NDArray[np.int64], asked: Rows
) -> npt.NDArray[np.int64]:
    """Return the number of the row nearest to each question, in the scope of the row `picked`."""
    nearest = np.empty(len(asked), np.int64)
    for scope in np.unique(picked % scopes):
        here = picked % scopes == scope
        best = np.full(np.count_nonzero(here), -np.inf, np.float32)
        found = np.empty(len(best), np.int64)
        for start in range(scope, len(rows), scopes * _DRAWN):
            cosines = _half(rows[start : start + scopes * _DRAWN : scopes]) @ asked[here].T
            at = cosines.argmax(axis=0)
            cosine = cosines[at, np.arange(len(best))]
            found = np.where(cosine > best, start + scopes * at, found)
            best = np.maximum(best, cosine)
        nearest[here] = found
    return nearest


async def _all(one: Callable[[int], Awaitable[None]], numbers: Sequence[int]) -> None:
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            await one(number)

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


def _questions(count: int) -> Rows:
    rows, end = np.empty((count, _DIM), np.float32), 0
    for some in drawn(count):
        rows[end : end + len(some)] = some
        end += len(some)
    return rows


def drawn(count: int) -> Iterator[Rows]:
    """Yield vectors of so many questions, some at a time."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((max(1, count // 50), _DIM)).astype(np.float32)
    axes = rng.standard_normal((_SPREAD, _DIM)).astype(np.float32)
    for start in range(0, count, _DRAWN):
        size = min(_DRAWN, count - start)
        own = rng.standard_normal((size, _SPREAD)).astype(np.float32) @ axes / np.sqrt(_SPREAD)
        yield _unit(centres[rng.integers(len(centres), size=size)] + own)


def _near(rows: Rows, rng: np.random.Generator) -> Rows:
    noise = rng.standard_normal(rows.shape).astype(np.float32)
    noise = _unit(noise - (noise * rows).sum(axis=1, keepdims=True) * rows)
    return _unit(_NEAR * rows + np.sqrt(1 - _NEAR**2) * noise)


def _unit(rows: Rows) -> Rows:
    unit: Rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _half(rows: Rows) -> Rows:
    return rows.astype(np.float16).astype(np.float32)


def _name(number: int) -> str:
    return f"{number:032x}{number:064x}"


def _resident() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * 4096)
