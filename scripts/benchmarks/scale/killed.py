"""A server that is killed under load, as callers who retry elsewhere see it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

from scripts.benchmarks.processes.server import body, question
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.scale.caller import Answer, Caller
from scripts.benchmarks.scale.group import ENTRIES, Group

_CALLERS = 32
_BEFORE_S, _AFTER_S = 1.5, 3.0


@dataclass
class _Seen:
    answers: int = 0
    retried: list[float] = field(default_factory=list)  # when, of requests cut or refused
    bad: list[Answer] = field(default_factory=list)  # neither 200 nor a hit
    longest_s: float = 0.0  # of an answer after the kill, its retry included
    purge_s: float = 0.0


def measure(group: Group) -> list[dict[str, Any]]:
    """Kill the last server (`kill -9`) under load. It is gone from the group's processes then."""
    group.serve_above(1.0)
    seen, killed_at = asyncio.run(_load(group))
    what = f"kill -9 of one of {len(group.servers)} servers under load"
    lost = [at - killed_at for at in seen.retried]
    return [
        at_most(f"{what}: answers that were no hit, or no 200, after a retry", len(seen.bad), 0),
        row("  answers", seen.answers),
        row("  requests that were cut, asked again elsewhere", len(seen.retried)),
        row("  the last of them after the kill", max(lost, default=0.0) * 1e3, "ms"),
        row("  longest answer after the kill, with its retry", seen.longest_s * 1e3, "ms"),
        # The dead server's lease must lapse: nobody knows that it serves nothing.
        at_most(f"{what}: the first purge after it is acknowledged in", seen.purge_s, 2, "s"),
    ]


async def _load(group: Group) -> tuple[_Seen, float]:
    seen, numbers = _Seen(), itertools.count()
    victim, ends_at, killed_at = group.servers[-1], float("inf"), float("inf")

    async def caller(place: int) -> None:
        connected: Caller | None = None
        while (began := time.perf_counter()) < ends_at:
            asked = body(question(next(numbers) % ENTRIES))
            while True:
                try:
                    if connected is None:
                        connected = Caller(group.servers[place % len(group.servers)])
                        await connected.open()
                    answer = await connected.ask(asked)
                except (OSError, asyncio.IncompleteReadError):
                    seen.retried.append(time.perf_counter())
                    connected, place = None, place + 1
                else:
                    break
            seen.answers += 1
            if answer.status != 200 or answer.kind != "exact":
                seen.bad.append(answer)
            if time.perf_counter() > killed_at:
                seen.longest_s = max(seen.longest_s, time.perf_counter() - began)
        if connected is not None:
            connected.close()

    callers = [asyncio.create_task(caller(place)) for place in range(_CALLERS)]
    await asyncio.sleep(_BEFORE_S)  # the load's length, not a wait for anything
    os.kill(victim.pid, signal.SIGKILL)
    killed_at = time.perf_counter()
    async with httpx2.AsyncClient(headers={"x-api-key": group.servers[0].key}, timeout=30) as http:
        purge = await http.post(f"{group.servers[0].url}/v1/purge", json={"namespace": "any"})
        purge.raise_for_status()
    seen.purge_s = time.perf_counter() - killed_at
    await asyncio.sleep(_AFTER_S)
    ends_at = time.perf_counter()
    await asyncio.gather(*callers)
    return seen, killed_at
