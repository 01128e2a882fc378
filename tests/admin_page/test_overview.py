"""The overview in a browser: figures that move, what savings are measured against, a new server."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from cacheserver.core.ledger_row import Comparison
from tests.admin_page.pages import AdminPage, Visit, browser_tests, window
from tests.house import House
from tests.ledger.rows import hit, row

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]


def card(page: AdminPage, name: str) -> Locator:
    return page.main.get_by_role("region", name=name, exact=True)


def figure(area: Locator, label: str) -> Locator:
    return area.locator(".figure").filter(has_text=label).locator(".figure-value")


async def test_figures_move_during_traffic(house: House, admin: AdminPage) -> None:
    await house.ask("Asked before the page was opened?")
    await admin.open("overview")
    now = card(admin, "Now")
    await expect(now.get_by_text("live", exact=True)).to_be_visible()
    await expect(figure(now, "Requests")).to_have_text("0")
    for _ in range(3):
        await house.ask("Capital of France?")
    await expect(figure(now, "Requests")).to_have_text("3")
    await expect(figure(now, "Hits")).to_have_text("2")
    await expect(now.get_by_text("exact 2")).to_be_visible()


async def test_savings_are_against_what_the_operator_would_have_used(
    house: House, admin: AdminPage
) -> None:
    """Sent to Haiku for two cents and dearer by routing, but eight dollars less than at Opus."""
    compared = Comparison(8_020_000_000, 4_020_000_000)
    ledger, now = house.parts.ledger, house.clock()
    routed = {"routing": -5_000_000}
    ledger.append(row(at=now, tenant="default", cost=20_000_000, saved=routed, compared=compared))
    found = {"exact": 1_000_000_000}
    ledger.append(hit(at=now, tenant="default", saved=found, compared=Comparison(0, 0)))
    await admin.open("overview")
    saved = card(admin, "Saved")
    models = saved.get_by_role("listitem").filter(has_text="Cheaper models")
    await expect(figure(saved, "Today")).to_have_text("$0.99")
    await expect(models).to_contain_text("\N{MINUS SIGN}$0.0050")
    await saved.get_by_label("against").select_option("all Opus")
    await expect(figure(saved, "Today")).to_have_text("$8.00")
    await expect(models).to_contain_text("$7.00")
    await admin.page.reload()
    await admin.drawn()
    await expect(figure(saved, "This month")).to_have_text("$8.00")


async def test_a_period_that_is_compared_in_part_shows_no_causes(
    house: House, admin: AdminPage
) -> None:
    """Nine requests before an upgrade saved nine dollars, which no comparison knows of."""
    ledger, now = house.parts.ledger, house.clock()
    for _ in range(9):
        ledger.append(hit(at=now, tenant="default", saved={"exact": 1_000_000_000}))
    compared = Comparison(8_020_000_000, 4_020_000_000)
    ledger.append(row(at=now, tenant="default", cost=20_000_000, compared=compared))
    await admin.open("overview")
    saved = card(admin, "Saved")
    await expect(saved.get_by_role("listitem").filter(has_text="Exact hits")).to_contain_text("$9")
    await saved.get_by_label("against").select_option("all Opus")
    await expect(figure(saved, "Today")).to_have_text("$8.00")
    await expect(saved.get_by_role("listitem")).to_have_count(0)
    await expect(saved.get_by_text("1 of 10 requests are compared")).to_be_visible()


async def test_a_new_server_says_how_to_begin_and_shows_the_first_request(
    house: House, admin: AdminPage
) -> None:
    await admin.open("overview")
    await expect(admin.main.get_by_text(f"ANTHROPIC_BASE_URL={house.url}")).to_be_visible()
    await house.ask("Capital of France?")
    await expect(figure(card(admin, "Saved"), "Today")).to_be_visible()


async def test_sample_traffic_fills_it(browser: Browser, tmp_path: Path) -> None:
    async with (
        House.open(tmp_path, upstream="simulated", anthropic_api_key=None) as house,
        window(browser, house) as page,
    ):
        await page.open("overview")
        await page.main.get_by_role("button", name="Replay sample traffic").click()
        await expect(figure(card(page, "Saved"), "Today")).to_be_visible()
        await expect(figure(card(page, "Now"), "Requests")).not_to_have_text("0")


async def test_a_tenants_key_sees_its_own_figures(house: House, visit: Visit) -> None:
    key = await house.key("acme")
    for tenant in (key, await house.key("beta")):
        await house.ask("Capital of France?", key=tenant)
    async with visit(key=key) as page:
        await page.open("overview")
        await expect(card(page, "Requests by answer")).to_be_visible()
        await expect(card(page, "Needs a look").get_by_role("link", name="1").first).to_be_visible()
        await expect(card(page, "Now")).to_have_count(0)
        await expect(card(page, "Latency")).to_have_count(0)
