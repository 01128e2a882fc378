"""Cost of observability per hit: none, a log line, and a span with metrics."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

from scripts.benchmarks.ledger import warm
from scripts.benchmarks.load import LOAD_CORE, Figures, Server, serving, wrk
from scripts.benchmarks.rows import row
from scripts.benchmarks.server import body, question

_SERVER = ("-m", "scripts.benchmarks.observingserver")
_NOWHERE = "http://127.0.0.1:9"
_ENTRIES = 1_000
_TURNS = 5  # all three in turns, so that noise falls on each
_WATCHED = ("off", "logs", "otel")
_NAMES = {"off": "not watched", "logs": "a line of JSON each", "otel": "traced and summed"}


def measure(seconds: float, _entries: list[int]) -> list[dict[str, Any]]:
    """Exact hits with nothing, with access lines, and with OpenTelemetry, in one run."""
    template = json.dumps(body(question(0))).replace("item 0", "item @")
    found: dict[tuple[str, int], list[Figures]] = {}
    some = max(1, seconds / _TURNS)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(serving([*_SERVER, "sink"], {}, core=LOAD_CORE))
        assert sink.stdout is not None
        url = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
        servers = {name: stack.enter_context(_server(name, url)) for name in _WATCHED}
        for _ in range(_TURNS):
            for clients in (1, 8):
                for name, of in servers.items():
                    taken = wrk(
                        of,
                        "/v1/messages",
                        template,
                        clients=clients,
                        seconds=some,
                        count=_ENTRIES,
                    )
                    if taken.errors:
                        raise RuntimeError("requests failed under load")
                    found.setdefault((name, clients), []).append(taken)
    rows: list[dict[str, Any]] = []
    for clients in (1, 8):
        for name in _WATCHED:
            figures = found[name, clients]
            what = f"{clients} clients: exact hit, {_NAMES[name]}"
            rows.append(row(f"{what}, requests", _median(figures, "per_s"), "/s"))
            rows.append(row("  p50", _median(figures, "p50_ms"), "ms"))
            rows.append(row("  CPU of the server", _median(figures, "server_us"), "us"))
    return rows


@contextlib.contextmanager
def _server(watched: str, sink: str) -> Iterator[Server]:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink} if watched == "otel" else {}
    with tempfile.TemporaryDirectory(prefix="cacheserver-bench-") as data:
        command = [*_SERVER, data, _NOWHERE, str(_ENTRIES), "1.0"]
        with serving([*command, watched], env) as child:
            assert child.stdout is not None
            port, fill_s = child.stdout.readline().split()
            server = Server(f"http://127.0.0.1:{port}", child.pid, float(fill_s))
            warm(server.url)
            yield server


def _median(figures: list[Figures], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in figures))
