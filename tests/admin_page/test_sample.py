"""Sample traffic from the page: begun by a button, said to be there, removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.admin_page.pages import browser_tests, window
from tests.api.admin import ADMIN
from tests.house import House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]


async def test_a_server_that_was_asked_a_few_questions_offers_it_too(
    browser: Browser, tmp_path: Path
) -> None:
    """The order of the tutorial, which asks before it opens the page."""
    async with (
        House.open(tmp_path, upstream="simulated", anthropic_api_key=None) as house,
        window(browser, house) as page,
    ):
        await house.ask("How do I reset my password?")
        await page.open("overview")
        offer = page.main.get_by_role("region", name="Look around")
        await offer.get_by_role("button", name="Replay sample traffic").click()
        note = page.main.get_by_role("region", name="Sample traffic")
        await expect(note).to_contain_text("is being replayed")
        await expect(offer).to_have_count(0)
        await note.get_by_role("button", name="Stop and remove").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await expect(offer).to_have_count(1)


async def test_it_is_begun_followed_and_removed(browser: Browser, tmp_path: Path) -> None:
    async with (
        House.open(tmp_path, upstream="simulated", anthropic_api_key=None) as house,
        window(browser, house) as page,
    ):
        await page.open("overview")
        await page.main.get_by_role("button", name="Replay sample traffic").click()
        note = page.main.get_by_role("region", name="Sample traffic")
        await expect(note).to_contain_text("is being replayed")
        await expect(note).to_contain_text("of 295 questions asked")
        await page.picture("overview-replaying")
        await note.get_by_role("button", name="Stop and remove").click()
        dialog = page.page.get_by_role("dialog", name="Remove the sample traffic")
        await expect(dialog).to_contain_text("Amounts of money stay")
        assert await page.accessibility() == []
        await dialog.get_by_role("button", name="Remove").click()
        await expect(dialog).to_have_count(0)
        await expect(note).to_have_count(0)
        found = await house.http.get("/admin/v1/sample-traffic", headers=ADMIN)
        assert found.json()["state"] == "none"
        assert await house.parts.tenants.names() == set()
