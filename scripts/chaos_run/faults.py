"""Things that are made to go wrong, and right again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.chaos_run import disk, schedule
from scripts.chaos_run.cluster import ClusterStore
from scripts.chaos_run.history import Fault, History
from scripts.chaos_run.meanwhile import Meanwhile
from scripts.chaos_run.network import Network
from scripts.chaos_run.processes import Claude, OwnStore, Server
from scripts.chaos_run.proxy import Proxy
from scripts.chaos_run.schedule import Planned
from scripts.chaos_run.store_line import CUT, HOLD, SLOW, StoreLine

AT_MOST_AFTER_S = 0.3  # changes take so long while nothing fails

_DAMAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "zero-tail": disk.zero_tail,
    "torn-tail": disk.torn_tail,
    "damaged-snapshot": disk.damage_snapshot,
    "lost-snapshot": disk.lose_snapshot,
}


class Faults:
    """All that is made to fail, and when it was."""

    def __init__(
        self,
        history: History,
        *,
        servers: Sequence[Server],
        claude: Claude,
        proxy: Proxy,
        store: OwnStore | None,
        cluster: ClusterStore | None = None,
        lines: Sequence[StoreLine] = (),
        networks: Sequence[Network] = (),
        meanwhile: Meanwhile,
        seed: int,
    ) -> None:
        """`lines` are those of the servers to their store, in their order; so are `networks`.

        `meanwhile` makes changes while several servers meet a fault.
        """
        self._history = history
        self._servers = servers
        self._lines = lines
        self._networks = networks
        self._cluster = cluster
        self._meanwhile = meanwhile
        self._claude = claude
        self._proxy = proxy
        self._store = store
        self._draw = random.Random(f"faults {seed}")
        self._draw_server = random.Random(f"victims {seed}")
        self._calm = asyncio.Event()
        self._calm.set()
        self._upstream = asyncio.Lock()

    @asynccontextmanager
    async def _noted(self, kind: str, *servers: Server) -> AsyncIterator[None]:
        started, met = time.time(), tuple(each.number for each in servers if each.number)
        try:
            yield
        finally:
            self._history.faults.append(Fault(started, time.time(), kind, met))

    async def hard(self, planned: Planned) -> float:
        """One fault of a server or its store, from its beginning to its end.

        Returns how long an orderly end took, 0 where there was none. Raises `DidNotStart`.
        """
        server = self._draw_server.choice(self._servers)
        if planned.kind in schedule.SEVERAL:
            await self._several(planned, server)
            return 0.0
        if self._cluster is not None and planned.kind in schedule.PRIMARY:
            await self._primary(planned, self._cluster)
            return 0.0
        if planned.kind == "stop-server" and len(self._servers) > 1:
            async with self._met(planned.kind, server):
                await self._stopped(planned.for_s, server)
            return 0.0
        of_store = planned.kind in ("kill-store", "stop-store")
        async with self._noted(planned.kind, *(() if of_store else (server,))):
            match planned.kind:
                case "kill-server":
                    await server.end(signal.SIGKILL)
                    await asyncio.sleep(planned.for_s / 4)
                    await server.serve()
                case "stop-server":
                    await self._stopped(planned.for_s, server)
                case "kill-store":
                    await self._kill_store(planned.for_s)
                case "stop-store":
                    await self._stop_store(planned.for_s)
                case "slow-disk" | "full-disk":
                    with server.bad_disk(planned.kind[:4]):
                        await asyncio.sleep(planned.for_s)
                case "kill-slow":
                    # What was acknowledged while a sync was under way is what a kill could lose.
                    with server.bad_disk("slow"):
                        await asyncio.sleep(planned.for_s)
                        await self._kill_store(0)
                case _:
                    took = await server.end(signal.SIGTERM)
                    if planned.kind in _DAMAGE:
                        _DAMAGE[planned.kind](server.data, self._draw)
                    await server.serve()
                    return took
        return 0.0

    @asynccontextmanager
    async def _met(self, kind: str, *met: Server) -> AsyncIterator[None]:
        """Note a fault of some servers; others make changes as it begins, and they are asked."""
        others = [each for each in self._servers if each not in met]
        async with self._meanwhile.asking(met, others) as begin, self._noted(kind, *met):
            begin()
            yield

    async def _several(self, planned: Planned, server: Server) -> None:
        """One fault of servers that share a store, from its beginning to its end."""
        match planned.kind:
            case "drop-lines":
                async with self._all_met(planned.kind):
                    for line in self._lines:
                        line.drop()
            case "stop-others":
                others = [each for each in self._servers if each is not server]
                async with self._met(planned.kind, *others):
                    await self._stopped(planned.for_s, *others)
            case "stop-and-cut":
                # It comes to itself after its lease, and cannot ask the store what it missed.
                async with self._met(planned.kind, server), self._line(server, HOLD):
                    await self._stopped(planned.for_s, server)
                    await asyncio.sleep(planned.for_s)
            case "lapse-line":
                # Its connections live on. It renews its lease before it hears of changes.
                async with self._met(planned.kind, server), self._line(server, HOLD) as line:
                    await asyncio.sleep(schedule.LAPSES_S)
                    line.mode = SLOW
                    await asyncio.sleep(planned.for_s)
            case schedule.PARTITION:
                network = self._networks[self._servers.index(server)]
                async with self._met(planned.kind, server):
                    network.cut()
                    try:
                        await asyncio.sleep(planned.for_s)
                    finally:
                        network.mend()
            case kind:
                mode = kind.removesuffix("-line")
                async with self._met(kind, server), self._line(server, mode):
                    await asyncio.sleep(planned.for_s)

    @asynccontextmanager
    async def _all_met(self, kind: str) -> AsyncIterator[None]:
        """Note a fault of the store of all; changes are made as it begins, and all are asked."""
        servers = self._servers
        async with self._meanwhile.asking(servers, servers) as begin, self._noted(kind):
            begin()
            # As some changes are acknowledged, and others under way.
            await asyncio.sleep(self._draw.uniform(0, AT_MOST_AFTER_S))
            yield

    async def _primary(self, planned: Planned, cluster: ClusterStore) -> None:
        """One fault of the primary that has the servers' keys, from its beginning to its end."""
        async with self._all_met(planned.kind):
            match planned.kind:
                case "kill-primary":
                    await cluster.kill(planned.for_s)
                case "kill-behind":
                    await cluster.kill(planned.for_s, behind=True)
                case "stop-primary":
                    await cluster.stop(planned.for_s)
                case "hand-over":
                    await cluster.hand_over()
                case "cut-primary":
                    node = (await asyncio.to_thread(cluster.primary)).port
                    for line in self._lines:
                        line.switch(CUT, node)
                    await asyncio.sleep(planned.for_s)
                    for line in self._lines:
                        line.mode = ""

    @asynccontextmanager
    async def _line(self, server: Server, mode: str) -> AsyncIterator[StoreLine]:
        line = self._lines[self._servers.index(server)]
        line.mode = mode
        try:
            yield line
        finally:
            line.mode = ""

    async def _stopped(self, for_s: float, *servers: Server) -> None:
        for server in servers:
            server.hold()
        await asyncio.sleep(for_s)
        for server in servers:
            server.resume()

    async def _kill_store(self, for_s: float) -> None:
        if self._store is not None:
            await self._store.end(signal.SIGKILL)
            await asyncio.sleep(for_s)
            await self._store.serve()
        elif (pid := self._servers[0].store_pid) is not None:
            os.kill(pid, signal.SIGKILL)

    async def _stop_store(self, for_s: float) -> None:
        pid = self._store.pid if self._store is not None else self._servers[0].store_pid
        if pid is None:
            return
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(for_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def upstream_for_ever(self, plan: list[Planned]) -> None:
        """Faults of the simulated Claude and of the line to it, until cancelled."""
        for planned in plan:
            await asyncio.sleep(planned.wait_s)
            await self._calm.wait()
            async with self._upstream, self._noted(planned.kind):
                await self._one_upstream(planned)

    async def _one_upstream(self, planned: Planned) -> None:
        match planned.kind:
            case "kill-upstream":
                await self._claude.end(signal.SIGKILL)
                await asyncio.sleep(planned.for_s)
                self._proxy.port = await self._claude.serve()
            case "stop-upstream":
                self._claude.hold()
                try:
                    await asyncio.sleep(planned.for_s)
                finally:
                    self._claude.resume()
            case mode:
                self._proxy.mode, self._proxy.share = mode, planned.share
                try:
                    await asyncio.sleep(planned.for_s)
                finally:
                    self._proxy.mode = ""

    @asynccontextmanager
    async def calm(self) -> AsyncIterator[None]:
        """Hold back all faults for a while."""
        self._calm.clear()
        try:
            async with self._upstream:
                yield
        finally:
            self._calm.set()
