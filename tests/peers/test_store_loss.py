"""Servers whose store loses all it has: they begin anew, and share what comes after."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cacheserver.embedded.process import find_server
from tests.house import House, came_from
from tests.redis_servers import serving

ASKED = "How do I reset my password?"
REPHRASED = "How can I reset my password?"


async def until_indexed(house: House, count: int) -> None:
    async with asyncio.timeout(20):
        while len(house.parts.entries.index) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_emptied_store_is_served_from_no_memory_and_followed_again(
    tmp_path: Path,
) -> None:
    with serving(find_server()) as url:
        async with House.open(tmp_path / "a", redis_url=url) as one:
            upstream = one.parts.host.settings.upstream
            async with House.open(tmp_path / "b", redis_url=url, upstream=upstream) as other:
                assert came_from(await one.ask(ASKED))[0] == "miss"
                await until_indexed(other, 1)
                async with asyncio.timeout(10):
                    while not other.parts.entries.entries.hot.size:
                        assert came_from(await other.ask(ASKED))[0] == "exact"
                peers = other.parts.host.peers
                term = peers.term
                await one.parts.host.store.redis.execute_command("FLUSHALL")
                async with asyncio.timeout(10):
                    while peers.term == term:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert came_from(await other.ask(ASKED, headers={"x-cache-ttl": "0"}))[0] == "miss"
                assert other.parts.entries.entries.hot.size == 0
                await until_indexed(one, 0)
                assert came_from(await other.ask(ASKED))[0] == "miss"
                await until_indexed(one, 1)
                assert came_from(await one.ask(REPHRASED))[0] == "semantic"
