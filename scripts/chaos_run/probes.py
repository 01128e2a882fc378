"""Questions that are asked while nothing fails."""

from __future__ import annotations

import asyncio
import random
import time

from scripts.chaos_run.caller import HIT_LIMIT_S
from scripts.chaos_run.history import TALK, Exchange
from scripts.chaos_run.rig import SLOTS, Rig
from scripts.chaos_run.traffic import PLACES, SPELLINGS

TRIES = 10  # half a second apart: a store that hangs for a moment loses nothing
AT_ONCE = 6
# A circuit breaker that saw several outages in a row stays open for up to a minute.
COMES_BACK_S = 70.0
LEAVES_S = 0.5
SEEN_S = 5.0  # a server hears of another's answer in milliseconds; a busy machine has its stalls
OTHERS_S = 3.0  # a miss, after other callers left theirs: less than Claude may take


class Probes:
    """Asks, and counts."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.count = 0
        self._rig = rig
        self._draw = random.Random(f"probes {seed}")
        self._new = 0

    async def stored(self, most: int) -> None:
        """Ask for what was acknowledged: of that the latest and some others."""
        pending = self._chosen(most)
        self.count += len(pending)
        tenants = {tenant.name: tenant for tenant in self._rig.everyone}
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(event: Exchange) -> Exchange:
            async with gate:
                return await self._rig.caller.ask(
                    tenants[event.tenant],
                    event.namespace,
                    event.question,
                    control="only-if-cached",
                    limit_s=HIT_LIMIT_S,
                    probe=True,
                )

        for left in reversed(range(TRIES)):
            got = await asyncio.gather(*(one(event) for event in pending))
            missed = {id(each) for each in got if each.outcome != "exact"}
            if not missed or not left:
                return
            # What is lost stays so, and is asked for again.
            exchanges = self._rig.history.exchanges
            exchanges[:] = [each for each in exchanges if id(each) not in missed]
            pending = [e for e, each in zip(pending, got, strict=True) if id(each) in missed]
            await asyncio.sleep(0.5)

    def _chosen(self, most: int) -> list[Exchange]:
        latest: dict[tuple[str, str, str], Exchange] = {}
        for event in self._rig.history.exchanges:
            if event.stored and event.namespace != TALK:
                latest[event.tenant, event.namespace, event.question] = event
        events, half = list(latest.values()), most // 2
        rest = events[:-half]
        return events[-half:] + self._draw.sample(rest, min(len(rest), most - half))

    async def works(self) -> str | None:
        """Ask something new for every tenant until it is answered; a sentence if it is not."""
        until = time.monotonic() + COMES_BACK_S * self._rig.scale
        for tenant in self._rig.tenants:
            while True:
                self._new += 1
                question = f"What is news number {self._new}"
                got = await self._rig.caller.ask(tenant, "default", question)
                if got.status == 200:
                    break
                if time.monotonic() > until:
                    return f"{tenant.name} gets {got.status} {got.reason} though nothing fails"
                await asyncio.sleep(0.5)
        return await self._seen_by_all() or await self._after_others()

    async def _seen_by_all(self) -> str | None:
        """Have one server answer a question, and ask each in other words until it has a hit."""
        servers = self._rig.servers
        if len(servers) == 1:
            return None
        tenant, first = self._rig.tenants[0], self._draw.choice(servers)
        self._new += 1
        namespace, place = f"seen-{self._new}", self._draw.choice(PLACES)
        ask, (one, other) = self._rig.caller.ask, SPELLINGS
        got = await ask(tenant, namespace, one.format(place), at=first)
        until = time.monotonic() + SEEN_S * self._rig.scale
        for server in servers:
            while True:
                got = await ask(
                    tenant,
                    namespace,
                    other.format(place),
                    control="only-if-cached",
                    limit_s=HIT_LIMIT_S,
                    at=server,
                )
                if got.outcome == "semantic":
                    break
                if time.monotonic() > until:
                    return (
                        f"server {server.number} does not find by similarity what server "
                        f"{first.number} stored {SEEN_S:.0f} s ago: {got.status} {got.reason}"
                    )
                await asyncio.sleep(0.02)
        return None

    async def _after_others(self) -> str | None:
        """Have a tenant's callers leave while Claude says nothing; another's question after it."""
        rig = self._rig
        left, other = rig.tenants[-1], rig.tenants[0]
        rig.proxy.mode, rig.proxy.share = "hang", 1.0
        try:
            leaving = (
                rig.caller.leave(left, "What is hanging", LEAVES_S) for _ in range(2 * SLOTS)
            )
            await asyncio.gather(*leaving)
        finally:
            rig.proxy.mode = ""
        self._new += 1
        question = f"What is news number {self._new}"
        got = await rig.caller.ask(other, "default", question, limit_s=OTHERS_S)
        if got.status == 529:
            return f"{other.name} waits for calls that callers of {left.name} have left"
        return None
