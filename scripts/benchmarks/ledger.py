"""Cost of recording, loss of rows when a server is killed, and time of a report."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cacheserver.core.ledger_row import Row
from cacheserver.core.types import Usage
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.ledger.reports import Cell, LedgerReports
from cacheserver.ledger.time_range import split_range
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import connect
from scripts.benchmarks.load import LOAD_CORE, Server, cpu_s, serving, simulated_claude, wrk
from scripts.benchmarks.rows import at_least, at_most, row
from scripts.benchmarks.server import MODEL, body, question

_LOAD = ("taskset", "-c", LOAD_CORE, sys.executable, "-m", "scripts.benchmarks.ledgerload")
_NOWHERE = "http://127.0.0.1:9"
_ENTRIES = 1_000
_TURNS = 3  # on and off in turns, so that noise falls on both
_RATE = 2_000  # requests a second that a killed server must have been serving
_MIXES = (20, 100)  # a miss in so many requests
_TENANTS, _DAYS = 100, 30
_DAY_S = 86_400


def measure(seconds: float, _entries: list[int]) -> list[dict[str, Any]]:
    """Hits with and without a ledger; a crash under load; reports over a month."""
    crashes = [_crash(seconds, miss_every) for miss_every in _MIXES]
    return [*_hits(seconds), *itertools.chain(*crashes), *_reports()]


def _hits(seconds: float) -> list[dict[str, Any]]:
    template = json.dumps(body(question(0))).replace("item 0", "item @")
    taken: dict[tuple[str, int], list[Any]] = {}
    bare: dict[int, list[Any]] = {}
    with _server(_NOWHERE, "on") as on, _server(_NOWHERE, "off") as off:
        for _ in range(_TURNS):
            for clients in (1, 8, 64):
                for name, which, path in (
                    ("bare", on, "/bare"),
                    ("on", on, "/v1/messages"),
                    ("off", off, "/v1/messages"),
                ):
                    some = seconds / _TURNS
                    found = wrk(
                        which, path, template, clients=clients, seconds=max(1, some), count=_ENTRIES
                    )
                    if found.errors:
                        raise RuntimeError("requests failed under load")
                    into = (
                        bare.setdefault(clients, [])
                        if name == "bare"
                        else taken.setdefault((name, clients), [])
                    )
                    into.append(found)
        # Give Redis a core of its own: with one client the load's core is mostly idle.
        apart: dict[str, list[Any]] = {"on": [], "off": []}
        for which in (on, off):
            which.move_store(LOAD_CORE)
        for _ in range(_TURNS):
            for name, which in (("on", on), ("off", off)):
                some = max(1, seconds / _TURNS)
                found = wrk(
                    which, "/v1/messages", template, clients=1, seconds=some, count=_ENTRIES
                )
                apart[name].append(found)
    rows: list[dict[str, Any]] = []
    for clients in (1, 8, 64):
        one, two, free = taken["on", clients], taken["off", clients], bare[clients]
        name = f"{clients} clients: exact hit, recorded"
        rows.append(row(f"{name}, requests", _median(one, "per_s"), "/s"))
        for what, figures in (("recorded", one), ("not recorded", two), ("bare", free)):
            rows.append(row(f"  CPU of server and store, {what}", _median(figures, "cpu_us"), "us"))
        added = _median(one, "cpu_us") - _median(two, "cpu_us")
        rows.append(row("  CPU of server and store that recording adds", added, "us"))
        share = _median(one, "per_s") / _median(free, "per_s")
        rows.append(at_least("  share of the bare route", share, 0.35))
        gap = _median(one, "p50_ms") - _median(two, "p50_ms")
        if clients == 1:
            rows.append(at_most("  p50 that recording adds", gap, 0.15, "ms"))
            gap = _median(apart["on"], "p50_ms") - _median(apart["off"], "p50_ms")
            rows.append(row("  ... with the store on another core", gap, "ms"))
        else:
            rows.append(row("  p50 that recording adds", gap, "ms"))
    return rows


def _crash(seconds: float, miss_every: int) -> list[dict[str, Any]]:
    """Kill the server under load (`kill -9`); compare ledger and the simulated invoice."""
    clients = 64
    with (
        tempfile.TemporaryDirectory(prefix="cacheserver-bench-") as folder,
        contextlib.ExitStack() as stack,
    ):
        claude = stack.enter_context(simulated_claude())
        server = stack.enter_context(_server(claude, "on", Path(folder)))
        load = subprocess.Popen(
            [*_LOAD, server.url, str(clients), str(_ENTRIES), str(miss_every)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert load.stdout is not None
        load.stdout.readline()  # the load has begun
        before = _cpu(server, load.pid)
        time.sleep(seconds)  # the load's length, not a wait for anything
        used = [now - then for now, then in zip(_cpu(server, load.pid), before, strict=True)]
        os.kill(server.pid, signal.SIGKILL)
        answered, per_s = json.loads(load.communicate()[0])
        with urllib.request.urlopen(f"{claude}/_simulated/invoice") as response:
            invoice = json.loads(response.read())
        recorded, cost = asyncio.run(_recorded(Path(folder)))
    each = invoice["total_nanodollars"] / max(1, len(invoice["lines"]))
    missing = (invoice["total_nanodollars"] - cost) / each
    return [
        at_least(f"killed -9 while serving, a miss in {miss_every}", per_s, _RATE, "/s"),
        row("  core of the server and its store, busy", sum(used[:2]) / seconds),
        row("  core of the load and the simulated Claude: the load's share", used[2] / seconds),
        row("  CPU of server and store, a request", sum(used[:2]) / seconds / per_s * 1e6, "us"),
        row("  answers that clients have", answered),
        row("  rows in the ledger", recorded),
        at_most("  answers without a row", max(0, answered - recorded), 0),
        row("  calls on Claude's invoice", len(invoice["lines"])),
        at_most("  calls on the invoice and not in the ledger", missing, clients),
    ]


def _cpu(server: Server, load: int) -> tuple[float, float, float]:
    """CPU seconds so far of the server, the store and the load."""
    return (*server.cpu_s(), cpu_s(load))


def _reports() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="cacheserver-bench-") as folder:
        cold, warm = asyncio.run(_queries(Path(folder)))
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
                        ledger.append(_new_row(f"tenant-{tenant}", today - day, model, kind))
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


def _new_row(tenant: str, day: int, model: str, kind: str) -> Row:
    paid = kind == "miss"
    return Row(
        id=f"dec_{tenant}-{day}-{model}-{kind}",
        at=day * _DAY_S + 40_000.0,
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


async def _recorded(folder: Path) -> tuple[int, int]:
    """Restart the store over its files; return the number and the cost of the rows in it."""
    store = EmbeddedStore(folder)
    redis = connect(await store.start())
    try:
        sums = LedgerReports(redis)
        now = int(time.time())
        start, end = now // _DAY_S * _DAY_S - _DAY_S, now // _DAY_S * _DAY_S + _DAY_S
        found = await sums.read(
            await sums.tenants(start, end), list(split_range(start, end)), lambda _: 0
        )
        return found[0]["requests"], found[0]["cost"]
    finally:
        await redis.aclose()
        await store.stop()


@contextlib.contextmanager
def _server(upstream: str, recording: str, folder: Path | None = None) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        data = folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="cacheserver-bench-"))
        )
        command = ["-m", "scripts.benchmarks.ledgerserver", str(data), upstream, str(_ENTRIES)]
        child = stack.enter_context(serving([*command, "1.0", recording], {}))
        assert child.stdout is not None
        port, fill_s = child.stdout.readline().split()
        server = Server(f"http://127.0.0.1:{port}", child.pid, float(fill_s))
        warm(server.url)
        yield server


def warm(url: str) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    asked = json.dumps(body(question(0)))
    for _ in range(50):
        connection.request("POST", "/v1/messages", asked, {"x-api-key": "k"})
        connection.getresponse().read()
    connection.close()


def _median(figures: list[Any], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in figures))
