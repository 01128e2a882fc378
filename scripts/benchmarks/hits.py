"""Exact hits against a bare FastAPI route of the same server: recorded, under a key with limits."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from typing import Any

from scripts.benchmarks.processes.load import NOWHERE, Figures, Server, server, wrk
from scripts.benchmarks.processes.server import body, question
from scripts.benchmarks.rows import at_least, row
from scripts.benchmarks.run import Run

ENTRIES = 1_000
TEMPLATE = json.dumps(body(question(0))).replace("item 0", "item @")
_TURNS = 3  # both ways in turns, so that noise falls on each
_SHARES = {1: 0.60, 8: 0.70, 64: 0.80}


def measure(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with server(NOWHERE, ENTRIES) as ours:
        exact(ours, 8, 1)  # warm
        for clients, share in _SHARES.items():
            bare: list[Figures] = []
            hits: list[Figures] = []
            for _ in range(_TURNS):
                bare.append(wrk(ours, "/bare", TEMPLATE, clients=clients, seconds=_some(run)))
                hits.append(exact(ours, clients, _some(run)))
            per_s, bare_per_s = median(hits, "per_s"), median(bare, "per_s")
            name = f"exact hit, share of the bare route, clients: {clients}"
            rows += [
                at_least(name, per_s / bare_per_s, share),
                row("  by CPU", median(bare, "cpu_us") / median(hits, "cpu_us")),
                row("  requests", per_s, "/s"),
                row("  p50", median(hits, "p50_ms"), "ms"),
                row("  p50 of the bare route", median(bare, "p50_ms"), "ms"),
                row("  p99", median(hits, "p99_ms"), "ms"),
                row("  CPU of the server process, each", median(hits, "server_us"), "us"),
                row("  CPU of the store, each", median(hits, "store_us"), "us"),
                row("  CPU of the bare route, each", median(bare, "server_us"), "us"),
            ]
    return rows


def exact(of: Server, clients: int, seconds: float) -> Figures:
    """Ask the stored questions in turn."""
    return wrk(of, "/v1/messages", TEMPLATE, clients=clients, seconds=seconds, count=ENTRIES)


def median(figures: Iterable[Figures], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in figures))


def _some(run: Run) -> float:
    return max(1, run.seconds / _TURNS)
