"""Cost of observability per hit: none, a log line, and a span with metrics."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

from scripts.benchmarks.hits import ENTRIES, exact, median
from scripts.benchmarks.processes.load import LOAD_CORE, NOWHERE, Figures, Server, server, serving
from scripts.benchmarks.rows import row
from scripts.benchmarks.run import Run

_MODULE = "scripts.benchmarks.processes.observing_server"
_TURNS = 5  # all three in turns, so that noise falls on each
_WATCHED = ("off", "logs", "otel")
_NAMES = {"off": "not watched", "logs": "a line of JSON each", "otel": "traced and summed"}


def measure(run: Run) -> list[dict[str, Any]]:
    """Exact hits with nothing, with access lines, and with OpenTelemetry, in one run."""
    found: dict[tuple[str, int], list[Figures]] = {}
    some = max(1, run.seconds / _TURNS)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(serving(["-m", _MODULE, "sink"], {}, core=LOAD_CORE))
        assert sink.stdout is not None
        url = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
        servers = {name: stack.enter_context(_server(name, url)) for name in _WATCHED}
        for _ in range(_TURNS):
            for clients in (1, 8):
                for name, of in servers.items():
                    taken = exact(of, clients, some)
                    found.setdefault((name, clients), []).append(taken)
    rows: list[dict[str, Any]] = []
    for clients in (1, 8):
        for name in _WATCHED:
            figures = found[name, clients]
            what = f"{clients} clients: exact hit, {_NAMES[name]}"
            rows.append(row(f"{what}, requests", median(figures, "per_s"), "/s"))
            rows.append(row("  p50", median(figures, "p50_ms"), "ms"))
            rows.append(row("  CPU of the server", median(figures, "server_us"), "us"))
    return rows


def _server(watched: str, sink: str) -> AbstractContextManager[Server]:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink} if watched == "otel" else {}
    return server(NOWHERE, ENTRIES, None, watched, module=_MODULE, settings=env)
