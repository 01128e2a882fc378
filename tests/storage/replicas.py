"""Replicas that take over, with or without the last changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from tests.house import House, came_from
from tests.redis_clusters import Node, Nodes

KEYS: Final = "{cs1:}"
WITHIN_S: Final = 30.0  # a failover takes three seconds, on a machine that is not busy


def replica_of(nodes: Nodes, primary: Node) -> Node:
    return next(one for one in nodes.live if one.run("ROLE")[2] == primary.port)


def question(number: int) -> str:
    return f"What is the capital of country [[sim text=Town-{number:03}]]?"


async def ask_while_it_dies(house: House, kill: Callable[[], None]) -> Counter[tuple[str, str]]:
    """Ask from twenty callers, each until answers were no hits and are again.

    `kill` ends the primary meanwhile. Every request gets its own answer. Returns how many came from
    where, and why.
    """
    for number in range(10):
        await house.ask(question(number))
    ends = time.monotonic() + WITHIN_S
    seen: Counter[tuple[str, str]] = Counter()

    async def caller(number: int) -> None:
        missed = False
        while time.monotonic() < ends:
            answer = await house.ask(question(number))
            came = came_from(answer)
            seen[came] += 1
            assert f"Town-{number:03}" in answer.json()["content"][0]["text"]
            missed = missed or came[0] != "exact"
            if missed and came[0] == "exact":
                return

    callers = [asyncio.create_task(caller(number % 10)) for number in range(20)]
    await asyncio.to_thread(kill)
    await asyncio.gather(*callers)
    assert time.monotonic() < ends, seen
    return seen


async def until_hit(house: House, text: str, key: str, *, never: str = "") -> None:
    """Ask until a replica has taken over. A key that was revoked is `never` accepted meanwhile.

    On a busy machine a lease may lapse: then no key is remembered while the store is away.
    """
    ends, recent = time.monotonic() + WITHIN_S, house.parts.host.store.redis.recent
    while True:
        found = await house.ask(text, key=key)
        if recent.takeovers and found.headers.get("x-cache") == "exact":
            return
        assert found.status_code in (200, 503), found.text
        assert time.monotonic() < ends
        if never:
            assert (await house.ask(text, key=never)).status_code in (401, 503)


@asynccontextmanager
async def lost(nodes: Nodes) -> AsyncIterator[None]:
    """Let a replica take over that lacks what is written inside.

    The settings ask for no replica here, so that the primary dies with what it alone has.
    """
    primary = nodes.primary_of(KEYS)
    replica = replica_of(nodes, primary)
    assert primary.run("WAIT", 1, 5_000) == 1
    nodes.pause(replica)
    primary.run("CLIENT", "KILL", "TYPE", "replica")
    yield
    nodes.kill(primary)
    nodes.resume(replica)
