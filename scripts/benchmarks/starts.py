"""Time from the start of `cacheserver serve` until it is ready, in starts of a bare application."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from scripts.benchmarks.processes.load import (
    NOWHERE,
    SERVER_CORE,
    SERVES_ALL,
    announced,
    cpu_s,
    server,
    serving,
)
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run

_POLL_S = 0.005
_PATIENCE_S = 120
_SERVE = ("-m", "cacheserver.cli", "serve")
_BARE = ("-m", "scripts.benchmarks.processes.bare_app")
_TURNS = 3


def measure(run: Run) -> list[dict[str, Any]]:
    """Start with the entries of the largest scope of the run, with and without their snapshot."""
    count = max(run.entries)
    data = run.filled(count)
    if not (data / "filled").exists():
        with server(NOWHERE, count, data, *SERVES_ALL):
            pass
    settings = {
        "CACHESERVER_DATA_DIR": str(data),
        "CACHESERVER_MODEL_DIR": str(Path("var/model").resolve()),
        "CACHESERVER_UPSTREAM": "simulated",
        "CACHESERVER_PORT": "0",
    }
    # As an installed package starts: its modules are compiled.
    compiled = {"PYTHONPYCACHEPREFIX": str(run.folder / "pycache"), "PYTHONDONTWRITEBYTECODE": ""}
    _start(_BARE, compiled)  # it compiles
    _start(_SERVE, settings | compiled)  # and writes the snapshot
    (unit, _, bare_cpu), (ready, similarity, cpu) = _medians(settings, compiled, SERVER_CORE)
    there, wide = _medians(settings, compiled, f"0-{(os.cpu_count() or 1) - 1}")
    name = f"start with {count:,} entries and a snapshot, in starts of a bare application"
    return [
        at_most(f"{name}: ready", ready / unit, 2),
        at_most(f"{name}: similarity too", similarity / unit, 4),
        row("  ready in", ready, "s"),
        row("  similarity too", similarity, "s"),
        row("  CPU of the server process until then", cpu, "s"),
        row("  in starts of a bare application, by CPU", cpu / bare_cpu),
        row("  a bare application", unit, "s"),
        row("  where the store has a core of its own: ready", wide[0] / there[0]),
        row("  ... similarity too", wide[1] / there[0]),
    ]


_Took: TypeAlias = tuple[float, float, float]


def _medians(
    settings: Mapping[str, str], compiled: Mapping[str, str], cores: str
) -> tuple[_Took, _Took]:
    """Return what starts of a bare application and of the server took, in turns."""
    bare, ours = [], []
    for _ in range(_TURNS):
        bare.append(_start(_BARE, compiled, cores))
        ours.append(_start(_SERVE, {**settings, **compiled}, cores))
    return _median(bare), _median(ours)


def _median(starts: Sequence[_Took]) -> _Took:
    ready, similarity, cpu = (statistics.median(each) for each in zip(*starts, strict=True))
    return ready, similarity, cpu


def _start(command: Sequence[str], settings: Mapping[str, str], cores: str = SERVER_CORE) -> _Took:
    """Return seconds until it is ready, until it finds by similarity too, and CPU seconds."""
    started = time.perf_counter()
    with serving([*command], dict(settings), core=cores) as child:
        url = _address(child) if command is _BARE else announced(child)
        address = urlsplit(url)
        ready: float | None = None
        while True:
            status, checks = _readyz(address.hostname or "", address.port)
            now = time.perf_counter() - started
            if ready is None and status == 200:
                ready = now
            if ready is not None and checks.get("similarity", "ok") == "ok":
                return ready, now, cpu_s(child.pid)
            if now > _PATIENCE_S:
                raise RuntimeError("the server did not become ready")
            time.sleep(_POLL_S)


def _address(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _readyz(host: str, port: int | None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(host, port)
    with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    return 0, {}  # the address is announced before it listens
