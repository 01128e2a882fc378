"""A real Valkey cluster of three primaries and three replicas that the servers share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack

from redis.exceptions import RedisError

from cacheserver.storage.connection import PREFIX
from cacheserver.storage.primary_views import tagged
from scripts.chaos_run.history import Fault, History
from tests.redis_clusters import Node, Nodes, cluster

_KEY = f"{tagged(PREFIX)}schema"  # every key of the servers is on its node
_LOOK_S = 0.25
_TRIES = 40  # of a primary that hands over
TAKEN_OVER_S = 15.0  # a replica takes over in two to four seconds


class ClusterStore:
    """The nodes. What blocks is done in threads."""

    def __init__(self, history: History, stack: ExitStack) -> None:
        """Start the nodes; they end with `stack`."""
        self._history = history
        self._nodes: Nodes = stack.enter_context(cluster("valkey"))
        self._primary = self.primary()

    @property
    def ports(self) -> Sequence[int]:
        return [node.port for node in self._nodes.all]

    def primary(self) -> Node:
        """Return the node that serves the servers' keys."""
        return self._nodes.primary_of(_KEY)

    async def empty(self) -> None:
        """Remove all keys."""

        def flush() -> None:
            for node in self._nodes.primaries():
                node.run("FLUSHALL")

        await asyncio.to_thread(flush)

    async def watch(self) -> None:
        """Note each time that another node took over, whoever made it, until cancelled."""
        seen = time.time()
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                found = await asyncio.to_thread(self.primary)
            except (RedisError, OSError, AssertionError):
                continue  # nobody serves them now
            if found is not self._primary:
                self._primary = found
                self._history.faults.append(Fault(seen, time.time(), "failover"))
            seen = time.time()

    async def whole(self) -> None:
        """Wait until all slots are served, and every replica follows."""
        await asyncio.to_thread(self._nodes.wait_failover)

    async def kill(self, for_s: float, *, behind: bool = False) -> None:
        """Kill the primary; start it again `for_s` after a replica took over.

        `behind`: the replica lacks what the primary was told in the `for_s` before.
        """
        old, replica = await asyncio.to_thread(lambda: (self.primary(), self._replica()))
        if behind:
            self._nodes.pause(replica)
            try:
                await asyncio.to_thread(old.run, "CLIENT", "KILL", "TYPE", "REPLICA")
                await asyncio.sleep(for_s)
                await asyncio.to_thread(self._nodes.kill, old)
            finally:
                self._nodes.resume(replica)
        else:
            await asyncio.to_thread(self._nodes.kill, old)
        await self._taken_over(old)
        await asyncio.sleep(for_s)
        await asyncio.to_thread(self._nodes.start, old)

    async def stop(self, for_s: float) -> None:
        """Hold the primary for a while: a replica takes over if that is long."""
        old = await asyncio.to_thread(self.primary)
        self._nodes.pause(old)
        try:
            await asyncio.sleep(for_s)
        finally:
            self._nodes.resume(old)
        await self.whole()

    async def hand_over(self) -> None:
        """Have the replica take over in agreement with the primary."""
        replica = await asyncio.to_thread(self._replica)
        await asyncio.to_thread(replica.run, "CLUSTER", "FAILOVER")
        for _ in range(_TRIES):  # an election that failed is none: the primary stays
            if await asyncio.to_thread(self.primary) is replica:
                break
            await asyncio.sleep(_LOOK_S)
        await self.whole()

    def _replica(self) -> Node:
        found = str(self.primary().run("INFO", "replication"))
        port = int(found.partition("slave0:")[2].partition("port=")[2].partition(",")[0])
        return next(node for node in self._nodes.all if node.port == port)

    async def _taken_over(self, old: Node) -> None:
        until = time.monotonic() + TAKEN_OVER_S
        while time.monotonic() < until:
            try:
                if await asyncio.to_thread(self.primary) is not old:
                    return
            except (RedisError, OSError, AssertionError):
                pass
            await asyncio.sleep(_LOOK_S)
