"""Leases that lapse, and a store that loses its list of servers or whose clock is changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.peers.peers import Peers
from cacheserver.storage.connection import Connection, command, connect
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures

LEASE_S = 0.4


class Server:
    """A server that counts how often it dropped what it remembered."""

    def __init__(self, redis: Connection, prefix: str) -> None:
        self.ahead = 0.0  # of its clock, as after it stood still
        self.began_anew = 0
        self.failing = False
        self.peers = Peers(
            redis, lambda site: None, prefix=prefix, lease_s=LEASE_S, clock=self._clock
        )
        self.peers.listen("news", self._apply, anew=self._anew)

    def _clock(self) -> float:
        return time.monotonic() + self.ahead

    async def _apply(self, bodies: object) -> None:
        return

    async def _anew(self) -> None:
        if self.failing:
            raise StoreError("what is stored could not be read")
        self.began_anew += 1

    async def stand_still(self) -> None:
        """Do nothing more: neither beat nor follow."""
        for task in self.peers._tasks:
            while not task.done():  # once is not enough while it connects
                task.cancel()
                await asyncio.sleep(0)

    async def lapse(self) -> None:
        """Have the lease end, in the store and here."""
        await command(self.peers._redis, "ZREM", f"{self.peers._prefix}peers", self.peers.name)
        self.ahead += 10.0


@pytest.fixture
async def two(url: str, prefix: str) -> AsyncIterator[list[Server]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            redis = connect(url)
            stack.push_async_callback(redis.aclose)
            one = Server(redis, prefix)
            await one.peers.start()
            stack.push_async_callback(one.peers.close)
            found.append(one)
        yield found


async def until_held(one: Server) -> None:
    async with asyncio.timeout(10):
        while not await one.peers.trust():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_lease_is_not_trusted_before_all_was_dropped_though_that_failed_once(
    two: list[Server],
) -> None:
    one, _ = two
    before, one.failing = one.began_anew, True
    await one.lapse()
    for _ in range(3):  # beats, all but the first of which continue a lease
        assert not await one.peers.trust()
    one.failing = False
    await until_held(one)
    assert one.began_anew > before


async def test_what_was_looked_up_before_a_lapse_is_not_served_after_it(two: list[Server]) -> None:
    one, _ = two
    await one.peers.admit()
    term = one.peers.term
    await one.peers.vouch(term)
    await one.lapse()
    await until_held(one)
    with pytest.raises(StoreError, match="lapsed"):
        await one.peers.vouch(term)
    with pytest.raises(StoreError, match="lapsed"):
        await one.peers.vouch(one.peers.term)  # the request was admitted before
    await one.peers.admit()
    await one.peers.vouch(one.peers.term)


async def test_a_server_that_a_store_has_lost_is_waited_for_as_long_as_it_trusts_itself(
    two: list[Server], redis: Connection, prefix: str
) -> None:
    one, other = two
    await other.stand_still()
    assert other.peers.held
    await command(redis, "DEL", f"{prefix}peers", f"{prefix}peers:seen", f"{prefix}many")
    await one.peers.everywhere("news", "a")
    assert not other.peers.held


async def test_that_holds_also_once_the_list_has_begun_anew(
    two: list[Server], redis: Connection, prefix: str
) -> None:
    one, other = two
    await other.stand_still()
    await command(redis, "DEL", f"{prefix}peers", f"{prefix}peers:seen", f"{prefix}many")
    await one.peers._lease.beat()
    await one.peers.everywhere("news", "a")
    assert not other.peers.held


async def test_nor_is_a_change_confirmed_before_whose_own_script_has_told_of_it(
    two: list[Server], redis: Connection, prefix: str
) -> None:
    one, other = two
    await other.stand_still()
    await command(redis, "DEL", f"{prefix}peers", f"{prefix}peers:seen", f"{prefix}many")
    await one.peers._lease.beat()
    assert one.peers.held
    assert not one.peers.many
    await one.peers.confirm()
    assert not other.peers.held


async def test_a_server_that_is_gone_is_not_waited_for_after_the_clock_went_back(
    two: list[Server], redis: Connection, prefix: str
) -> None:
    one, _ = two
    an_hour_on = (time.time() + 3_600) * 1_000
    await command(redis, "ZADD", f"{prefix}peers", an_hour_on, "gone")
    await one.peers.everywhere("news", "a")
    assert float(await command(redis, "ZSCORE", f"{prefix}peers", "gone") or 0) < an_hour_on


async def test_servers_that_join_at_the_same_moment_know_of_each_other(
    url: str, prefix: str
) -> None:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(5):
            redis = connect(url)
            stack.push_async_callback(redis.aclose)
            found.append(Server(redis, prefix))
        await asyncio.gather(*(one.peers.start() for one in found))
        for one in found:
            stack.push_async_callback(one.peers.close)
            assert not one.peers.settled  # nothing is kept before the others know
        async with asyncio.timeout(10):
            while not all(one.peers.live == len(found) for one in found):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_lapse_is_not_forgotten_where_a_failover_is_noticed_by_the_same_beat(
    two: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two
    noticed: list[bool] = []
    own = one.peers._redis.recent
    recent = type(own)
    due = property(lambda self: self is own and bool(noticed) and noticed.pop())
    monkeypatch.setattr(recent, "due", due)
    monkeypatch.setattr(recent, "redo", lambda self, redone: asyncio.sleep(0))
    before, term = one.began_anew, one.peers.term
    await one.lapse()
    noticed.append(True)
    await until_held(one)
    assert not noticed
    assert one.peers.term > term
    assert one.began_anew > before
