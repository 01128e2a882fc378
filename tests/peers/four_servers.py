"""Four servers on one store, with one slow Claude behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.house import House

ANSWER_S = 0.6  # Claude's: long enough that all who ask at once ask before it ends


def slowly(_: object) -> Directives:
    return Directives(fault=Fault("slow", delay_s=ANSWER_S))


@asynccontextmanager
async def servers(
    count: int,
    url: str,
    prefix: str,
    tmp_path: Path,
    *,
    claude: Callable[[Any], Directives | None] = slowly,
    **settings: Any,
) -> AsyncIterator[list[House]]:
    """Yield servers that know of each other. The first one's Claude serves all."""
    async with AsyncExitStack() as stack:
        store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:], **settings}
        opened = House.open(tmp_path / "0", claude=claude, **store)
        houses = [await stack.enter_async_context(opened)]
        store["upstream"] = houses[0].parts.host.settings.upstream
        for n in range(1, count):
            houses.append(await stack.enter_async_context(House.open(tmp_path / str(n), **store)))
        await until(lambda: all(house.parts.host.peers.live == count for house in houses))
        yield houses


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 what is awaited has no event
            await asyncio.sleep(0.005)


async def ask_all(
    houses: list[House], texts: list[str], *, at_once: int = 1_000, **given: Any
) -> list[httpx2.Response]:
    """Ask the servers in turn, `at_once` at a time.

    They share an event loop: with too many, leases lapse, and a look-up that fails is no hit.
    """
    room = asyncio.Semaphore(at_once)

    async def ask(house: House, text: str) -> httpx2.Response:
        async with room:
            return await house.ask(text, **given)

    asked = [ask(houses[n % len(houses)], text) for n, text in enumerate(texts)]
    return list(await asyncio.gather(*asked))


def kinds(answers: list[httpx2.Response]) -> dict[str, int]:
    """Count answers by where they came from."""
    assert {one.status_code for one in answers} == {200}, [one.text for one in answers][:3]
    found: dict[str, int] = {}
    for one in answers:
        kind = one.headers["x-cache"]
        found[kind] = found.get(kind, 0) + 1
    return found
