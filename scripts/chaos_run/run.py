"""One run, from the first start to the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.chaos_run import ending, schedule
from scripts.chaos_run.caller import ABANDONED_S
from scripts.chaos_run.checker import Limits, Violation, check, lost_at_failover
from scripts.chaos_run.history import History
from scripts.chaos_run.probes import Probes
from scripts.chaos_run.processes import DidNotStart
from scripts.chaos_run.rig import Rig
from scripts.chaos_run.strain import Strain
from scripts.chaos_run.traffic import Traffic

CALLERS = 6
READY_S = 30.0  # from the end of a fault until the server is ready again, on a quiet machine
STOP_S = 30.0  # streams have 25 s to end
PROBES = 25  # at each quiet moment
LAST_PROBES = 1_500
EVERY = 3  # faults of server and store from one quiet moment to the next


@dataclass(slots=True)
class Outcome:
    """Findings of a run."""

    seed: int
    seconds: float
    servers: int = 1
    scale: float = 1.0
    violations: list[Violation] = field(default_factory=list)
    history: History = field(default_factory=History)
    met: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    probes: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # at failovers, by what it was


class Run:
    """A rig under traffic and faults."""

    def __init__(
        self,
        outcome: Outcome,
        folder: Path,
        *,
        own_store: bool,
        servers: int = 1,
        clustered: bool = False,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        """`kinds` are the faults there may be, all by default."""
        self.outcome = outcome
        self._history = outcome.history
        self._own = own_store
        self._kinds = kinds
        self._rig = Rig(
            folder, outcome.history, seed=outcome.seed, count=servers, clustered=clustered
        )
        self._probes = Probes(self._rig, outcome.seed)
        self._tasks: list[asyncio.Task[None]] = []

    async def go(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                await self._set_up(stack)
                await self._storm()
                await self._end()
            except DidNotStart as content:
                self._note("did-not-start", str(content))
        self.outcome.skipped = self._rig.skipped
        self.outcome.scale = self._rig.scale
        self.outcome.probes = self._probes.count
        self.outcome.met = Counter(fault.kind for fault in self._history.faults)
        self.outcome.violations += check(self._history, Limits(scale=self._rig.scale))
        self.outcome.lost = lost_at_failover(self._history)

    def _note(self, kind: str, what: str) -> None:
        self.outcome.violations.append(Violation(kind, time.time(), what))

    async def _set_up(self, stack: AsyncExitStack) -> None:
        rig = self._rig
        if not await rig.start(stack, own_store=self._own, ready_s=READY_S):
            self._note("not-ready", "not ready in time after the first start")
        self._traffic = Traffic(
            rig.caller,
            rig.tenants,
            thrifty=rig.thrifty,
            seed=self.outcome.seed,
            callers=CALLERS,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _storm(self) -> None:
        rig, seed = self._rig, self.outcome.seed
        possible: tuple[str, ...] = schedule.HARD
        possible += schedule.SEVERAL if len(rig.servers) > 1 else ()
        possible += schedule.PRIMARY if rig.cluster is not None else ()
        kinds = self._kinds or (*possible, *schedule.UPSTREAM)
        hard = tuple(kind for kind in possible if kind in kinds and kind not in rig.skipped)
        upstream = tuple(kind for kind in schedule.UPSTREAM if kind in kinds)
        until = time.monotonic() + self.outcome.seconds
        self._spawn(self._traffic.run())
        self._spawn(Strain(rig.caller, rig.tenants[0], seed).run())
        if upstream:
            self._spawn(rig.faults.upstream_for_ever(schedule.upstream(seed, upstream)))
        self._traffic.resume()
        try:
            for number, planned in enumerate(schedule.hard(seed, hard) if hard else ()):
                if time.monotonic() + planned.wait_s > until:
                    break
                await asyncio.sleep(planned.wait_s)
                await self._one(planned)
                if number % EVERY == EVERY - 1:
                    async with self._quiet():
                        await self._works()
                        await self._probes.stored(PROBES)
            await asyncio.sleep(max(0.0, until - time.monotonic()))
            for task in self._tasks:
                if task.done():
                    task.result()
            # Cancelled halfway, a fault would leave Claude dead for the rest of the run.
            async with rig.faults.calm():
                await self._traffic.pause()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            rig.proxy.mode = ""
            rig.claude.resume()

    async def _one(self, planned: schedule.Planned) -> None:
        rig = self._rig
        for server in rig.servers:
            if server.pid is None:
                self._note("died", "a server ended by itself")
                await server.serve()
        took = await rig.faults.hard(planned)
        self._in_time(planned.kind, took)
        await self._be_ready(planned.kind)
        await rig.sample()

    def _in_time(self, what: str, took: float) -> None:
        if took > STOP_S * self._rig.scale:
            self._note("over-limit", f"{what}: an orderly end took {took:.1f} s")

    async def _be_ready(self, after: str) -> None:
        if not await self._rig.ready(READY_S * self._rig.scale):
            self._note("not-ready", f"not ready in time after {after}")

    async def _works(self) -> None:
        if (wrong := await self._probes.works()) is not None:
            self._note("stuck", wrong)

    @contextlib.asynccontextmanager
    async def _quiet(self) -> AsyncIterator[None]:
        """Hold a moment without faults and without traffic."""
        async with self._rig.faults.calm():
            await self._traffic.pause()
            await self._be_ready("a quiet moment began")
            await self._rig.sample()
            try:
                yield
            finally:
                self._traffic.resume()

    async def _end(self) -> None:
        rig = self._rig
        await self._be_ready("the storm")
        await asyncio.sleep(ABANDONED_S)
        self._traffic.end()
        await rig.sample()
        await self._works()
        await self._probes.stored(LAST_PROBES)
        self.outcome.batches = await ending.look(rig)
        await ending.books(rig)
        if (unnoticed := await ending.emptied(rig)) is not None:
            self._note("unnoticed", unnoticed)
        await ending.without_data(rig)
        self._in_time("the last end", await rig.end(signal.SIGTERM))


async def chaos(
    *,
    seed: int,
    seconds: float,
    own_store: bool,
    servers: int = 1,
    clustered: bool = False,
    kinds: tuple[str, ...] | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Run once. `keep` is where logs, data and the whole history stay; else they go."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        folder = keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = Outcome(seed, seconds, servers)
        run = Run(
            outcome,
            folder,
            own_store=own_store,
            servers=servers,
            clustered=clustered,
            kinds=kinds,
        )
        await run.go()
        if keep is not None:
            (folder / "history.json").write_text(json.dumps(asdict(outcome.history)))
        return outcome


__all__ = ["Outcome", "chaos"]
