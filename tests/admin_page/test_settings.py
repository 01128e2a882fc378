"""Settings in a browser: a setting and a price are changed, the canary runs, the trail shows it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from cacheserver.alerts.rules import Alert
from tests.admin_page.pages import AdminPage, browser_tests
from tests.api.admin import put
from tests.house import MODEL, House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

TABS = ("health", "server", "prices", "alerts", "admins")


async def test_each_tab_is_drawn_and_accessible(admin: AdminPage, house: House) -> None:
    await put(house, "settings", max_bytes="2GB")
    await house.http.post(
        "/admin/v1/admin-keys",
        json={"name": "ann", "role": "tune"},
        headers={"x-api-key": "an-admin-key-for-tests"},
    )
    for tab in TABS:
        assert await admin.draw_each_way(f"settings-{tab}", "settings", tab=tab) == []


async def test_a_setting_is_changed_and_taken_back(admin: AdminPage, house: House) -> None:
    await admin.open("settings", tab="server")
    await admin.main.get_by_label("Find").fill("max_wait_s")
    row = admin.main.get_by_role("row", name="max_wait_s")
    await row.press("Enter")
    dialog = admin.page.get_by_role("dialog")
    admin.expect("400")
    await dialog.get_by_label("New value").fill("-5")
    await dialog.get_by_role("button", name="Change").click()
    await expect(dialog.get_by_text("must be more than 0")).to_be_visible()
    await expect(dialog.get_by_label("New value")).to_have_value("-5")  # nothing typed is lost
    await dialog.get_by_label("New value").fill("12")
    await dialog.get_by_role("button", name="Change").click()
    await expect(row.get_by_text("changed here")).to_be_visible()
    assert house.parts.upstream.slots.max_wait_s == 12
    await row.press("Enter")
    await dialog.get_by_role("button", name="Back to the environment's").click()
    await expect(row.get_by_text("changed here")).to_have_count(0)
    assert house.parts.upstream.slots.max_wait_s == 30
    await admin.open("trail")
    await admin.main.get_by_role("row", name="max_wait_s").first.press("Enter")
    await expect(admin.page.get_by_role("dialog").get_by_text("max_wait_s").first).to_be_visible()
    await admin.picture("trail-change")


async def test_a_price_is_changed_and_a_wrong_one_is_told_beside_its_field(
    admin: AdminPage, house: House
) -> None:
    await admin.open("settings", tab="prices")
    row = admin.main.get_by_role("row", name=MODEL)
    await row.press("Enter")
    dialog = admin.page.get_by_role("dialog")
    admin.expect("400")
    first = dialog.get_by_label("Input").first
    await first.fill("cheap")
    await dialog.get_by_role("button", name="Change prices").click()
    await expect(first).to_have_attribute("aria-invalid", "true")
    await expect(first).to_have_value("cheap")
    await admin.picture("settings-price-error")
    await first.fill("0.7")
    await dialog.get_by_role("button", name="Change prices").click()
    await expect(row.get_by_text("$0.7", exact=True)).to_be_visible()
    rates = house.parts.pricer.rates(MODEL, house.clock())
    assert rates is not None
    assert str(rates.input) == "0.7"


async def test_the_canary_shows_its_three_steps(admin: AdminPage) -> None:
    await admin.open("settings")
    await admin.main.get_by_role("button", name="Run the canary").click()
    steps = admin.main.get_by_role("status").get_by_role("listitem")
    await expect(steps).to_have_count(3)
    await expect(steps.nth(0)).to_contain_text("miss")
    await expect(steps.nth(1)).to_contain_text("exact")
    await expect(steps.nth(2)).to_contain_text("semantic")
    await admin.picture("settings-canary")


async def test_an_alert_is_acknowledged_and_its_kind_silenced(
    admin: AdminPage, house: House
) -> None:
    tenant = await house.parts.tenants.get("default")
    alert = Alert("errors", "default", "", "2026-01-01", "12% of requests fail.", {"failed": 3})
    await house.parts.alerts.delivery.raise_alert(tenant, alert, house.clock())
    await admin.open("settings", tab="alerts")
    row = admin.main.get_by_label("Alerts", exact=True).get_by_role("row", name="12% of requests")
    await row.first.press("Enter")
    dialog = admin.page.get_by_role("dialog")
    admin.expect("400")
    await dialog.get_by_role("button", name="Acknowledge").click()
    await expect(dialog.locator(".field-error")).to_be_visible()  # a reason is needed
    await dialog.get_by_label("Why that is enough").fill("a deployment")
    await dialog.get_by_role("button", name="Acknowledge").click()
    await expect(row.first.get_by_text("acknowledged")).to_be_visible()
    rules = admin.main.get_by_label("Alert rules of default")
    await rules.get_by_role("row", name="errors").get_by_role("button", name="Silence").click()
    await dialog.get_by_label("Reason").fill("load test")
    await dialog.get_by_role("button", name="Silence", exact=True).click()
    await expect(admin.main.get_by_text("load test")).to_be_visible()
    await admin.picture("settings-alerts-silenced")
    await admin.main.get_by_role("button", name="End", exact=True).click()
    await expect(admin.main.get_by_text("load test")).to_have_count(0)
