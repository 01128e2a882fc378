"""Requests a second of several servers on the cores of this machine, and the CPU of each process.

Load, servers, store and simulated Claude share the cores, so the figures say what a request costs
in all and what more servers add to that, not what a machine of its own for each would serve.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from scripts.benchmarks.hits import TEMPLATE as STORED
from scripts.benchmarks.processes.client import Client
from scripts.benchmarks.processes.load import EVERY_CORE, wrk_figures, wrk_started
from scripts.benchmarks.processes.server import body, question
from scripts.benchmarks.rows import row
from scripts.benchmarks.scale.group import ENTRIES, Group
from scripts.benchmarks.units import ASKED, FIRST
from scripts.benchmarks.units import TEMPLATE as NEW

CLIENTS = 32  # in all, so that more servers are not more load
_APART = 1_000_000  # questions of one load: none is asked twice
_WARM = 20
# The similarity that serves, and whether every question then passes.
_BARS = {"exact": (1.0, False), "semantic": (0.3, True), "miss": (1.0, False)}


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU of one request, in microseconds: `server_us` of all servers together."""

    server_us: float
    store_us: float
    load_us: float
    claude_us: float
    other_us: float  # of each server that was not asked
    index_us: float = 0.0  # of what holds the vectors, where the servers do not


class Throughput:
    """Loads of one group after the other; no question is asked twice."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = FIRST

    def measure(self, group: Group, kind: str, *, asked: int | None = None) -> dict[str, Any]:
        """Load a group with requests of one kind. `asked`: only so many of its servers."""
        of = group.servers[:asked]
        similarity, every = _BARS[kind]
        group.serve_above(similarity, every=every)
        for one in of:
            self._warm(Client(one.url, one.key, kind), kind)
        calls, before, load_before = group.calls(), group.cpu_s(), _children_s()
        with contextlib.ExitStack() as stack:
            children = [
                stack.enter_context(
                    wrk_started(
                        one,
                        "/v1/messages",
                        STORED if kind == "exact" else NEW,
                        clients=CLIENTS // len(of),
                        seconds=self._seconds,
                        first=0 if kind == "exact" else self._apart(),
                        count=ENTRIES if kind == "exact" else _APART,
                        core=EVERY_CORE,
                    )
                )
                for one in of
            ]
            figures = [wrk_figures(child) for child in children]
        load = _children_s() - load_before
        after = group.cpu_s()
        requests = sum(one["requests"] for one in figures)
        # Calls of requests that were under way at the end are on the invoice too.
        expected = requests if kind == "miss" else 0
        if abs(group.calls() - calls - expected) > CLIENTS + 0.05 * expected:
            raise RuntimeError(f"{group.calls() - calls} calls for {requests} requests ({kind})")
        servers = [now - then for now, then in zip(after[0], before[0], strict=True)]
        idle = servers[len(of) :]
        each = 1e6 / requests
        costs = Costs(
            server_us=sum(servers[: len(of)]) * each,
            store_us=(after[1] - before[1]) * each,
            load_us=load * each,
            claude_us=(after[2] - before[2]) * each,
            other_us=statistics.mean(idle) * each if idle else 0.0,
            index_us=(after[3] - before[3]) * each,
        )
        per_s = sum(one["requests"] / one["seconds"] for one in figures)
        name = {"exact": "exact hits", "semantic": "semantic hits", "miss": "misses"}[kind]
        shown = f", all at one of {len(group.servers)}" if idle else ""
        if group.sets_url is not None:
            shown += ", vector sets"
        return {
            **row(f"{name}, servers: {len(of)}{shown}", per_s, "/s"),
            "kind": kind,
            "servers": len(of),
            "all": len(group.servers),
            "index": "faiss" if group.sets_url is None else "vector-sets",
            "p50_ms": statistics.median(one["p50_ms"] for one in figures),
            "costs": asdict(costs),
        }

    def _warm(self, client: Client, kind: str) -> None:
        """Ask some questions; raises `RuntimeError` if they are not answered as they should be."""
        first = self._apart()
        for n in range(_WARM):
            text = question(n) if kind == "exact" else ASKED.replace("@", str(first + n))
            client.ask(body(text))

    def _apart(self) -> int:
        self._next += _APART
        return self._next


def _children_s() -> float:
    """Return CPU seconds of the children that have ended: the loads."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def details(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what explains a load's row."""
    names = {
        "server_us": "CPU of the servers, each request",
        "store_us": "CPU of the store",
        "load_us": "CPU of the load",
        "claude_us": "CPU of the simulated Claude",
        "other_us": "CPU of each server that was not asked",
        "index_us": "CPU of the Redis with the vectors",
    }
    return [
        row("  p50", found["p50_ms"], "ms"),
        *(
            row(f"  {names[name]}", value, "us")
            for name, value in found["costs"].items()
            if round(value, 1)
        ),
    ]
