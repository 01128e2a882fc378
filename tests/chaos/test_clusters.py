"""A line to a cluster has its own addresses for the nodes; faults of the primary come about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import PREFIX, Connection, command, connect
from cacheserver.storage.primary_views import tagged
from scripts.chaos_run import schedule
from scripts.chaos_run.cluster import ClusterStore
from scripts.chaos_run.history import History
from scripts.chaos_run.store_line import CUT, StoreLine
from tests.hostile.raw import until
from tests.redis_clusters import HOST

KEY = f"{tagged(PREFIX)}schema"
WITHIN_S = 40.0


@asynccontextmanager
async def nodes(*replies: bytes) -> AsyncIterator[int]:
    """Yield a port that answers each line with the replies, one write each."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.readline():
                for one in replies:
                    writer.write(one)
                    await writer.drain()
                    await asyncio.sleep(0)  # let it go before the next
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def asked(url: str) -> bytes:
    host, _, port = url.rpartition("/")[2].partition(",")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"what\n")
    found = await reader.readline()
    writer.close()
    return found


@pytest.mark.parametrize("cut_at", [0, 1, 9, 10, 12, 14, 15, 40])
async def test_addresses_that_nodes_tell_are_those_of_the_line(cut_at: int) -> None:
    async with nodes() as other:
        told = b"%s:%d@%d and %s:%d 127.0.0.1:1\n" % (
            HOST.encode(), other, other, HOST.encode(), other,
        )  # fmt: skip
        async with nodes(told[:cut_at], told[cut_at:]) as port:
            line = StoreLine(port, other, seed=1)
            async with line.url() as url:
                assert url.startswith("redis+cluster://")
                mine = url.rpartition(":")[2].encode()
                expected = told.replace(b":%d" % other, b":" + mine)
                assert await asked(url) == expected


async def test_a_line_may_be_cut_to_one_node_alone() -> None:
    async with nodes(b"one\n") as one, nodes(b"two\n") as two:
        line = StoreLine(one, two, seed=1)
        async with line.url() as url:
            first, second = url.removeprefix("redis+cluster://").split(",")
            line.switch(CUT, one)
            assert await asked(second) == b"two\n"
            with suppress(ConnectionError):
                assert await asked(first) == b""
            line.mode = ""
            assert await asked(first) == b"one\n"


async def get(client: Connection) -> bytes | None:
    """Read `KEY`, as soon as the store answers."""
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            found: bytes | None = await command(client, "GET", KEY)
            return found
        except StoreError:
            assert time.monotonic() < ends
            await asyncio.sleep(0.05)


def failovers(history: History) -> Sequence[str]:
    return [fault.kind for fault in history.faults]


async def test_a_replica_that_was_behind_takes_over_without_the_last_writes() -> None:
    history = History()
    with ExitStack() as stack:
        cluster = ClusterStore(history, stack)
        line = StoreLine(*cluster.ports, seed=1)
        watch = asyncio.create_task(cluster.watch())
        async with line.url() as url:
            client = connect(url, prefix=tagged(PREFIX))
            try:
                await command(client, "SET", KEY, "first")
                killed = asyncio.create_task(cluster.kill(1.5, behind=True))
                before = cluster.primary()
                await until(lambda: "connected_slaves:0" in before.run("INFO", "replication"))
                await command(client, "SET", KEY, "last")
                await killed
                assert await get(client) == b"first"
                assert cluster.primary() is not before
                await cluster.hand_over()
                assert cluster.primary() is before
                assert await get(client) == b"first"
                await until(lambda: len(failovers(history)) == 2)
            finally:
                await client.aclose()
                watch.cancel()
    assert failovers(history) == ["failover", "failover"]
    assert all(fault.kind in schedule.FAILOVERS for fault in history.faults)
