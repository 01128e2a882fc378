"""Start of the server on many stored answers, with requests under way (docs/scaling.md).

Half of the answers are in one scope, the rest in the others. Ready is `/readyz`; warm is when
similar questions are found and all inverted lists are there. First the store is the server's own,
then it runs already.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cacheserver.embedded.process import find_server
from scripts.benchmarks.processes import server
from scripts.benchmarks.processes.fill_store import answer_to, asked_of, question
from scripts.benchmarks.processes.load import EVERY_CORE, Server, announced, pinned, serving
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run
from tests import redis_servers

_ADMIN = "an-admin-key-for-benchmarks"
_READY_S, _WARM_S = 10, 60
_SIMILARITY = "0.9"  # another spelling of a question has 0.95 and more
_POLL_S = 0.05
_PAUSE_S = 0.02  # between two requests of a kind: the load is light, its delays are what counts
_PATIENCE_S = 900


@dataclass
class Asked:
    """Requests of one kind: when each ended, how long it took, and how it was answered."""

    seconds: list[tuple[float, float]] = field(default_factory=list)
    found: list[tuple[float, str]] = field(default_factory=list)
    wrong: int = 0

    def percentile(self, share: float, until: float = float("inf")) -> float:
        """Return milliseconds, of the requests that ended before `until`."""
        took = sorted(each for ended, each in self.seconds if ended <= until)
        return took[int(share * len(took))] * 1e3 if took else float("nan")

    def first(self, how: str) -> float:
        return next((ended for ended, found in self.found if found == how), float("nan"))


@dataclass
class Started:
    """Measurements of a start, in seconds, megabytes and requests."""

    ready: float = 0.0
    similar: float = 0.0
    warm: float = 0.0
    cpu: float = 0.0
    resident_mb: float = 0.0
    store_mb: float = 0.0
    stopped: float = 0.0
    asked: dict[str, Asked] = field(default_factory=dict)


def measure(run: Run) -> list[dict[str, Any]]:
    rows = []
    for count in run.vectors:
        for scopes in run.scopes:
            folder = run.folder / f"restart-{count}-{scopes}"
            rows += _measured(folder, count, scopes, run.seconds)
    return rows


def _measured(folder: Path, count: int, scopes: int, seconds: float) -> list[dict[str, Any]]:
    if not (folder / "filled").exists():
        words = [str(folder), str(count), str(scopes)]
        command = [sys.executable, "-m", "scripts.benchmarks.processes.fill_store", *words]
        with pinned():
            subprocess.run(command, check=True)
        (folder / "filled").touch()
    name = f"start with {count:,} answers in {scopes} scopes"
    rows: list[dict[str, Any]] = []
    if not (folder / "index.snapshot").exists():
        first = start(folder, count, seconds)
        rows += _rows(f"{name}, no snapshot", first)
    rows += _rows(name, start(folder, count, seconds), _READY_S, _WARM_S)
    with redis_servers.serving(find_server(), f"dir {folder / 'store'}", "appendonly yes") as url:
        found = start(folder, count, seconds, url)
    return rows + _rows(f"{name}, on a Redis that runs already", found, _READY_S, _WARM_S)


def _rows(
    name: str, took: Started, ready: float | None = None, warm: float | None = None
) -> list[dict[str, Any]]:
    def target(what: str, value: float, bound: float | None) -> dict[str, Any]:
        return row(what, value, "s") if bound is None else at_most(what, value, bound, "s")

    rows = [
        target(f"{name}: ready", took.ready, ready),
        target(f"{name}: warm", took.warm, warm),
        row("  similar questions are found", took.similar, "s"),
        row("  first semantic hit", took.asked["semantic"].first("semantic"), "s"),
        row("  first exact hit", took.asked["exact"].first("exact"), "s"),
        row("  CPU of the server until it is warm", took.cpu, "s"),
        row("  memory of the server", took.resident_mb, "MB"),
        *([row("  memory of the store", took.store_mb, "MB")] if took.store_mb else []),
        row("  wrong answers", sum(asked.wrong for asked in took.asked.values())),
    ]
    for kind, asked in took.asked.items():
        for until, when in ((took.warm, "until it is warm"), (float("inf"), "and after")):
            rows += [
                row(f"  {kind}, p50 {when}", asked.percentile(0.5, until), "ms"),
                row(f"  {kind}, p99 {when}", asked.percentile(0.99, until), "ms"),
                row(f"  {kind}, longest {when}", asked.percentile(0.9999, until), "ms"),
            ]
    return [*rows, row("  stopped, with a new snapshot", took.stopped, "s")]


def start(folder: Path, count: int, seconds: float, redis_url: str | None = None) -> Started:
    """Start the server on a folder, ask it meanwhile and so long afterwards, and stop it.

    `redis_url` leads to the store of the folder, if it is not the server's own.
    """
    settings = {
        "CACHESERVER_DATA_DIR": str(folder),
        "CACHESERVER_MODEL_DIR": str(Path("var/model").resolve()),
        "CACHESERVER_UPSTREAM": "simulated",
        "CACHESERVER_SIMILARITY": _SIMILARITY,
        "CACHESERVER_ADMIN_KEY": _ADMIN,
        "CACHESERVER_MAX_BYTES": str(10**12),
        "CACHESERVER_PORT": "0",
        **({} if redis_url is None else {"CACHESERVER_REDIS_URL": redis_url}),
    }
    took = Started()
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        child = stack.enter_context(
            serving(["-m", "cacheserver.cli", "serve"], settings, core=EVERY_CORE)
        )
        of = Server(announced(child), child.pid)
        threading.Thread(target=child.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        while _get(of, "/readyz")[0] != 200:
            _wait(began)
        took.ready = time.perf_counter() - began
        took.asked = stack.enter_context(_asking(of, count, began))
        while _get(of, "/readyz?similarity=1")[0] != 200:
            _wait(began)
        took.similar = time.perf_counter() - began
        while _untrained(of):
            _wait(began)
        took.warm = time.perf_counter() - began
        took.cpu = of.cpu_s()[0]
        took.resident_mb, took.store_mb = of.resident_mb(), of.store_mb()
        time.sleep(seconds)
        stack.pop_all().close()
    took.stopped = time.perf_counter() - began - took.warm - seconds
    return took


@contextlib.contextmanager
def _asking(of: Server, count: int, began: float) -> Iterator[dict[str, Asked]]:
    """Ask for stored questions, for stored ones in other spellings, and for new ones."""
    kinds = {"exact": Asked(), "semantic": Asked(), "miss": Asked()}
    ended = threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(of, kind, asked, count, began, ended))
        for kind, asked in kinds.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield kinds
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _ask(
    of: Server, kind: str, asked: Asked, count: int, began: float, ended: threading.Event
) -> None:
    address = urlsplit(of.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    headers = {"content-type": "application/json", "x-api-key": "k"}
    if kind != "miss":
        headers["cache-control"] = "only-if-cached"  # so that nothing is stored in their place
    with contextlib.closing(connection):
        for turn in itertools.count():
            if ended.wait(_PAUSE_S):
                return
            number = turn % asked_of(count)
            body = server.body(_text(kind, number, turn))
            if kind == "miss":
                body["system"] = "These are new questions."
            sent = time.perf_counter()
            connection.request("POST", "/v1/messages", json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            now = time.perf_counter()
            asked.seconds.append((now - began, now - sent))
            how = response.headers["x-cache"]
            reason = response.headers.get("x-cache-reason", "")
            asked.found.append((now - began, how if how != "miss" else reason))
            if kind != "miss" and how in ("exact", "semantic"):
                text = answer["content"][0]["text"]
                asked.wrong += not text.startswith(answer_to(number))


def _text(kind: str, number: int, turn: int) -> str:
    if kind == "miss":
        return f"What is new in issue {turn} of {time.time():.3f}?"
    return question(number) if kind == "exact" else question(number).lower().rstrip("?")


def _get(of: Server, path: str) -> tuple[int, dict[str, Any]]:
    address = urlsplit(of.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
        connection.request("GET", path, headers={"x-api-key": _ADMIN})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    return 0, {}  # the address is announced before it listens


def _untrained(of: Server) -> int:
    """Return how many scopes still wait for their inverted lists."""
    checks = _get(of, "/admin/v1/health")[1]["checks"]
    found: int = next(one for one in checks if one["name"] == "index")["facts"]["scopes"][
        "untrained"
    ]
    return found


def _wait(began: float) -> None:
    if time.perf_counter() - began > _PATIENCE_S:
        raise RuntimeError("the server did not become warm")
    time.sleep(_POLL_S)
