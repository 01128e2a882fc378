"""Gauges for Prometheus."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.process_collector import ProcessCollector

from cacheserver.observability.version import installed_version

STATES = ("within", "near", "reached")  # of budgets
BREAKER = ("closed", "half-open", "open")
VERIFICATION = ("stated", "measured", "off")
BOUNDS = ("low", "estimate", "high")  # of the share of wrong hits, 95%


class Gauges:
    """Gauges, some read at each scrape, some set once a minute."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, help: str, *labels: str) -> Gauge:
            return Gauge(f"cacheserver_{name}", help, labels, registry=registry)

        ProcessCollector(registry=registry)
        gauge("info", "Always 1; which version runs", "version").labels(installed_version()).set(1)
        self._ledger = gauge("ledger_waiting_rows", "Rows that are not in Redis yet")
        self._calls = gauge(
            "upstream_slots", "Calls to Claude in flight, and those that wait", "state"
        )
        self._breaker = gauge(
            "upstream_breaker", "The circuit breaker: 0 closed, 1 half-open, 2 open: not asked"
        )
        self._connections = gauge("connections", "Connections that are open")
        self._servers = gauge("servers", "Servers that share the store, this one included")
        self._lease = gauge("lease_held", "1 while this server may serve what is stored")
        self._work = gauge("work", "1 for work in the background that this server does", "work")
        gauge("tasks", "Tasks of the event loop: one that ever grows leaks").set_function(_tasks)
        self._unsynced = gauge(
            "store_unsynced_seconds",
            "The age of the oldest write that a power cut would lose, of our own store",
        )
        self._stored = gauge("stored_bytes", "What the stored answers take")
        self._sizes = gauge("store_bytes", "What each kind takes in Redis", "kind")
        self._limits = gauge("store_limit_bytes", "What it may take; +Inf: no limit", "kind")
        self._memory = gauge(
            "memory_bytes", "What is kept in memory: answers, requests, the index", "kind"
        )
        self._index = gauge("index_vectors", "Questions in the semantic index")
        self._scopes = gauge(
            "index_scopes", "Scopes of the index, in the memory of this process or not", "state"
        )
        self._embedder_left = gauge(
            "embedder_left_questions", "Stored questions that a change of the embedder has to read"
        )
        self._budgets = gauge("budgets", "Budgets with a limit, by how far they are used", "state")
        self._used = gauge(
            "budget_used_ratio",
            "Of the budget that is used most: spent over its limit",
            *("period", "unit"),
        )
        self._wrong = gauge(
            "wrong_hits_ratio",
            "The share of semantic hits that were wrong, by labels, and its 95% interval",
            "bound",
        )
        self._over = gauge(
            "wrong_hits_over_target_tenants",
            "Tenants whose wrong hits are above their target, by the interval's lower end",
        )
        self._verification = gauge(
            "verification_tenants",
            "Tenants by the error rates of their verification: stated, measured, or switched off",
            "state",
        )
        self.budgets({}, dict.fromkeys(STATES, 0))
        self.verification({})
        self.wrong_hits(None, over=0)

    def watch_ledger(self, waiting: Callable[[], int]) -> None:
        """Read `waiting` at each scrape."""
        self._ledger.set_function(waiting)

    def watch_upstream(
        self,
        *,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
        breaker: Callable[[], str],
    ) -> None:
        """Register gauges that are read at each scrape; `breaker` returns one of `BREAKER`."""
        self._calls.labels("in-flight").set_function(in_flight)
        self._calls.labels("waiting").set_function(waiting)
        self._breaker.set_function(lambda: BREAKER.index(breaker()))

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Read `count` at each scrape."""
        self._connections.set_function(count)

    def watch_servers(
        self,
        live: Callable[[], int],
        held: Callable[[], bool],
        work: Mapping[str, Callable[[], bool]],
    ) -> None:
        """Read at each scrape how many servers live, whether this one holds its lease, and which
        work in the background it does.
        """
        self._servers.set_function(live)
        self._lease.set_function(held)
        for name, is_done in work.items():
            self._work.labels(name).set_function(is_done)

    def watch_memory(self, kind: str, size: Callable[[], int]) -> None:
        """Read `size` at each scrape: bytes of answers or requests that are kept in memory."""
        self._memory.labels(kind).set_function(size)

    def watch_store(self, unsynced_s: Callable[[], float]) -> None:
        """Read `unsynced_s` at each scrape."""
        self._unsynced.set_function(unsynced_s)

    def stored(self, size: int) -> None:
        self._stored.set(size)

    def sizes(self, taken: Mapping[str, int], limits: Mapping[str, int | None]) -> None:
        """Set the bytes by kind, and the limit of each."""
        for kind, size in taken.items():
            self._sizes.labels(kind).set(size)
            limit = limits[kind]
            self._limits.labels(kind).set(math.inf if limit is None else limit)

    def embedder_left(self, questions: int) -> None:
        self._embedder_left.set(questions)

    def index(self, vectors: int, scopes: Mapping[str, int], size: int) -> None:
        """Set the questions in the index, its scopes by state, and its bytes in memory."""
        self._index.set(vectors)
        for state, count in scopes.items():
            self._scopes.labels(state).set(count)
        self._memory.labels("index").set(size)

    def budgets(self, used: dict[tuple[str, str], float], states: dict[str, int]) -> None:
        """Set the fullest budget by period and unit, and the number of budgets by state."""
        for period in ("day", "month"):
            for unit in ("usd", "tokens"):
                self._used.labels(period, unit).set(used.get((period, unit), 0.0))
        for state in STATES:
            self._budgets.labels(state).set(states[state])

    def wrong_hits(self, shares: tuple[float, float, float] | None, *, over: int) -> None:
        """Set the share of wrong hits, in the order of `BOUNDS`; None if there are no labels."""
        for bound, share in zip(BOUNDS, shares or (math.nan,) * 3, strict=True):
            self._wrong.labels(bound).set(share)
        self._over.set(over)

    def verification(self, tenants: Mapping[str, int]) -> None:
        """Set the numbers of tenants by state, of `VERIFICATION`."""
        for state in VERIFICATION:
            self._verification.labels(state).set(tenants.get(state, 0))


def _tasks() -> float:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked for outside of the loop
        return math.nan
