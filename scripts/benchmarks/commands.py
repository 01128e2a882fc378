"""Commands and round trips that a request asks of the store, by the store's own count."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from scripts.benchmarks.processes.client import Client
from scripts.benchmarks.processes.load import NOWHERE, SERVES_ALL, Server, server, simulated_claude
from scripts.benchmarks.processes.server import body, question
from scripts.benchmarks.processes.store_proxy import CountedStore, counted_store
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.run import Run
from scripts.benchmarks.units import ASKED, FIRST

_ENTRIES = 1_000
_WARM, _COUNTED, _DELAYED = 20, 300, 15
_REST_S = 1.0  # until what follows an answer is written
_DELAY_S = 0.05
_MOST = {"exact hit": (3, 1), "semantic hit": (8, 2), "miss": (16, 3)}


def measure(run: Run) -> list[dict[str, Any]]:
    numbers = itertools.count(FIRST)

    def known() -> dict[str, Any]:  # each of them asked before
        return body(question(next(numbers) % _WARM))

    def new() -> dict[str, Any]:
        return body(ASKED.replace("@", str(next(numbers))))

    rows: list[dict[str, Any]] = []
    with _serving(NOWHERE, *SERVES_ALL) as (store, ours):
        for kind, asked in (("exact", known), ("semantic", new)):
            rows += _counted(store, f"{kind} hit", Client(ours.url, ours.key, kind), asked)
    with simulated_claude() as claude, _serving(claude) as (store, ours):
        return rows + _counted(store, "miss", Client(ours.url, ours.key, "miss"), new)


@contextlib.contextmanager
def _serving(upstream: str, *options: str) -> Iterator[tuple[CountedStore, Server]]:
    with (
        counted_store() as store,
        server(upstream, _ENTRIES, None, *options, "--redis", store.url) as ours,
    ):
        yield store, ours


def _counted(
    store: CountedStore, kind: str, client: Client, asked: Callable[[], dict[str, Any]]
) -> list[dict[str, Any]]:
    _p50_ms(client, asked, _WARM)
    time.sleep(_REST_S)
    store.reset()
    near = _p50_ms(client, asked, _COUNTED)
    time.sleep(_REST_S)
    commands = {name: calls / _COUNTED for name, calls in store.commands().items()}
    store.delay_s = _DELAY_S
    far = _p50_ms(client, asked, _DELAYED)
    store.delay_s = 0.0
    most_commands, most_trips = _MOST[kind]
    usual = sorted(commands.items(), key=lambda each: -each[1])
    return [
        at_most(f"store commands, {kind}", sum(commands.values()), most_commands),
        *(row(f"  {name}", calls) for name, calls in usual if calls > 0.05),
        at_most(
            f"round trips to the store before the answer, {kind}",
            round((far - near) / 1e3 / _DELAY_S, 1),
            most_trips,
        ),
    ]


def _p50_ms(client: Client, asked: Callable[[], dict[str, Any]], count: int) -> float:
    return statistics.median(client.ask(asked()) for _ in range(count))
