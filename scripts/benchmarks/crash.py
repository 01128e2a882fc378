"""Loss when a server is killed under load: rows of answers that clients have, Claude's calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal
from typing import Any

from scripts.benchmarks.hits import ENTRIES, TEMPLATE, exact
from scripts.benchmarks.processes.client import Client
from scripts.benchmarks.processes.load import (
    LOAD_CORE,
    NOWHERE,
    cpu_s,
    server,
    simulated_claude,
    temporary_folder,
    wrk,
)
from scripts.benchmarks.processes.server import body, question
from scripts.benchmarks.rows import at_least, at_most, row
from scripts.benchmarks.run import Run

_MODULE = "scripts.benchmarks.processes.crash_load"
_LOAD = ("taskset", "-c", LOAD_CORE, sys.executable, "-m", _MODULE)
_CLIENTS = 64
_MISS_EVERY = 20
_SHARE = 0.40


def measure(run: Run) -> list[dict[str, Any]]:
    """Kill the server (`kill -9`); compare what it recorded with the answers and the invoice."""
    with temporary_folder() as folder, simulated_claude() as claude:
        with server(claude, ENTRIES, folder) as ours:
            exact(ours, 8, 1)  # warm
            Client(ours.url, ours.key, "miss").ask(body(question(ENTRIES)))  # imports the SDK
            warm, warm_invoice = _recorded(ours.url, ours.key), _invoice(claude)
            bare = wrk(ours, "/bare", TEMPLATE, clients=_CLIENTS, seconds=max(1, run.seconds / 2))
            load = subprocess.Popen(
                [*_LOAD, ours.url, ours.key, str(_CLIENTS), str(ENTRIES), str(_MISS_EVERY)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert load.stdout is not None
            load.stdout.readline()  # the load has begun
            before = (*ours.cpu_s(), cpu_s(load.pid))
            time.sleep(run.seconds)  # the load's length, not a wait for anything
            after = (*ours.cpu_s(), cpu_s(load.pid))
            os.kill(ours.pid, signal.SIGKILL)
            answered, per_s = json.loads(load.communicate()[0])
        calls, billed = (
            now - then for now, then in zip(_invoice(claude), warm_invoice, strict=True)
        )
        with server(NOWHERE, ENTRIES, folder) as again:
            found = _recorded(again.url, again.key)
    recorded, cost = found[0] - warm[0], found[1] - warm[1]
    used = [(now - then) / run.seconds for now, then in zip(after, before, strict=True)]
    missing = (billed - cost) * calls / billed if billed else 0.0
    name = f"killed -9 while serving, a miss in {_MISS_EVERY}"
    return [
        at_least(f"{name}: share of the bare route", per_s / bare.per_s, _SHARE),
        row("  requests", per_s, "/s"),
        row("  bare route", bare.per_s, "/s"),
        row("  core of the server and its store, busy", sum(used[:2])),
        row("  core of the load and the simulated Claude: the load's share", used[2]),
        row("  answers that clients have", answered),
        row("  rows in the ledger", recorded),
        at_most(f"{name}: answers without a row", max(0, answered - recorded), 0),
        row("  calls on Claude's invoice", calls),
        at_most(f"{name}: calls on the invoice, not in the ledger", missing, _CLIENTS),
    ]


def _invoice(claude: str) -> tuple[int, int]:
    """Return calls and nanodollars of the simulated Claude's invoice."""
    with urllib.request.urlopen(f"{claude}/_simulated/invoice") as response:
        invoice = json.loads(response.read())
    return len(invoice["lines"]), invoice["total_nanodollars"]


def _recorded(url: str, key: str) -> tuple[int, int]:
    """Return requests and nanodollars of the ledger's report."""
    totals = Client(url, key).get("/v1/usage")["totals"]
    return totals["requests"], int(Decimal(totals["cost_usd"]) * 10**9)
