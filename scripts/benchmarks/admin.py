"""Calls of the admin page, over many entries, decisions, labels, and sums of the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2

from cacheserver.embedded.store import EmbeddedStore
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import connect
from scripts.benchmarks.processes.load import NOWHERE, SERVES_ALL, Server, server, wrk
from scripts.benchmarks.processes.server import ADMIN_KEY, MODEL
from scripts.benchmarks.reports import made_row
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run
from scripts.benchmarks.units import FIRST, TEMPLATE

_ENTRIES: Final = 100_000
_DECISIONS: Final = 100_000
_LABELS, _AT_ONCE = 10_000, 2_000  # so many are taught by one call
_TENANTS, _DAYS, _HOURS = 100, 31, 48  # of the ledger's sums: what a million records leave
_MODELS: Final = (MODEL, "claude-sonnet-5-5", "claude-opus-5-5")
_TIMES: Final = 9
_MOST_MS, _TEXT_S = 100, 1
_ABSENT: Final = "xyzzy"  # in no question: a search for it reads all


def measure(run: Run) -> list[dict[str, Any]]:
    with _serving(run.folder / "admin") as ours:
        client = httpx2.Client(
            base_url=ours.url, headers={"x-api-key": ADMIN_KEY}, timeout=60, trust_env=False
        )
        asked = _ask(ours)
        scope = _json(client, "/admin/v1/scopes?tenant=default")["items"][0]["scope"]
        _teach(client, scope)
        time.sleep(2)  # what follows the last answers is written
        rows = [row("decisions", asked), row("  with sums of tenants", _TENANTS)]
        rows += _calls(client, scope)
        rows += [
            _search(client, "decisions", "/admin/v1/decisions?tenant=default"),
            _search(client, "entries", "/admin/v1/entries?tenant=default"),
        ]
        return rows


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[Server]:
    """The server over a store with sums of a month, and a threshold that all questions pass."""
    folder.mkdir()
    store = EmbeddedStore(folder / "store")
    with asyncio.Runner() as runner:
        url = runner.run(store.start())
        try:
            runner.run(_fill_sums(url))
            with server(NOWHERE, _ENTRIES, folder / "data", *SERVES_ALL, "--redis", url) as ours:
                yield ours
        finally:
            runner.run(store.stop())


async def _fill_sums(url: str) -> None:
    redis = connect(url)
    ledger = Ledger(redis, limit=10**6)
    try:
        today, hour = int(time.time() // 86_400), int(time.time() // 3_600)
        moments = [(today - day) * 86_400 + 40_000.0 for day in range(1, _DAYS)]
        moments += [(hour - back) * 3_600 + 60.0 for back in range(_HOURS)]
        for tenant in range(_TENANTS):
            for at in moments:
                for model in _MODELS:
                    for kind in ("miss", "exact", "semantic"):
                        ledger.append(made_row(f"tenant-{tenant}", at, model, kind))
            await ledger.flush()
    finally:
        await ledger.close()
        await redis.aclose()


def _ask(ours: Server) -> int:
    """Ask as many different questions as there shall be decisions. Returns how many it were."""
    done = 0
    while done < _DECISIONS:
        first = FIRST + 10 * done
        found = wrk(
            ours, "/v1/messages", TEMPLATE, clients=16, seconds=20, first=first, count=10**6
        )
        done += round(found.per_s * 20)
    return done


def _teach(client: httpx2.Client, scope: str) -> None:
    for first in range(0, _LABELS, _AT_ONCE):
        pairs = [
            {
                "query_a": f"How do I return item {number}?",
                "query_b": f"How can I give back item {number + number % 2}?",
                "label": 1 - number % 2,
            }
            for number in range(first, first + _AT_ONCE)
        ]
        teach = {"tenant": "default", "scope": scope, "confirm": True}
        taught = client.post("/admin/v1/calibrate", json={"pairs": pairs, "teach": teach})
        taught.raise_for_status()


def _calls(client: httpx2.Client, scope: str) -> Iterator[dict[str, Any]]:
    bars = "/admin/v1/tenants/default/bars"
    decisions = "/admin/v1/decisions"

    def dry_run(similarity: float) -> httpx2.Response:
        body = {"bar": {"similarity": similarity}, "dry_run": True}
        return client.put(bars, json=body)

    for name, path in (
        ("overview", "/admin/v1/overview"),
        ("scopes", "/admin/v1/scopes?tenant=default"),
        ("tuning of a scope", f"/admin/v1/scopes/default/{scope}/tuning"),
        ("near misses", "/admin/v1/near-misses?tenant=default"),
        ("pairs to review", "/admin/v1/labels/queue?tenant=default"),
        ("decisions by field", f"{decisions}?tenant=default&outcome=semantic&similarity_min=0.97"),
        ("entries by model", f"/admin/v1/entries?tenant=default&model={MODEL}"),
    ):
        yield _timed(name, lambda _, path=path: client.get(path))
    yield _timed("dry run of a bar", lambda n: dry_run(0.9 + n / 1_000))


def _timed(name: str, call: Callable[[int], httpx2.Response]) -> dict[str, Any]:
    took = []
    for number in range(_TIMES):
        began = time.perf_counter()
        call(number).raise_for_status()
        took.append((time.perf_counter() - began) * 1e3)
    return at_most(f"admin call: {name}, p50", statistics.median(took), _MOST_MS, "ms")


def _search(client: httpx2.Client, name: str, path: str) -> dict[str, Any]:
    """Time a search for a text that is nowhere, page by page to the end."""
    began, cursor = time.perf_counter(), None
    while True:
        more = "" if cursor is None else f"&cursor={cursor}"
        cursor = _json(client, f"{path}&text={_ABSENT}{more}")["next"]
        if cursor is None:
            took = time.perf_counter() - began
            return at_most(f"text in the last 100,000 {name}, all pages", took, _TEXT_S, "s")


def _json(client: httpx2.Client, path: str) -> Any:
    response = client.get(path)
    response.raise_for_status()
    return response.json()
