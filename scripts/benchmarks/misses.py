"""Misses through the server against direct calls to the same simulated Claude."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from scripts.benchmarks.processes.client import Client
from scripts.benchmarks.processes.load import Server, server, simulated_claude
from scripts.benchmarks.processes.server import body
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run
from scripts.benchmarks.units import ASKED, FIRST, units

_ENTRIES = 10_000
_WARM = 20
# `auto`, and a prompt long enough for Claude's prompt cache: each of the levers has work to do.
_LEVERS = "routing,prompt-caching,output-caps,conversations,budgets"  # `budgets`: limits too
_SYSTEM = "You answer customers of a shop that sells things for house and garden. " * 150


def measure(run: Run) -> list[dict[str, Any]]:
    numbers = itertools.count(FIRST)  # none of them is stored, none asked twice
    with simulated_claude() as claude:
        with server(claude, _ENTRIES, None, "--off", "verification") as ours:
            rows = _over_direct(claude, ours, run.seconds, numbers)
        return rows + _levers(claude, run.seconds, numbers)


def _over_direct(
    claude: str, ours: Server, seconds: float, numbers: Iterator[int]
) -> list[dict[str, Any]]:
    unit = units(ours, seconds)
    ways = [Client(claude, "sk-ant-benchmark"), Client(ours.url, ours.key, "miss")]
    _take(ways, numbers, _WARM)
    before = ours.cpu_s()
    direct, miss = _take(ways, numbers, seconds=seconds)
    used = [(now - then) / len(miss) * 1e3 for now, then in zip(ours.cpu_s(), before, strict=True)]
    _take(ways, numbers, _WARM, stream=True)
    first_direct, first = _take(ways, numbers, seconds=seconds, stream=True)
    over, over_first = _over(direct, miss), _over(first_direct, first)
    return [
        at_most("miss over a direct call, p50 beyond E, 10,000 entries", unit.beyond(over), 8, "B"),
        row("  p50 of a miss", statistics.median(miss), "ms"),
        row("  p50 of a direct call", statistics.median(direct), "ms"),
        row("  E", unit.embedding_ms, "ms"),
        row("  B", unit.bare_ms, "ms"),
        at_most("CPU of the process for a miss, beyond E", unit.beyond(used[0]), 10, "B"),
        row("  each", used[0], "ms"),
        row("  CPU of the store, each", used[1], "ms"),
        at_most(
            "first token of a missed stream over a direct one, p50 beyond E",
            unit.beyond(over_first),
            7,
            "B",
        ),
        row("  p50 of a missed stream", statistics.median(first), "ms"),
        row("  p50 of a direct stream", statistics.median(first_direct), "ms"),
    ]


def _levers(claude: str, seconds: float, numbers: Iterator[int]) -> list[dict[str, Any]]:
    """CPU of a miss with the levers, budgets and limits, less that of one without, in turns."""
    with (
        server(claude, 0, None, "--off", "verification") as every,
        server(claude, 0, None, "--off", f"verification,{_LEVERS}") as none,
    ):
        unit = units(every, seconds)
        both = [every, none]
        ways = [Client(of.url, of.key, "miss") for of in both]
        _take(ways, numbers, _WARM, model="auto", system=_SYSTEM)
        before = [of.cpu_s()[0] for of in both]
        taken = _take(ways, numbers, seconds=2 * seconds, model="auto", system=_SYSTEM)
        used = [
            (of.cpu_s()[0] - then) / len(times) * 1e3
            for of, then, times in zip(both, before, taken, strict=True)
        ]
    return [
        at_most(
            "CPU of router, planner, lengths, budgets and limits on a miss",
            (used[0] - used[1]) / unit.bare_ms,
            1,
            "B",
        ),
        row("  CPU of a miss with them", used[0], "ms"),
        row("  CPU of a miss without", used[1], "ms"),
    ]


def _take(
    ways: Sequence[Client],
    numbers: Iterator[int],
    count: int = 10_000_000,
    *,
    seconds: float = 60,
    **fields: Any,
) -> list[list[float]]:
    """Ask each way in turn, so that all see the same noise; return what each question took, ms."""
    until = time.perf_counter() + seconds
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(count):
        for way, times in zip(ways, taken, strict=True):
            asked = body(ASKED.replace("@", str(next(numbers))))
            times.append(way.ask({**asked, **fields}))
        if time.perf_counter() > until:
            break
    return taken


def _over(direct: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(ours) - statistics.median(direct)
