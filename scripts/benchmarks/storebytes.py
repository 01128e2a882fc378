"""The bytes that a request leaves in the store, and a row of the ledger in its file."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import zstandard

from cacheserver.api.components import Components
from cacheserver.config.settings import Settings
from cacheserver.in_process import Cache, open_cache
from cacheserver.ledger import files, row_codec
from cacheserver.storage.connection import Connection
from scripts.benchmarks.rows import row
from scripts.benchmarks.run import Run

_REQUESTS = 2_000
_LEVELS = (3, 9, 19)
_FRAME_ROWS = 5_000


def measure(_run: Run) -> list[dict[str, Any]]:
    """Misses, exact and semantic hits with a real store; the rows packed at a few levels."""
    return asyncio.run(_measure())


async def _measure() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=Path(folder),
            model_dir=Path("var/model"),
            upstream="simulated",
            similarity=0.9,
            max_decision_bytes=None,
            max_ledger_bytes=None,
        )
        async with open_cache(settings, environ={}) as cache:
            parts = cache._opened.parts
            await cache.ready()
            for kind, text in (
                ("miss", "How do I return item {n} that I bought last week in your shop?"),
                ("exact", "How do I return item 1 that I bought last week in your shop?"),
                ("semantic", "How can I return item {n} that I bought last week in your shop?"),
            ):
                found += await _requests(parts, cache, kind, text)
            found += await _rows(parts)
    return found


async def _requests(parts: Components, cache: Cache, kind: str, text: str) -> list[dict[str, Any]]:
    redis = parts.ledger.redis
    before, sizes = await _used(parts, redis), await parts.sizes.read()
    kinds: dict[str, int] = {}
    for n in range(_REQUESTS):
        answer = await cache.query(text.format(n=n))
        kinds[answer.decision.kind] = kinds.get(answer.decision.kind, 0) + 1
    taken = await _used(parts, redis) - before
    rows = [row(f"{kind} ({kinds}), the store's memory", taken / _REQUESTS, "B")]
    for name, size in (await parts.sizes.read()).items():
        if size > sizes[name]:
            rows.append(row(f"  counted as {name}", (size - sizes[name]) / _REQUESTS, "B"))
    return rows


async def _used(parts: Components, redis: Connection) -> int:
    await parts.ledger.flush()
    await parts.decision_log.flush()
    return int((await redis.info("memory"))["used_memory"])


async def _rows(parts: Components) -> list[dict[str, Any]]:
    rows = [
        row_codec.flat(one)
        async for _, minute in parts.ledger_export.minutes(0, time.time() + 60)
        for one in minute
    ][:_FRAME_ROWS]
    lines = b"".join(files.json_lines(rows))
    found = [row("row of the ledger as a line of JSON", len(lines) / len(rows), "B")]
    for level in _LEVELS:
        began = time.process_time()
        packed = zstandard.ZstdCompressor(level=level).compress(lines)
        spent = time.process_time() - began
        found.append(row(f"  packed, level {level}", len(packed) / len(rows), "B"))
        found.append(row("    time", spent / len(rows) * 1e6, "us"))
    return found
