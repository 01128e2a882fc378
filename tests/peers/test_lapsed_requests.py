"""Requests under way while the lease of their server lapses: they are admitted again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import command
from tests.house import House, came_from
from tests.peers.four_servers import servers, until
from tests.redis_servers import prefix, url

__all__ = ["prefix", "url"]  # fixtures

ASKED = "How do I reset my password?"


@pytest.fixture
async def two(url: str, prefix: str, tmp_path: Path) -> AsyncIterator[list[House]]:
    async with servers(2, url, prefix, tmp_path) as found:
        yield found


async def lapse(house: House) -> None:
    """Have the lease of a server end, in the store and here, and be taken anew."""
    peers = house.parts.host.peers
    before = peers.term
    await command(peers._redis, "ZREM", f"{peers._prefix}peers", peers.name)
    peers._lease.drop()
    await until(lambda: peers.term > before)


async def asked_on_both(two: list[House], meanwhile: Callable[[], Awaitable[object]]) -> str:
    """Ask the same on both servers; the second one's lease lapses while it waits for the first."""
    one, other = two
    leader = asyncio.create_task(one.ask(ASKED, key=await one.key("acme")))
    await until(lambda: len(one.asked) == 1)
    key = await one.key("acme")
    follower = asyncio.create_task(other.ask(ASKED, key=key))
    await until(lambda: bool(other.parts.serving.flights._waiters))
    await lapse(other)
    await meanwhile()
    assert came_from(await leader)[0] == "miss"
    answer = await follower
    assert answer.status_code == 200
    return answer.headers["x-cache"]


async def test_they_wait_for_the_call_of_another_server_all_the_same(two: list[House]) -> None:
    async def nothing() -> None:
        return

    assert await asked_on_both(two, nothing) == "coalesced"
    assert len(two[0].asked) == 1


async def test_who_asks_after_it_has_lapsed_waits_for_that_call_too(
    two: list[House], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    leader = asyncio.create_task(one.ask(ASKED))
    await until(lambda: len(one.asked) == 1)
    lease = other.parts.host.peers._lease

    async def fail() -> None:
        raise StoreError("the store is away")

    with monkeypatch.context() as away:
        away.setattr(lease, "_renew", fail)
        if lease._beating is not None:  # it may have begun before
            await lease._beating
        lease.drop()
        follower = asyncio.create_task(other.ask(ASKED))
        await until(lambda: bool(other.parts.serving.flights._waiters))
        assert not lease.held  # what was looked up was not served
    await until(lambda: lease.held)
    assert came_from(await leader)[0] == "miss"
    assert came_from(await follower)[0] == "coalesced"
    assert len(one.asked) == 1


async def test_nothing_stored_is_served_for_a_key_that_was_revoked(two: list[House]) -> None:
    tenants = two[0].parts.tenants

    async def revoke() -> None:
        for key in await tenants.list_keys():
            await tenants.revoke_key(key.id)

    assert await asked_on_both(two, revoke) == "miss"


async def test_nothing_stored_is_served_under_settings_that_were_changed(two: list[House]) -> None:
    async def raise_bar() -> None:
        await two[0].parts.tenants.change("acme", {"bar": {"similarity": 0.999}})

    assert await asked_on_both(two, raise_bar) == "miss"
