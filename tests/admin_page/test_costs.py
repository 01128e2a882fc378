"""What an open page costs: bytes to load, time until it can be used, and nothing of a hit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
from playwright.async_api import Browser

from tests.admin_page.pages import WRITTEN, AdminPage, Visit, browser_tests, window
from tests.house import House

pytestmark = [
    browser_tests,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif("overview" not in WRITTEN, reason="there is no overview yet"),
]

_MOST_BYTES = 300_000
_SLACK = 5  # times the second that is promised: tests share a machine
_HITS = 100


async def loaded(page: AdminPage, screen: str) -> tuple[int, float]:
    """Load a screen anew; return bytes over the wire and seconds until it can be used."""
    tools = await page.page.context.new_cdp_session(page.page)
    await tools.send("Network.enable")
    await tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    tools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    began = time.perf_counter()
    await page.open(screen)
    seconds = time.perf_counter() - began
    await tools.detach()
    return round(sum(sizes)), seconds


@pytest.mark.parametrize("screen", WRITTEN)
async def test_a_screen_is_small_and_soon_there(
    visit: Visit, screen: str, record_property: Callable[[str, object], None]
) -> None:
    async with visit() as page:
        size, seconds = await loaded(page, screen)
    record_property("bytes", size)
    record_property("seconds", round(seconds, 3))
    assert 10_000 < size < _MOST_BYTES
    assert seconds < _SLACK


async def calls(house: House) -> Mapping[str, int]:
    """Return how often the store has run each command."""
    found = await house.parts.host.store.redis.info("commandstats")
    return {name: stats["calls"] for name, stats in found.items() if name != "cmdstat_info"}


async def of_hits(house: House) -> tuple[int, float]:
    """Ask a stored question often; return commands of the store and the time it took."""
    before, began = sum((await calls(house)).values()), time.perf_counter()
    for _ in range(_HITS):
        found = await house.ask("What is the capital of France?")
        assert found.headers["x-cache"] == "exact"
    seconds = time.perf_counter() - began
    return sum((await calls(house)).values()) - before, seconds


async def test_an_open_overview_adds_no_command_to_a_hit(browser: Browser, house: House) -> None:
    await house.ask("What is the capital of France?")
    await of_hits(house)  # what is read once and remembered
    alone, _ = await of_hits(house)
    async with window(browser, house) as page:
        await page.open("overview")
        watched, _ = await of_hits(house)
    # The page's own calls come once in seconds; one command a hit would be `_HITS` more.
    assert watched < alone + _HITS / 2
    assert alone > 0
