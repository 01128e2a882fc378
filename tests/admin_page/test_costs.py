"""Cost of an open page: bytes to load, time until it can be used, and nothing of a hit."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

import pytest
from playwright.async_api import Browser, expect

from cacheserver.api.admin_page.routes import SCREENS
from tests.admin_page.pages import AdminPage, Visit, browser_tests, window
from tests.house import House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

_MOST_BYTES = 300_000
_SLACK = 5  # times the second that is promised: tests share a machine
_HITS = 200


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
    await page.charted()
    await tools.detach()
    return round(sum(sizes)), seconds


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_screen_is_small_and_soon_there(
    visit: Visit, screen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with visit() as page:
        size, seconds = await loaded(page, screen)
    with capsys.disabled():
        sys.stdout.write(f"\n{screen}: {size:,} bytes, {seconds:.2f} s\n")
    assert 10_000 < size < _MOST_BYTES
    assert seconds < _SLACK


async def commands(house: House) -> Counter[str]:
    """Return how often the store has run each command, once all that hits leave is written."""
    await house.parts.decision_log.flush()
    await house.parts.ledger.flush()
    found = await house.parts.host.store.redis.info("commandstats")
    return Counter({name: stats["calls"] for name, stats in found.items()})


async def of_hits(house: House) -> dict[str, int]:
    """Ask a stored question often; return the commands of each hit: about one a hit, or more.

    What else the store does meanwhile depends on how long it takes, and is far less.
    """
    before = await commands(house)
    for _ in range(_HITS):
        found = await house.ask("What is the capital of France?")
        assert found.headers["x-cache"] == "exact"
    after = await commands(house)
    each = {name: round(calls / _HITS) for name, calls in (after - before).items()}
    return {name: calls for name, calls in each.items() if calls}


async def test_an_open_overview_adds_no_command_to_a_hit(browser: Browser, house: House) -> None:
    await house.ask("What is the capital of France?")
    async with asyncio.timeout(10):  # of a server that has just joined nothing is kept in memory
        while not house.parts.host.peers.settled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await of_hits(house)  # what is read once and remembered
    alone = await of_hits(house)
    async with window(browser, house) as page:
        await page.open("overview")
        await expect(page.main.get_by_text("live", exact=True)).to_be_visible()
        watched = await of_hits(house)
    assert alone  # at least the ledger's row
    assert watched == alone
