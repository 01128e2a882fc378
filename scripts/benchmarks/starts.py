"""Time from the start of `cacheserver serve` until it is ready, with stored answers."""

from __future__ import annotations

import http.client
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.benchmarks.load import announced, cpu_s, server, serving
from scripts.benchmarks.rows import at_most, row

_ENTRIES = 10_000
_POLL_S = 0.01
_PATIENCE_S = 60
_COMMAND = ["-m", "cacheserver.cli", "serve"]


def measure(_seconds: float, _entries: list[int]) -> list[dict[str, Any]]:
    """Time a start without a snapshot, as after `kill -9`, then one with the snapshot it wrote."""
    with tempfile.TemporaryDirectory(prefix="cacheserver-bench-") as folder:
        with server("http://127.0.0.1:9", _ENTRIES, Path(folder)):
            pass
        settings = {
            "CACHESERVER_DATA_DIR": folder,
            "CACHESERVER_MODEL_DIR": str(Path("var/model").resolve()),
            "CACHESERVER_UPSTREAM": "simulated",
            "CACHESERVER_PORT": "0",
        }
        killed = _start(settings)
        second = _start(settings)
    return [
        row(f"{_ENTRIES} entries, start without a snapshot: ready in", killed[0], "s"),
        row("  CPU of the server process", killed[1], "s"),
        at_most(f"{_ENTRIES} entries, second start: ready in", second[0], 3, "s"),
        row("  CPU of the server process", second[1], "s"),
    ]


def _start(settings: dict[str, str]) -> tuple[float, float]:
    """Return seconds and CPU seconds until `/readyz` is 200."""
    started = time.perf_counter()
    with serving(_COMMAND, settings) as child:
        address = urlsplit(announced(child))
        while not _ready(address.hostname or "", address.port):
            if time.perf_counter() - started > _PATIENCE_S:
                raise RuntimeError("the server did not become ready")
            time.sleep(_POLL_S)
        return time.perf_counter() - started, cpu_s(child.pid)


def _ready(host: str, port: int | None) -> bool:
    connection = http.client.HTTPConnection(host, port)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except ConnectionRefusedError:
        return False  # the address is announced before it listens
    finally:
        connection.close()
