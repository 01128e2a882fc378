"""Fixtures of the page's tests: one browser a module, one server a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.admin_page.pages import _WAIT_MS, CHROMIUM, AdminPage, Visit, window
from tests.house import House


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=_WAIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path) as house:
        yield house


@pytest.fixture
def visit(browser: Browser, house: House) -> Visit:
    return partial(window, browser, house)


@pytest_asyncio.fixture(loop_scope="module")
async def admin(visit: Visit) -> AsyncIterator[AdminPage]:
    """Yield a wide, light window that is signed in."""
    async with visit() as page:
        yield page
