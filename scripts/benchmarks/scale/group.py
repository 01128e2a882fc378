"""Real servers on one Valkey and one simulated Claude, each a process on any core."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import redis

from cacheserver.config.settings import Settings
from scripts.benchmarks.processes.load import (
    EVERY_CORE,
    Server,
    announced,
    cpu_s,
    server,
    serving,
)
from scripts.benchmarks.processes.server import ADMIN_KEY
from scripts.benchmarks.processes.store_proxy import store
from tests.redis_clusters import redis8
from tests.redis_servers import serving as redis_serving

ENTRIES = 1_000
# The questions differ in nothing but a number: these two vetoes would refuse every hit.
_VETOES_OFF = ["numeric", "substitution"]
_PATIENCE_S = 30.0
_POLL_S = 0.01


@dataclass
class Group:
    """Servers that know of each other. `join` starts one more."""

    stack: contextlib.ExitStack
    store_url: str
    store_pid: int
    claude: str
    claude_pid: int
    sets_url: str | None = None  # of a Redis 8 that holds the vectors; None: each server does
    sets_pid: int | None = None
    servers: list[Server] = field(default_factory=list)
    clients: list[httpx2.Client] = field(default_factory=list)  # one for each server
    admin: list[httpx2.Client] = field(default_factory=list)

    def join(self, count: int) -> None:
        """Start servers until there are `count`, and wait until each knows of all."""
        while len(self.servers) < count:
            entries = 0 if self.servers else ENTRIES
            options = ["--bar", "1.0", "--off", "verification", "--redis", self.store_url]
            if self.sets_url is not None:
                options += ["--sets", self.sets_url]
            one = self.stack.enter_context(
                server(self.claude, entries, None, *options, core=EVERY_CORE)
            )
            self.servers.append(one)
            for made, key in ((self.clients, one.key), (self.admin, ADMIN_KEY)):
                client = httpx2.Client(base_url=one.url, headers={"x-api-key": key}, timeout=30)
                made.append(self.stack.enter_context(client))
        until = time.monotonic() + _PATIENCE_S
        while any(self._known(admin) != count for admin in self.admin):
            if time.monotonic() > until:
                raise RuntimeError(f"{count} servers do not know of each other")
            time.sleep(_POLL_S)

    def serve_above(self, similarity: float, *, every: bool = False) -> None:
        """Set the cosine that serves. `every`: another number in the question is no obstacle."""
        self._bar({"similarity": similarity, "vetoes_off": _VETOES_OFF if every else []})

    def serve_as_by_default(self) -> None:
        """Set the bar of a tenant of which nothing is set."""
        self._bar({"target": Settings.model_fields["target"].default, "vetoes_off": []})

    def _bar(self, bar: dict[str, Any]) -> None:
        path, bar = "/admin/v1/tenants/default", {**bar, "audit_share": 0}
        self.admin[0].put(path, json={"bar": bar}).raise_for_status()

    def calls(self) -> int:
        """Return how many calls are on Claude's invoice."""
        return len(httpx2.get(f"{self.claude}/_simulated/invoice").json()["lines"])

    def slow_down(self, calls: int, delay_s: float) -> None:
        """Let Claude take so long for each of the next calls."""
        fault = {"kind": "slow", "delay_s": delay_s, "times": calls}
        httpx2.post(f"{self.claude}/_simulated/faults", json=fault).raise_for_status()

    def cpu_s(self) -> tuple[list[float], float, float, float]:
        """Return CPU seconds so far of each server, the store, Claude, and what holds the vectors.

        The last is 0 where the servers do.
        """
        return (
            [cpu_s(one.pid) for one in self.servers],
            cpu_s(self.store_pid),
            cpu_s(self.claude_pid),
            0.0 if self.sets_pid is None else cpu_s(self.sets_pid),
        )

    @staticmethod
    def _known(admin: httpx2.Client) -> int:
        checks = admin.get("/admin/v1/health").json()["checks"]
        found: Any = next(one for one in checks if one["name"] == "servers")
        return len(found["facts"].get("servers", ()))


@contextlib.contextmanager
def group(*, sets: bool = False) -> Iterator[Group]:
    """A group without a server yet. `sets`: with the vectors in the vector sets of a Redis 8."""
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(store(core=EVERY_CORE))
        sets_url = stack.enter_context(redis_serving(redis8())) if sets else None
        command = ["-m", "cacheserver.cli", "simulate-claude", "--port", "0"]
        child = stack.enter_context(serving(command, {}, core=EVERY_CORE))
        url = announced(child)
        store_url = f"unix://{socket}"
        sets_pid = None if sets_url is None else _pid(sets_url)
        yield Group(stack, store_url, _pid(store_url), url, child.pid, sets_url, sets_pid)


def _pid(url: str) -> int:
    with redis.Redis.from_url(url) as asked:
        info: Any = asked.info("server")
    return int(info["process_id"])
