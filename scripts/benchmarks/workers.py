"""`serve --workers 2` against one process, on all cores, with the load beside them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from scripts.benchmarks import hits
from scripts.benchmarks.processes.load import (
    NOWHERE,
    SERVES_ALL,
    Figures,
    Server,
    announced,
    cpu_s,
    server,
    serving,
    wrk,
)
from scripts.benchmarks.rows import at_least, at_most, row
from scripts.benchmarks.run import Run
from scripts.benchmarks.units import FIRST, TEMPLATE

_COUNTS = (1, 2)
_APART = 1_000_000  # questions of one figure: none is asked twice
_CLIENTS = 64
_QUIET_S = 8.0  # without work: longer than the pause before a restored index is trained (5 s)
_QUIET_SHARE = 0.1  # of a core, so much as servers that wait may take
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class _Tree(Server):
    """A server with its workers, and the store beside them."""

    def cpu_s(self) -> tuple[float, float]:
        ours, store = self._split()
        return sum(map(cpu_s, ours)), sum(map(cpu_s, store))

    def resident_mb(self) -> float:
        return sum(_own_mb(pid) for pid in self._split()[0])

    def _split(self) -> tuple[list[int], list[int]]:
        """Return the processes of the server, and those of the store."""
        pids = [self.pid, *_descendants(self.pid)]
        store = [pid for pid in pids if "valkey" in Path(f"/proc/{pid}/comm").read_text()]
        return [pid for pid in pids if pid not in store], store


def measure(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    count = max(run.entries)
    data = run.filled(count)
    with server(NOWHERE, count, data, *SERVES_ALL) as filled:
        key = filled.key
    found: dict[str, list[Figures]] = {"exact": [], "semantic": []}
    for workers in _COUNTS:
        with _serve(data, key, workers) as ours:
            _wait_until_ready(ours, workers)
            hits.exact(ours, _CLIENTS, 2)  # warm
            found["exact"].append(hits.exact(ours, _CLIENTS, run.seconds))
            first = FIRST + workers * _APART
            _ask(ours, 1, first)
            found["semantic"].append(_ask(ours, run.seconds, first + _APART // 2))
            rows.append(
                row(
                    f"all processes but the store, {count:,} entries, workers: {workers}",
                    ours.resident_mb(),
                    "MB",
                )
            )
    for kind, (one, two) in found.items():
        name = f"{kind} hit, two workers over one"
        rows += [
            at_least(f"{name}: requests", two.per_s / one.per_s, 1.0),
            at_most(f"{name}: CPU of the servers, each", two.server_us / one.server_us, 1.1),
            row("  requests of one", one.per_s, "/s"),
            row("  requests of two", two.per_s, "/s"),
            row("  CPU of one, each", one.server_us, "us"),
            row("  CPU of two, each", two.server_us, "us"),
            row("  p99 of one", one.p99_ms, "ms"),
            row("  p99 of two", two.p99_ms, "ms"),
        ]
    return rows


@contextlib.contextmanager
def _serve(data: Path, key: str, workers: int) -> Iterator[_Tree]:
    settings = {
        "CACHESERVER_DATA_DIR": str(data),
        "CACHESERVER_MODEL_DIR": str(Path("var/model").resolve()),
        "CACHESERVER_UPSTREAM": NOWHERE,  # as it was filled: a part of the scope; a miss fails
        "ANTHROPIC_API_KEY": "sk-ant-benchmark",
        "CACHESERVER_SIMILARITY": SERVES_ALL[1],
        "CACHESERVER_PORT": "0",
        "CACHESERVER_WORKERS": str(workers),
    }
    cores = f"0-{(os.cpu_count() or 1) - 1}"
    with serving(["-m", "cacheserver.cli", "serve"], settings, core=cores) as child:
        yield _Tree(announced(child), child.pid, key)


def _wait_until_ready(ours: Server, workers: int) -> None:
    """Return once each worker finds similar questions: the kernel draws one for each connection."""
    ready = 0
    while ready < 8 * workers:
        answer = httpx2.get(f"{ours.url}/readyz?similarity=1", timeout=30)
        ready = ready + 1 if answer.status_code == 200 else 0
    # Each has to train the inverted lists of the scope first, and begins some seconds later: a
    # figure taken meanwhile has the training in it.
    wait_until_quiet(ours, _QUIET_S)


def wait_until_quiet(of: Server, quiet_s: float) -> None:
    """Return once the processes of a server have done nothing for `quiet_s`."""
    began, used = time.monotonic(), sum(of.cpu_s())
    while time.monotonic() - began < quiet_s:
        time.sleep(min(_LOOK_S, quiet_s / 4))
        now = sum(of.cpu_s())
        if now - used > _QUIET_SHARE * quiet_s:
            began, used = time.monotonic(), now


def _ask(ours: Server, seconds: float, first: int) -> Figures:
    return wrk(
        ours,
        "/v1/messages",
        TEMPLATE,
        clients=_CLIENTS,
        seconds=seconds,
        first=first,
        count=_APART // 2,
    )


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _own_mb(pid: int) -> float:
    """Return the megabytes of a process that it shares with no other, and its part of the rest."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
