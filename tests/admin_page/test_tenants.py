"""Tenants in a browser: a key is made, shown once and revoked; a form keeps what was typed."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.admin_page.pages import AdminPage, Visit, browser_tests
from tests.api.admin import ADMIN, put
from tests.house import House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

TABS = ("keys", "budgets", "settings", "lifetimes")


async def test_a_tenant_and_the_budgets_are_drawn_and_accessible(
    admin: AdminPage, house: House
) -> None:
    key = await house.key("shop")
    await house.key("clinic")
    limits = {"daily": {"usd": 0.00005}, "monthly": {"usd": 20}, "at_limit": "warn"}
    rules = [{"namespace": "news", "default_ttl_s": 60, "max_ttl_s": 600}]
    await put(house, "tenants/shop", budgets=limits, ttl_rules=rules)
    await house.ask("Who?", key=key)
    for name, params in {
        "tenants-list": {},
        "tenants-budgets": {"tab": "budgets"},
        **{f"tenant-{tab}": {"tenant": "shop", "tab": tab} for tab in TABS},
    }.items():
        assert await admin.draw_each_way(name, "tenants", **params) == []


async def test_the_tenant_of_callers_without_a_key_is_emptied_and_stays(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await admin.open("tenants", tenant="shop")
    await expect(admin.main.get_by_role("button", name="Delete")).to_be_visible()
    await expect(admin.main).not_to_contain_text("cannot be deleted")
    await put(house, "tenants/default", default_ttl_s=60)
    await admin.open("tenants", tenant="default")
    await expect(admin.main).to_contain_text("cannot be deleted")
    await expect(admin.main.get_by_role("button", name="Delete")).to_have_count(0)
    await admin.main.get_by_role("button", name="Empty").click()
    dialog = admin.page.get_by_role("dialog", name="Empty default")
    await dialog.get_by_role("textbox").fill("default")
    await admin.picture("tenant-empty")
    await dialog.get_by_role("button", name="Empty for ever").click()
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("Tenants and budgets")
    left = await house.http.get("/admin/v1/tenants/default", headers=ADMIN)
    assert (left.status_code, left.json()["own"]) == (200, {})


async def test_a_key_with_the_role_write_stores_answers_and_an_ordinary_one_does_not(
    admin: AdminPage, house: House
) -> None:
    await admin.open("tenants", tenant="default", tab="keys")
    for role, status in (("ask", 403), ("write", 200)):
        await admin.main.get_by_role("button", name="New key").first.click()
        dialog = admin.page.get_by_role("dialog")
        await dialog.get_by_label("Label").fill(f"may {role}")
        if role != "ask":  # the form begins with the one that may less
            await dialog.get_by_label("Role").select_option(role)
        await admin.picture(f"tenant-new-key-{role}")
        await dialog.get_by_role("button", name="Create").click()
        plain = await dialog.locator(".copyable code").inner_text()
        await dialog.get_by_role("button", name="Done").click()
        await expect(admin.main.get_by_role("row", name=f"may {role}")).to_contain_text(role)
        answer = {"prompt": "What is the capital of France?", "answer": "Paris."}
        put_answer = await house.http.put("/v1/entries", json=answer, headers={"x-api-key": plain})
        assert put_answer.status_code == status, put_answer.text


async def test_a_key_is_shown_once_answers_and_is_refused_once_revoked(
    admin: AdminPage, house: House
) -> None:
    await admin.open("tenants")
    await admin.main.get_by_role("button", name="New key").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Tenant").fill("shop")
    await dialog.get_by_label("Label").fill("web site")
    await dialog.get_by_role("button", name="Create").click()
    plain = await dialog.locator(".copyable code").inner_text()
    await admin.picture("tenant-key-shown")
    await dialog.get_by_role("button", name="Done").click()
    assert (await house.ask(key=plain)).status_code == 200
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("shop")
    await admin.main.get_by_role("button", name="Revoke").click()
    await dialog.get_by_role("button", name="Revoke").click()
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("Tenants and budgets")
    house.parts.tenants.forget("shop")
    assert (await house.ask("Again?", key=plain)).status_code == 401


async def test_a_refused_limit_leaves_the_key_as_it_was_and_a_rotation_is_listed(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await admin.open("tenants", tenant="shop")
    await admin.main.get_by_role("button", name="Edit").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Label").fill("web site")
    await dialog.get_by_label("Requests a minute").fill("0")
    admin.expect("400")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_label("Requests a minute")).to_have_attribute("aria-invalid", "true")
    kept = await house.http.get("/admin/v1/keys", headers=ADMIN)
    assert kept.json()["items"][0]["label"] != "web site"
    await dialog.get_by_label("Requests a minute").fill("60")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    await expect(admin.main.get_by_role("cell", name="web site")).to_be_visible()
    await admin.main.get_by_role("button", name="Rotate").click()
    await dialog.get_by_role("button", name="Make a new key").click()
    await dialog.get_by_role("button", name="Done").click()
    await expect(admin.main.get_by_text("old key until")).to_be_visible()


async def test_a_key_that_reads_only_is_offered_no_change(visit: Visit, house: House) -> None:
    await house.key("shop")
    await put(house, "tenants/shop", stale_s=60)
    body = {"name": "reader", "role": "read"}
    made = await house.http.post("/admin/v1/admin-keys", json=body, headers=ADMIN)
    async with visit(key=made.json()["key"]) as page:
        await page.open("tenants", tenant="shop", tab="settings")
        await expect(page.main.get_by_label("Stale answers, seconds")).to_be_disabled()
        await expect(page.main.get_by_role("button", name="Save changes")).to_have_count(0)
        await expect(page.main.get_by_role("button", name="back to")).to_have_count(0)
        await page.open("settings", tab="prices")
        await page.main.get_by_role("row").nth(1).click()
        dialog = page.page.get_by_role("dialog")
        await expect(dialog.get_by_label("Input").first).to_be_disabled()
        await expect(dialog.get_by_role("button", name="Change prices")).to_have_count(0)


async def test_the_tenant_of_callers_without_a_key_is_listed_with_the_others(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await put(house, "tenants/default", stale_s=60)
    await admin.open("tenants")
    row = admin.main.get_by_role("row").filter(has_text="callers without a key")
    await expect(row).to_contain_text("stale_s")
    await row.get_by_role("link", name="default").click()
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("default")


async def test_a_wrong_value_is_told_beside_its_field_and_nothing_typed_is_lost(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await admin.open("tenants", tenant="shop", tab="settings")
    form = admin.main.locator("form")
    admin.expect("400")
    daily, stale = form.get_by_label("Dollars a day"), form.get_by_label("Stale answers, seconds")
    await stale.fill("soon")
    await daily.fill("-1")
    await form.get_by_role("button", name="Save changes").click()
    for field in (daily, stale):  # all that are wrong at once
        await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(form.get_by_text("must be at least 0")).to_be_visible()
    await expect(form.locator(".field-error")).to_have_count(2)
    await expect(stale).to_be_focused()  # the first of the form
    await expect(daily).to_have_value("-1")
    await expect(stale).to_have_value("soon")
    await stale.fill("60")
    await expect(form.locator(".field-error")).to_have_count(1)
    await admin.picture("tenant-settings-error")
    await daily.fill("5")
    await form.get_by_role("button", name="Save changes").click()
    await expect(admin.page.get_by_text("In force within")).to_be_visible()
    own = (await house.parts.tenants.stored("shop")).own
    assert own == {"stale_s": 60, "budgets": {"daily": {"usd": 5}}}
    await daily.fill("")  # back to the default
    await form.get_by_role("button", name="Save changes").click()
    await expect(admin.main.get_by_text("There are changes that are not saved")).to_have_count(0)
    await expect(daily).to_have_value("")
    assert (await house.parts.tenants.stored("shop")).own == {"stale_s": 60}


async def test_what_is_typed_while_a_form_is_read_again_stays(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await admin.open("tenants", tenant="shop", tab="settings")
    form, typed = admin.main.locator("form"), asyncio.Event()
    daily, stale = form.get_by_label("Dollars a day"), form.get_by_label("Stale answers, seconds")

    async def hold(route: Route) -> None:
        if route.request.method == "GET":
            await typed.wait()
        await route.continue_()

    await admin.page.route("**/admin/v1/tenants/shop", hold)
    await stale.fill(" 60")
    await form.get_by_role("button", name="Save changes").click()
    await expect(admin.page.get_by_text("In force within")).to_be_visible()
    await daily.fill("7")
    typed.set()
    await expect(stale).to_have_value("60")  # as the server has it: it was read again
    await expect(daily).to_have_value("7")
    await form.get_by_role("button", name="Save changes").click()
    await expect(admin.main.get_by_text("There are changes that are not saved")).to_have_count(0)
    own = (await house.parts.tenants.stored("shop")).own
    assert own == {"stale_s": 60, "budgets": {"daily": {"usd": 7}}}


async def test_a_rule_of_lifetimes_is_added_and_the_check_names_it(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await admin.open("tenants", tenant="shop", tab="lifetimes")
    await admin.main.get_by_role("button", name="Add a rule").click()
    rules = admin.main.get_by_label("Rules of lifetimes").first
    await rules.get_by_label("Namespace").fill("news")
    await rules.get_by_label("Default, seconds").fill("60")
    await rules.get_by_role("button", name="Add", exact=True).click()
    await expect(rules.get_by_role("cell", name="news")).to_be_visible()
    check = admin.main.get_by_label("How long would an answer live?")
    await check.get_by_label("Namespace").fill("news")
    await check.get_by_role("button", name="Check").click()
    await expect(check.get_by_role("status")).to_contain_text("by rule 1")


async def test_a_tenant_is_deleted_with_its_name_as_the_phrase(
    admin: AdminPage, house: House
) -> None:
    await house.key("shop")
    await admin.open("tenants", tenant="shop")
    await admin.main.get_by_role("button", name="Delete").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Delete for ever").click()
    await expect(dialog.get_by_text("is not the phrase")).to_be_visible()
    await dialog.get_by_label("to confirm").fill("shop")
    await dialog.get_by_role("button", name="Delete for ever").click()
    await expect(admin.main.get_by_text("No tenants yet")).to_be_visible()
    assert "shop" not in await house.parts.tenants.names()
