"""One run, from the first start to the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx2

from scripts.chaos_run import disk, schedule
from scripts.chaos_run.caller import (
    ABANDONED_S,
    ADMIN_KEY,
    GIVE_UP_S,
    HIT_LIMIT_S,
    MAX_WAIT_S,
    RETRY_WAIT_S,
    TIMEOUT_S,
    Caller,
    Tenant,
)
from scripts.chaos_run.checker import Limits, Violation, check
from scripts.chaos_run.faults import Faults
from scripts.chaos_run.history import Answered, Called, Charge, History, Sample
from scripts.chaos_run.processes import ROOT, Claude, DidNotStart, OwnStore, Server
from scripts.chaos_run.proxy import Proxy
from scripts.chaos_run.traffic import Traffic

TENANTS = ("one", "two", "three")
CALLERS = 6
READY_S = 30.0  # from the end of a fault until the server is ready again, on a quiet machine
STOP_S = 30.0  # streams have 25 s to end
# What an exact hit of one caller takes on a quiet machine, with room: 95 of 100.
QUIET_HIT_S = 0.03
MOST_SCALE = 10.0
PROBES = 25  # at each quiet moment
LAST_PROBES = 1_500
EVERY = 3  # faults of server and store from one quiet moment to the next


@dataclass(slots=True)
class Outcome:
    """What a run found."""

    seed: int
    seconds: float
    scale: float = 1.0
    violations: list[Violation] = field(default_factory=list)
    history: History = field(default_factory=History)
    sent: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    probes: int = 0


class Run:
    """Everything that is started for a run."""

    def __init__(
        self,
        *,
        seed: int,
        seconds: float,
        own_store: bool,
        folder: Path,
        kinds: tuple[str, ...] | None = None,
    ) -> None:
        self.outcome = Outcome(seed, seconds)
        self._history = self.outcome.history
        self._seconds = seconds
        self._seed = seed
        self._own = own_store
        self._folder = folder
        self._kinds = kinds
        self._lag_s = 0.0  # how long this process was kept from its work, in all
        self._draw = random.Random(f"probes {seed}")

    async def go(self) -> Outcome:
        async with AsyncExitStack() as stack:
            self._stack = stack
            self._keep_time(stack)
            try:
                await self._set_up(stack)
                await self._storm()
                await self._last()
            except DidNotStart as said:
                self._note("did-not-start", str(said))
            self.outcome.met = Counter(fault.kind for fault in self._history.faults)
            self.outcome.violations = [
                *self.outcome.violations,
                *check(self._history, Limits(scale=self.outcome.scale)),
            ]
        return self.outcome

    def _note(self, kind: str, what: str) -> None:
        self.outcome.violations.append(Violation(kind, time.time(), what))

    def _keep_time(self, stack: AsyncExitStack) -> None:
        async def tick() -> None:
            while True:
                started = time.time()
                await asyncio.sleep(0.05)
                self._lag_s += max(0.0, time.time() - started - 0.1)

        task = asyncio.create_task(tick())
        stack.callback(task.cancel)

    async def _set_up(self, stack: AsyncExitStack) -> None:
        shim = None
        if not self._own:
            shim = disk.shim(self._folder)
            if shim is None:
                reason = "no C compiler, or not Linux: a disk cannot be made slow or full"
                self.outcome.skipped |= dict.fromkeys(schedule.NEEDS_SHIM, reason)
        self._claude = Claude(self._folder)
        stack.push_async_callback(self._claude.end, signal.SIGKILL)
        self._proxy = Proxy(self._seed)
        self._proxy.port = await self._claude.serve()
        upstream = await stack.enter_async_context(self._proxy.url())
        settings = {
            "upstream": upstream,
            "anthropic_api_key": "sk-ant-of-the-run",
            "admin_key": ADMIN_KEY,
            "model_dir": str(ROOT / "var" / "model"),
            "similarity": "0.95",
            "timeout_s": str(TIMEOUT_S),
            "retry_wait_s": str(RETRY_WAIT_S),
            "max_wait_s": str(MAX_WAIT_S),
            "abandoned_s": str(ABANDONED_S),
        }
        store = None
        if self._own:
            store = OwnStore(self._folder)
            stack.push_async_callback(store.end, signal.SIGKILL)
            settings["redis_url"] = await store.serve()
            reason = "the store is not the server's own"
            self.outcome.skipped |= dict.fromkeys(schedule.EMBEDDED_ONLY, reason)
        self._server = Server(self._folder, settings, shim=shim)
        stack.push_async_callback(self._server.end, signal.SIGKILL)
        self._http = await stack.enter_async_context(
            httpx2.AsyncClient(timeout=GIVE_UP_S, limits=httpx2.Limits(max_connections=200))
        )
        await self._server.serve()
        await self._be_ready("start")
        self._faults = Faults(
            self._history,
            server=self._server,
            claude=self._claude,
            proxy=self._proxy,
            store=store,
            seed=self._seed,
        )
        self._caller = Caller(
            self._http,
            self._history,
            url=lambda: self._server.url,
            lost_s=lambda: self._server.lost_s + self._lag_s,
        )
        tenants = [await self._tenant(name) for name in TENANTS]
        openapi = (await self._http.get(f"{self._server.url}/openapi.json")).json()
        erases = "/v1/erase" in openapi["paths"]
        if not erases:
            self.outcome.skipped["erase"] = "this server has no `/v1/erase`"
        self._traffic = Traffic(self._caller, tenants, self._seed, callers=CALLERS, erases=erases)
        self.outcome.scale = await self._calibrate(tenants[0])

    async def _tenant(self, name: str) -> Tenant:
        made = await self._caller.create_key(name)
        assert made is not None, "the first key could not be made"
        rules = {"stale_s": 30, "batching": {"flush_age_s": 1}}
        await self._caller.call("PUT", f"/admin/tenants/{name}", body=rules)
        return made

    async def _calibrate(self, tenant: Tenant) -> float:
        """Return how much slower exact hits are here than on a quiet machine, 1 or more."""
        took = []
        for _ in range(60):
            event = await self._caller.ask(tenant, "default", "What is the scale of this machine")
            took.append(event.end - event.start)
        return min(MOST_SCALE, max(1.0, sorted(took[1:])[-3] / QUIET_HIT_S))

    async def _storm(self) -> None:
        kinds = self._kinds or schedule.HARD
        hard = [kind for kind in schedule.HARD if kind in kinds]
        hard = [kind for kind in hard if kind not in self.outcome.skipped]
        upstream = tuple(kind for kind in schedule.UPSTREAM if not self._kinds or kind in kinds)
        until = time.monotonic() + self._seconds
        tasks = [asyncio.create_task(self._traffic.run())]
        if upstream:
            plan = schedule.upstream(self._seed, upstream)
            tasks.append(asyncio.create_task(self._faults.upstream_for_ever(plan)))
        self._traffic.resume()
        try:
            for number, planned in enumerate(
                schedule.hard(self._seed, tuple(hard)) if hard else ()
            ):
                if time.monotonic() + planned.wait_s > until:
                    break
                await asyncio.sleep(planned.wait_s)
                await self._one(planned)
                if number % EVERY == EVERY - 1:
                    async with self._quiet():
                        await self._probe(PROBES)
            await asyncio.sleep(max(0.0, until - time.monotonic()))
            for task in tasks:
                if task.done():
                    task.result()
            await self._traffic.pause()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._proxy.mode = ""
            self._claude.resume()

    async def _one(self, planned: schedule.Planned) -> None:
        if self._server.pid is None:
            self._note("died", "the server ended by itself")
            await self._server.serve()
        took = await self._faults.hard(planned)
        if took > STOP_S * self.outcome.scale:
            self._note("over-limit", f"{planned.kind}: an orderly end took {took:.1f} s")
        await self._be_ready(planned.kind)
        await self._sample()

    async def _be_ready(self, after: str) -> None:
        took = await self._server.ready(self._http, READY_S * self.outcome.scale)
        if took is None:
            self._note("not-ready", f"not ready in time after {after}")

    @contextlib.asynccontextmanager
    async def _quiet(self) -> AsyncIterator[None]:
        """A moment without faults and without traffic."""
        async with self._faults.calm():
            await self._traffic.pause()
            await self._be_ready("a quiet moment began")
            await self._sample()
            try:
                yield
            finally:
                self._traffic.resume()

    async def _sample(self) -> None:
        used = self._server.used()
        if used is None:
            return
        tasks = None
        with contextlib.suppress(httpx2.HTTPError):
            head = {"x-api-key": ADMIN_KEY}
            page = (await self._http.get(f"{self._server.url}/metrics", headers=head)).text
            if (found := re.search(r"^cacheserver_tasks (\S+)", page, re.MULTILINE)) is not None:
                tasks = int(float(found[1]))
        self._history.samples.append(Sample(time.time(), self._server.lives, *used, tasks))

    async def _probe(self, count: int) -> None:
        """Ask for what was acknowledged, of that the latest and some others."""
        stored: dict[tuple[str, str, str], Answered] = {}
        for event in self._history.answered:
            if event.stored:
                stored[event.tenant, event.namespace, event.question] = event
        latest = list(stored.values())[-count // 2 :]
        rest = [event for event in stored.values() if event not in latest]
        chosen = latest + self._draw.sample(rest, min(len(rest), count - len(latest)))
        keys = {tenant.name: tenant for tenant in self._traffic.tenants}
        gate = asyncio.Semaphore(CALLERS)

        async def one(event: Answered) -> None:
            async with gate:
                self.outcome.probes += 1
                for last in (*[False] * 9, True):
                    got = await self._caller.ask(
                        keys[event.tenant],
                        event.namespace,
                        event.question,
                        control="only-if-cached",
                        limit_s=HIT_LIMIT_S,
                        probe=True,
                    )
                    if last or got.outcome == "exact":
                        return
                    # A store that hangs for a moment is no loss: what is lost stays so.
                    self._history.answered.remove(got)
                    await asyncio.sleep(0.5)

        await asyncio.gather(*(one(event) for event in chosen))

    async def _last(self) -> None:
        await self._be_ready("the storm")
        await asyncio.sleep(ABANDONED_S)
        self._traffic.end()
        await self._sample()
        await self._probe(LAST_PROBES)
        await self._look_at_batches()
        self.outcome.sent = self._traffic.sent
        await self._books()
        took = await self._server.end(signal.SIGTERM)
        if took > STOP_S * self.outcome.scale:
            self._note("over-limit", f"the last end took {took:.1f} s")

    async def _look_at_batches(self) -> None:
        """A batch that was taken is there, whatever happened since."""
        for tenant, id in self._traffic.batches:
            got = await self._caller.call(
                "GET",
                f"/v1/messages/batches/{id}",
                key=tenant.key,
                what="GET /v1/messages/batches/ID",
            )
            if got is None or got.status_code != 200:
                status = "no answer" if got is None else got.status_code
                self._note("lost", f"batch {id} of {tenant.name} was acknowledged: {status}")
            else:
                self.outcome.batches[got.json()["processing_status"]] += 1

    async def _books(self) -> None:
        async def rows() -> list[dict[str, object]]:
            url = f"{self._server.url}/v1/usage/export?format=jsonl"
            got = await self._http.get(url, headers={"x-api-key": ADMIN_KEY})
            got.raise_for_status()
            return [json.loads(line) for line in got.text.splitlines()]

        self._history.rows = await rows()
        lines = self._claude.journal.read_text().splitlines()
        self._history.invoice = [Charge(*json.loads(line)) for line in lines]


async def chaos(
    *,
    seed: int,
    seconds: float,
    own_store: bool,
    kinds: tuple[str, ...] | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Run once. `keep` is where logs, data and the whole history stay; else they go."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        folder = keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(seed=seed, seconds=seconds, own_store=own_store, folder=folder, kinds=kinds)
        outcome = await run.go()
        if keep is not None:
            shown = json.dumps(asdict(outcome.history))
            (folder / "history.json").write_text(shown)
        return outcome


__all__ = ["Called", "Outcome", "chaos"]
