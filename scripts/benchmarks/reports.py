"""Time of a report over a month of many tenants."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cacheserver.core.ledger_row import Row
from cacheserver.core.types import Usage
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.ledger.reports import Cell, LedgerReports
from cacheserver.ledger.time_range import split_range
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import connect
from scripts.benchmarks.processes.load import temporary_folder
from scripts.benchmarks.processes.server import MODEL
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run

_TENANTS, _DAYS = 100, 30
_DAY_S = 86_400


def measure(_run: Run) -> list[dict[str, Any]]:
    with temporary_folder() as folder:
        cold, warm = asyncio.run(_queries(folder))
    what = f"{_DAYS} days of {_TENANTS} tenants by the day"
    return [
        row(f"{what}: first query", cold, "ms"),
        *(at_most(f"{what}: by {by}, p50", took, 50, "ms") for by, took in warm.items()),
    ]


async def _queries(folder: Path) -> tuple[float, dict[str, float]]:
    store = EmbeddedStore(folder)
    redis = connect(await store.start())
    ledger = Ledger(redis, limit=10**6)
    try:
        today = int(time.time() // _DAY_S)
        models = (MODEL, "claude-sonnet-5-5", "claude-opus-5-5")
        for tenant in range(_TENANTS):
            for day in range(_DAYS):
                for model in models:
                    for kind in ("miss", "exact", "semantic"):
                        at = (today - day) * _DAY_S + 40_000.0
                        ledger.append(made_row(f"tenant-{tenant}", at, model, kind))
        await ledger.flush()
        sums = LedgerReports(redis)
        start, end = (today - _DAYS + 1) * _DAY_S, (today + 1) * _DAY_S
        found = await sums.tenants(start, end)
        took: dict[str, list[float]] = {}
        for _ in range(10):
            for by in ("tenant", "model", "at"):
                began = time.perf_counter()

                def group(cell: Cell, by: str = by) -> Any:
                    return cell.model, getattr(cell, by, None)

                days = list(split_range(start, end))
                groups: Mapping[Any, Mapping[str, int]] = (
                    await sums.over_time(found, days, group, _DAY_S)
                    if by == "at"
                    else await sums.read(found, days, group)
                )
                took.setdefault(by, []).append((time.perf_counter() - began) * 1e3)
                total = sum(each["requests"] for each in groups.values())
                assert total == _TENANTS * _DAYS * len(models) * 3
        names = {"tenant": "tenant", "model": "model", "at": "day"}
        return took["tenant"][0], {names[by]: statistics.median(t) for by, t in took.items()}
    finally:
        await ledger.close()
        await redis.aclose()
        await store.stop()


def made_row(tenant: str, at: float, model: str, kind: str) -> Row:
    """Return a row of a miss or a hit."""
    paid = kind == "miss"
    return Row(
        id=f"dec_{tenant}-{at:.0f}-{model}-{kind}",
        at=at,
        tenant=tenant,
        outcome=kind,
        reason="made",
        asked=model,
        model=model,
        key_id="key",
        usage=Usage(100, 200) if paid else Usage(),
        cost=50_000 if paid else 0,
        saved={} if paid else {kind: 50_000},
        call="msg" if paid else None,
    )
