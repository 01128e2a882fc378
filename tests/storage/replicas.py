"""Replicas of a cluster that take over, with or without the last changes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.house import House
from tests.redis_clusters import Node, Nodes

KEYS: Final = "{cs1:}"
WITHIN_S: Final = 30.0  # a failover takes three seconds, on a machine that is not busy


def replica_of(nodes: Nodes, primary: Node) -> Node:
    return next(one for one in nodes.live if one.run("ROLE")[2] == primary.port)


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
