"""1, 2 and 4 servers over one Valkey, each a process, on the cores of this machine."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from scripts.benchmarks.embed import p50_ms
from scripts.benchmarks.processes.load import (
    EVERY_CORE,
    SERVER_CORE,
    pinned,
    wrk_figures,
    wrk_started,
)
from scripts.benchmarks.rows import row
from scripts.benchmarks.run import Run
from scripts.benchmarks.scale import bursts, changes, killed, steps
from scripts.benchmarks.scale.group import Group, group
from scripts.benchmarks.scale.throughput import Throughput, details
from scripts.benchmarks.units import ASKED, FIRST, TEMPLATE

SERVERS = (1, 2, 4)
KINDS = ("exact", "semantic", "miss")
_STORED, _STORED_UNDER_LOAD = 300, 100
_LOAD_CLIENTS = 4
_LOAD_S = 60  # longer than what is measured under it takes


def measure(run: Run) -> list[dict[str, Any]]:
    """Measure several servers, unless figures are given; and simulate them and more if asked to."""
    rows = _measured(run) if run.figures is None else run.figures
    if not run.simulate:
        return rows
    return [*(rows if run.figures is None else ()), *steps.checked(rows), *steps.carried(rows)]


def _measured(run: Run) -> list[dict[str, Any]]:
    """Measure several servers. What the simulation reads is in the rows, beside their values."""
    texts = (ASKED.replace("@", str(FIRST - number)) for number in range(1, FIRST))
    rows = [row("one embedding, p50", p50_ms(texts, max(1, run.seconds / 2), SERVER_CORE), "ms")]
    rows[0] |= {"kind": "embedding", "cores": os.cpu_count()}
    loads = Throughput(run.seconds)
    with pinned(), group() as servers:
        for count in SERVERS:
            servers.join(count)
            for kind in KINDS:
                found = loads.measure(servers, kind)
                rows += [found, *details(found)]
            if count == 2:
                found = loads.measure(servers, "miss", asked=1)
                rows += [found, *details(found)]
                rows += _visible(servers, _STORED)[0]
        rows += _changes(servers)
        rows += bursts.measure(servers)
        rows += killed.measure(servers)
    with pinned(), group(sets=True) as servers:
        servers.join(2)
        for kind in ("semantic", "miss"):
            found = loads.measure(servers, kind, asked=1)
            rows += [found, *details(found)]
    return rows


def _visible(
    servers: Group, count: int, under: str = ""
) -> tuple[list[dict[str, Any]], list[changes.Stored]]:
    servers.serve_above(0.3, every=True)
    first = len(servers.servers) * 10_000 + (5_000 if under else 0)  # scopes of their own
    return changes.visibility(servers, count, first=first, under=under)


def _changes(servers: Group) -> list[dict[str, Any]]:
    rows, stored = _visible(servers, _STORED)
    rows += changes.acknowledged(servers, stored)
    servers.serve_above(0.3, every=True)
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(
                wrk_started(
                    one,
                    "/v1/messages",
                    TEMPLATE,
                    clients=_LOAD_CLIENTS,
                    seconds=_LOAD_S,
                    first=FIRST * (10 + n),
                    count=FIRST,
                    core=EVERY_CORE,
                )
            )
            for n, one in enumerate(servers.servers)
        ]
        rows += _visible(servers, _STORED_UNDER_LOAD, under=", under load")[0]
        if any(child.poll() is not None for child in children):
            raise RuntimeError(f"the load ended early: {[wrk_figures(one) for one in children]}")
    return rows
