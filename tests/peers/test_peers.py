"""Leases, the stream of changes, and what a confirmation promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.peers import scripts
from cacheserver.peers.peers import Peers
from cacheserver.storage.connection import Connection, command, connect
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures


@dataclass
class Server:
    """A server that notes what it is told."""

    peers: Peers
    redis: Connection
    heard: list[str] = field(default_factory=list)
    began_anew: int = 0
    failures: list[str] = field(default_factory=list)
    held_up: asyncio.Event | None = None  # applying waits for it

    async def apply(self, bodies: Sequence[str]) -> None:
        if self.held_up is not None:
            await self.held_up.wait()
        self.heard += bodies

    async def anew(self) -> None:
        self.began_anew += 1


class Start(Protocol):
    async def __call__(
        self, *, waited: bool = True, ahead: Callable[[], float] = lambda: 0.0
    ) -> Server: ...


@pytest.fixture
async def server(url: str, prefix: str) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(*, waited: bool = True, ahead: Callable[[], float] = lambda: 0.0) -> Server:
            redis = connect(url)
            stack.push_async_callback(redis.aclose)
            failures: list[str] = []
            peers = Peers(
                redis, failures.append, prefix=prefix, clock=lambda: time.monotonic() + ahead()
            )
            found = Server(peers, redis, failures=failures)
            peers.listen("news", found.apply, anew=found.anew, waited=waited)
            await peers.start()
            stack.push_async_callback(peers.close)
            return found

        yield start


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 what is awaited has no event
            await asyncio.sleep(0.01)


async def test_a_change_is_applied_by_the_others_when_it_is_confirmed(server: Start) -> None:
    one, two, three = await server(), await server(), await server()
    await one.peers.everywhere("news", "a")
    await two.peers.everywhere("news", "b")
    assert one.heard == ["b"]
    assert two.heard == ["a"]
    assert three.heard == ["a", "b"]


async def test_a_single_server_waits_for_nobody(server: Start) -> None:
    one = await server()
    assert one.peers.held
    assert not one.peers.many
    await one.peers.everywhere("news", "a")
    await one.peers.confirm()
    assert one.heard == []


async def test_a_command_that_is_no_server_waits_for_the_servers(
    server: Start, redis: Connection, prefix: str
) -> None:
    one, two = await server(), await server()
    await Peers(redis, lambda _: None, prefix=prefix).everywhere("news", "a")
    assert one.heard == two.heard == ["a"]
    assert int(await command(redis, "ZCARD", f"{prefix}peers")) == 2


async def test_a_server_that_does_not_apply_a_change_holds_its_confirmation_up(
    server: Start,
) -> None:
    one, two = await server(), await server()
    two.held_up = asyncio.Event()
    waiting = asyncio.create_task(one.peers.everywhere("news", "a"))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    two.held_up.set()
    await waiting
    assert two.heard == ["a"]


async def test_a_server_that_stands_still_is_waited_for_until_its_lease_lapses(
    server: Start, redis: Connection, prefix: str
) -> None:
    one = await server()
    # A server that beat once and then stood still.
    await command(redis, "EVAL", scripts.BEAT, 0, prefix, "still", 1_000, "0-0")
    began = time.monotonic()
    await one.peers.everywhere("news", "a")
    assert 0.5 < time.monotonic() - began < 4


async def test_a_lapsed_lease_is_trusted_again_only_after_all_was_dropped(server: Start) -> None:
    ahead = 0.0
    one = await server(ahead=lambda: ahead)
    assert one.began_anew == 1  # as it joined
    await asyncio.sleep(0)
    await command(one.redis, "ZREM", f"{one.peers._prefix}peers", one.peers.name)  # it has lapsed
    ahead = 10.0  # and this server stood still
    assert not one.peers.held
    assert await one.peers.trust()
    assert one.began_anew == 2


async def test_a_request_that_was_admitted_without_a_lease_gets_nothing_stored(
    server: Start, url: str, prefix: str
) -> None:
    one = await server()

    async def admitted() -> None:
        await one.peers.admit()
        await one.peers.vouch(one.peers.term)

    await admitted()
    await one.peers.close()
    assert not one.peers.held
    with pytest.raises(StoreError, match="lease"):
        await asyncio.create_task(admitted())
    with pytest.raises(StoreError, match="lease"):
        await one.peers.vouch(one.peers.term)


async def test_a_server_that_missed_changes_begins_anew(
    server: Start, redis: Connection, prefix: str
) -> None:
    one, two = await server(), await server()
    before = two.began_anew
    two.held_up = asyncio.Event()
    await Peers(redis, lambda _: None, prefix=prefix)._stream.add("news", "first")
    await until(lambda: one.heard == ["first"])
    await command(redis, "XTRIM", f"{prefix}changes", "MAXLEN", 0)
    await command(redis, "XADD", f"{prefix}changes", "*", "k", "news", "b", "last", "o", "x")
    two.held_up.set()
    await until(lambda: two.began_anew > before)
    await one.peers.everywhere("news", "a")
    assert two.heard[-1] == "a"
    assert "peers-gap" in two.failures


async def test_changes_nobody_waits_for_are_applied_soon_and_in_order(server: Start) -> None:
    one, two = await server(waited=False), await server(waited=False)
    await until(lambda: one.peers.many)
    for number in range(1_500):
        await one.peers.tell("news", str(number))
    await one.peers.confirm()
    assert two.heard == [str(number) for number in range(1_500)]
    assert one.heard == []


async def test_an_emptied_store_is_noticed_and_joined_again(
    server: Start, redis: Connection, prefix: str
) -> None:
    one, two = await server(), await server()
    for key in ("peers", "peers:seen", "many", "changes"):
        await command(redis, "DEL", prefix + key)
    before = two.began_anew
    await until(lambda: two.began_anew > before and one.peers.many and two.peers.many)
    before = two.began_anew
    await one.peers.everywhere("news", "a")
    assert two.heard == ["a"] or two.began_anew > before  # as the gap in the stream is noticed


async def test_a_server_that_left_is_not_waited_for(server: Start) -> None:
    one, two = await server(), await server()
    await two.peers.close()
    began = time.monotonic()
    await one.peers.everywhere("news", "a")
    assert time.monotonic() - began < 0.9
    assert two.heard == []
