"""Renewals of a lease whose reply never arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cacheserver.peers.peers import Peers
from cacheserver.storage.connection import Connection, command, connect
from scripts.chaos_run.store_line import DEAF, HOLD, StoreLine
from tests.peers.four_servers import until
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures

LEASE_S = 1.5  # in the store a busy machine has time for a beat that goes on
LAPSED_S = 0.95 * LEASE_S  # no longer trusted, and changes were heard of within it


class Server:
    """A server behind a line, whose clock stands still."""

    def __init__(self, redis: Connection, prefix: str) -> None:
        self.now = 1_000.0
        self.trusted: list[bool] = []  # each time that it dropped what it remembered
        self.failures: list[str] = []
        self.peers = Peers(
            redis, self.failures.append, prefix=prefix, lease_s=LEASE_S, clock=lambda: self.now
        )
        self.peers.listen("news", self._apply, anew=self._anew)

    async def _apply(self, bodies: object) -> None:
        return

    async def _anew(self) -> None:
        self.trusted.append(self.peers.held)


@pytest.fixture
def line(url: str) -> StoreLine:
    return StoreLine(Path(url.removeprefix("unix://")), seed=0)


@pytest.fixture
async def server(line: StoreLine, prefix: str) -> AsyncIterator[Server]:
    async with line.url() as at:
        redis = connect(at)
        found = Server(redis, prefix)
        await found.peers.start()
        yield found
        await found.peers.close()
        await redis.aclose()


async def test_a_lease_that_lapsed_is_new_though_the_store_has_renewed_it_unheard(
    server: Server, line: StoreLine, redis: Connection, prefix: str
) -> None:
    peers, listed = server.peers, f"{prefix}peers"
    await until(lambda: peers.held)
    term = peers.term
    assert server.trusted == [False]  # as it joined
    line.mode = HOLD
    await command(redis, "ZREM", listed, peers.name)  # others may have changed anything since
    server.now += LAPSED_S
    line.mode = DEAF
    beat = peers._lease.beat()
    async with asyncio.timeout(10):
        while await command(redis, "ZSCORE", listed, peers.name) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    line.drop()
    line.mode = ""
    await beat
    assert "peers" in server.failures
    assert peers.term == term
    async with asyncio.timeout(10):
        while not await peers.trust():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert peers.term == term + 1
    assert server.trusted == [False, False]
