"""Everything that is started for a run."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx2

from scripts.chaos_run import disk, schedule
from scripts.chaos_run.caller import (
    ABANDONED_S,
    ADMIN_KEY,
    GIVE_UP_S,
    MAX_WAIT_S,
    RETRY_WAIT_S,
    TIMEOUT_S,
    Tenant,
)
from scripts.chaos_run.cluster import ClusterStore
from scripts.chaos_run.faults import Faults
from scripts.chaos_run.history import History, Sample
from scripts.chaos_run.meanwhile import Meanwhile
from scripts.chaos_run.network import Network, NoNamespaces, networks
from scripts.chaos_run.operator import Operator
from scripts.chaos_run.processes import ROOT, Claude, OwnStore, Server
from scripts.chaos_run.proxy import Proxy
from scripts.chaos_run.store_line import Store, StoreLine
from tests.redis_clusters import HOST

TENANTS = ("one", "two", "three")
THRIFTY = "thrifty"
APART = "apart"
THRIFTY_USD = 0.0001  # six answers: a minute of traffic has more
# Few, so that calls that hold one for long are soon in everybody's way.
SLOTS = 8
# What an exact hit of one caller takes on a quiet machine, with room: 95 of 100.
QUIET_HIT_S = 0.03
MOST_SCALE = 10.0


class Rig:
    """The servers, their store, the simulated Claude, the lines between them, and who asks."""

    tenants: list[Tenant]
    thrifty: Tenant
    apart: Tenant  # of the changes that are made while a fault is on
    servers: list[Server]
    claude: Claude
    proxy: Proxy
    store: OwnStore | None = None
    cluster: ClusterStore | None = None
    faults: Faults
    caller: Operator
    http: httpx2.AsyncClient

    def __init__(
        self,
        folder: Path,
        history: History,
        *,
        seed: int,
        count: int = 1,
        clustered: bool = False,
    ) -> None:
        """`count` servers; several share one store that is none of theirs, or a cluster."""
        self.history = history
        self._clustered = clustered
        self.networks: list[Network] = []  # of the servers, in their order; none: this machine's
        self._count = count
        self.skipped: dict[str, str] = {}
        self.scale = 1.0
        self._folder = folder
        self._seed = seed
        self._lag_s = 0.0  # how long this process was kept from its work, in all

    async def start(self, stack: AsyncExitStack, *, own_store: bool, ready_s: float) -> bool:
        """Start all; False where the server was not ready in time. Raises `DidNotStart`."""
        self._keep_time(stack)
        self.claude = Claude(self._folder)
        stack.push_async_callback(self.claude.end, signal.SIGKILL)
        self.proxy = Proxy(self._seed)
        self.history.passed = self.proxy.passed
        self.proxy.port = await self.claude.serve()
        settings = _settings(await stack.enter_async_context(self.proxy.url()))
        stores = await self._start_store(stack, own=own_store)
        lines: list[StoreLine] = []
        if self._count > 1:
            lines = await self._start_lines(stack, stores, settings)
        elif self.store is not None:
            self.servers = [Server(self._folder, settings | {"redis_url": self.store.url})]
        else:
            shim = disk.shim(self._folder)
            if shim is None:
                reason = "no C compiler, or not Linux: a disk cannot be made slow or full"
                self.skipped |= dict.fromkeys(schedule.NEEDS_SHIM, reason)
            self.servers = [Server(self._folder, settings, shim=shim)]
        for server in self.servers:
            stack.push_async_callback(server.end, signal.SIGKILL)
        limits = httpx2.Limits(max_connections=200)
        http = httpx2.AsyncClient(timeout=GIVE_UP_S, limits=limits)
        self.http = await stack.enter_async_context(http)
        await self.serve()
        ready = await self.ready(ready_s * self._count)
        self.caller = Operator(
            self.http, self.history, self.servers, seed=self._seed, lag_s=lambda: self._lag_s
        )
        rules = {"stale_s": 30, "batching": {"flush_age_s": 1}}
        self.tenants = [await self._tenant(name, rules) for name in TENANTS]
        limit = {"daily": {"usd": THRIFTY_USD}, "at_limit": "refuse", "store_away": "closed"}
        self.thrifty = await self._tenant(THRIFTY, {"budgets": limit})
        self.history.budgets[THRIFTY] = round(THRIFTY_USD * 10**9)
        self.apart = await self._tenant(APART, rules)
        self.faults = Faults(
            self.history,
            servers=self.servers,
            claude=self.claude,
            proxy=self.proxy,
            store=self.store,
            cluster=self.cluster,
            lines=lines,
            networks=self.networks,
            meanwhile=Meanwhile(self.caller, self.apart, seed=self._seed),
            seed=self._seed,
        )
        self.scale = await self._calibrate(self.tenants[0])
        return ready

    async def _start_store(self, stack: AsyncExitStack, *, own: bool) -> list[Store]:
        """Start a store that is none of the servers', if there is to be one; where it listens."""
        stores: list[Store] = []
        if self._clustered:
            nodes = stack.enter_context(ExitStack())
            self.cluster = ClusterStore(self.history, nodes)
            stack.callback(asyncio.create_task(self.cluster.watch()).cancel)
            stores += self.cluster.ports
            reason = "the store is a cluster: its primary is killed and stopped"
            self.skipped |= dict.fromkeys(schedule.SINGLE_STORE, reason)
        elif own or self._count > 1:
            self.store = OwnStore(self._folder)
            stack.push_async_callback(self.store.end, signal.SIGKILL)
            await self.store.serve()
            stores.append(self.store.socket)
        if stores:
            reason = "the store is not the server's own"
            self.skipped |= dict.fromkeys(schedule.EMBEDDED_ONLY, reason)
        return stores

    async def _start_lines(
        self, stack: AsyncExitStack, stores: Sequence[Store], settings: Mapping[str, str]
    ) -> list[StoreLine]:
        """Prepare several servers; return the line of each to the store.

        Each runs in a network namespace where there can be some.
        """
        self.servers, lines = [], []
        try:
            self.networks += networks(self._count, stack.enter_context(ExitStack()))
        except NoNamespaces as error:
            reason = f"no network namespaces, so lines are cut by a proxy only: {error}"
            self.skipped[schedule.PARTITION] = reason
        for number in range(1, self._count + 1):
            network = self.networks[number - 1] if self.networks else None
            host, own = HOST, dict(settings)
            if network is not None:
                host = network.store
                own["upstream"] = settings["upstream"].replace(HOST, network.claude)
            line = StoreLine(*stores, seed=self._seed + number, host=host)
            own["redis_url"] = await stack.enter_async_context(line.url())
            folder = self._folder / f"server-{number}"
            self.servers.append(Server(folder, own, number=number, network=network))
            lines.append(line)
        if self.networks:
            await self.servers[0].create_key(TENANTS[0])
        return lines

    @property
    def everyone(self) -> list[Tenant]:
        """Return all tenants."""
        return [*self.tenants, self.thrifty, self.apart]

    async def serve(self) -> None:
        """Start every server, side by side. Raises `DidNotStart`."""
        await asyncio.gather(*(server.serve() for server in self.servers))

    async def end(self, how: signal.Signals) -> float:
        """End every server; return how long the slowest took."""
        return max(await asyncio.gather(*(server.end(how) for server in self.servers)))

    async def ready(self, within_s: float) -> bool:
        """Wait until every server is ready; return whether that was in time."""
        took = await asyncio.gather(*(each.ready(self.http, within_s) for each in self.servers))
        return None not in took

    def _keep_time(self, stack: AsyncExitStack) -> None:
        async def tick() -> None:
            while True:
                started = time.time()
                await asyncio.sleep(0.05)
                self._lag_s += max(0.0, time.time() - started - 0.1)

        stack.callback(asyncio.create_task(tick()).cancel)

    async def _tenant(self, name: str, rules: Mapping[str, object]) -> Tenant:
        made = await self.caller.create_key(name)
        assert made is not None, "a first key could not be made"
        path, right = f"/admin/v1/tenants/{name}", frozenset({200})
        await self.caller.call("PUT", path, body=rules, right=right)
        return made

    async def _calibrate(self, tenant: Tenant) -> float:
        """Return how much slower exact hits are here than on a quiet machine, 1 or more."""
        took = []
        for _ in range(60):
            event = await self.caller.ask(tenant, "default", "What is the scale of this machine")
            took.append(event.end - event.start)
        return min(MOST_SCALE, max(1.0, sorted(took[1:])[-3] / QUIET_HIT_S))

    async def sample(self) -> None:
        """Note what each server takes now."""
        for server in self.servers:
            used = server.used()
            if used is not None:
                tasks = await self.gauge(server, r"^cacheserver_tasks (\S+)")
                number = None if tasks is None else int(tasks)
                life = (server.number, server.lives)
                self.history.samples.append(Sample(time.time(), life, *used, number))

    async def gauge(self, server: Server, line: str) -> float | None:
        """The number in a line of a server's metrics; None where there is none."""
        with contextlib.suppress(httpx2.HTTPError):
            head = {"x-api-key": ADMIN_KEY}
            page = (await self.http.get(f"{server.url}/metrics", headers=head)).text
            if (found := re.search(line, page, re.MULTILINE)) is not None:
                return float(found[1])
        return None


def _settings(upstream: str) -> dict[str, str]:
    return {
        "upstream": upstream,
        "anthropic_api_key": "sk-ant-of-the-run",
        "admin_key": ADMIN_KEY,
        "model_dir": str(ROOT / "var" / "model"),
        "similarity": "0.95",
        "timeout_s": str(TIMEOUT_S),
        "retry_wait_s": str(RETRY_WAIT_S),
        "max_wait_s": str(MAX_WAIT_S),
        "abandoned_s": str(ABANDONED_S),
        "max_concurrent": str(SLOTS),
    }
