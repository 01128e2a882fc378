"""Semantic hits against an embedding and a bare route, and what the entries of a scope take."""

from __future__ import annotations

from typing import Any

from scripts.benchmarks.processes.load import NOWHERE, SERVES_ALL, Figures, Server, server, wrk
from scripts.benchmarks.rows import at_least, at_most, row
from scripts.benchmarks.run import Run
from scripts.benchmarks.units import FIRST, TEMPLATE, units

_APART = 1_000_000  # questions of one figure: none is asked twice
_BEYOND = {10_000: 3, 100_000: 4}  # B, beyond one E
_SERVER_MB, _STORE_MB = 300, 250  # at 100,000 entries


def measure(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    resident: dict[int, tuple[float, float]] = {}
    for count in run.entries:
        with server(NOWHERE, count, run.filled(count), *SERVES_ALL) as ours:
            rows += _scope(ours, count, run.seconds)
            resident[count] = ours.resident_mb(), ours.store_mb()
    if len(resident) > 1:
        few, many = min(resident), max(resident)
        for name, less, more in zip(
            ("server", "store"), resident[few], resident[many], strict=True
        ):
            each = (more - less) * 1024 / (many - few)
            rows.append(row(f"  {name} process, one entry more", each, "kB"))
    return rows


def _scope(ours: Server, count: int, seconds: float) -> list[dict[str, Any]]:
    _ask(ours, 8, 1, FIRST)  # warm
    unit = units(ours, seconds)
    alone = _ask(ours, 1, seconds, FIRST + _APART)
    many = _ask(ours, 64, seconds, FIRST + 2 * _APART)
    beyond, name = unit.beyond(alone.p50_ms), f"{count:,} entries"
    hit = f"semantic hit, p50 beyond E, {name}"
    rows = [
        at_most(hit, beyond, _BEYOND[count], "B") if count in _BEYOND else row(hit, beyond, "B"),
        row("  p50", alone.p50_ms, "ms"),
        row("  E", unit.embedding_ms, "ms"),
        row("  B", unit.bare_ms, "ms"),
        row("  CPU of the server process, each", alone.server_us, "us"),
        row("  CPU of the store, each", alone.store_us, "us"),
        at_least(
            f"64 clients, different questions, times the throughput of one, {name}",
            many.per_s / alone.per_s,
            1.2,
        ),
        row("  requests", many.per_s, "/s"),
        row("  p99 over p50", many.p99_ms / many.p50_ms),
        row("  stored and indexed in", ours.fill_s, "s"),
    ]
    resident, store = ours.resident_mb(), ours.store_mb()
    if count == 100_000:
        rows.append(at_most(f"server process, {name}", resident, _SERVER_MB, "MB"))
        rows.append(at_most(f"store beside it, {name}", store, _STORE_MB, "MB"))
    else:
        rows.append(row(f"  server process, {name}", resident, "MB"))
        rows.append(row(f"  store beside it, {name}", store, "MB"))
    return rows


def _ask(ours: Server, clients: int, seconds: float, first: int) -> Figures:
    return wrk(
        ours, "/v1/messages", TEMPLATE, clients=clients, seconds=seconds, first=first, count=_APART
    )
