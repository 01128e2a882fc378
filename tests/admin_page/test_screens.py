"""Every screen, filled with the sample traffic: drawn at each width and scheme, and accessible.

Pictures are kept in `var/screens`; whoever changes a screen looks at them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from cacheserver.api.admin_page.routes import SCREENS
from cacheserver.sample_traffic import traffic
from tests.admin_page.pages import browser_tests, sampled, window
from tests.house import House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

# Screens that begin with a tenant.
_PARAMS = {name: {"tenant": traffic.TENANT} for name in ("tuning", "review", "prompts")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Yield a server that has replayed the sample traffic."""
    async with sampled(tmp_path_factory.mktemp("filled")) as house:
        yield house


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_screen_is_drawn_and_accessible(
    browser: Browser, filled: House, screen: str
) -> None:
    async with window(browser, filled) as page:
        assert await page.draw_each_way(screen, screen, **_PARAMS.get(screen, {})) == []


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_screen_of_a_new_server_says_what_to_do(
    browser: Browser, house: House, screen: str
) -> None:
    async with window(browser, house) as page:
        await page.open(screen)
        await page.picture(f"{screen}-new")
        assert await page.accessibility() == []
