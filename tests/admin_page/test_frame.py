"""The frame: nothing typed or shown once is lost, and "back" goes back one step."""

from __future__ import annotations

import pytest
from playwright.async_api import Dialog, Page, expect

from tests.admin_page.pages import AdminPage, browser_tests
from tests.api.admin import ADMIN
from tests.house import ADMIN_KEY, House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]


async def test_a_dialog_with_something_typed_stays_and_one_without_closes(
    admin: AdminPage,
) -> None:
    asked = _answering(admin.page, accept=False)
    await admin.open("settings", tab="admins")
    opener = admin.main.get_by_role("button", name="New admin key")
    dialog = admin.page.get_by_role("dialog")
    await opener.click()
    await admin.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(opener).to_be_focused()

    await opener.click()
    await dialog.get_by_label("Name").fill("ann")
    await admin.page.mouse.click(5, 5)
    assert asked == []
    await admin.page.keyboard.press("Escape")
    await admin.page.keyboard.press("Escape")
    assert len(asked) == 2
    await expect(dialog.get_by_label("Name")).to_have_value("ann")


async def test_a_press_inside_that_ends_outside_keeps_a_dialog(admin: AdminPage) -> None:
    await admin.open("settings", tab="admins")
    await admin.main.get_by_role("button", name="New admin key").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_role("heading").hover()
    await admin.page.mouse.down()
    await admin.page.mouse.move(5, 5)
    await admin.page.mouse.up()
    await expect(dialog).to_be_visible()
    await admin.page.mouse.click(5, 5)
    await expect(dialog).to_have_count(0)


async def test_a_key_that_is_shown_once_is_closed_by_its_buttons_only(admin: AdminPage) -> None:
    await admin.open("settings", tab="admins")
    await admin.main.get_by_role("button", name="New admin key").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("ann")
    await dialog.get_by_role("button", name="Create").click()
    await expect(dialog.locator("code")).to_contain_text("csa_")
    await admin.page.keyboard.press("Escape")
    await admin.page.keyboard.press("Escape")
    await admin.page.mouse.click(5, 5)
    await expect(dialog.locator("code")).to_contain_text("csa_")
    await admin.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await dialog.get_by_role("button", name="Copy").click()
    await expect(dialog.get_by_role("button", name="Press Ctrl+C")).to_be_visible()
    chosen = await admin.evaluate("getSelection().toString()")
    assert chosen == await dialog.locator("code").text_content()
    await dialog.get_by_role("button", name="Done").click()
    await expect(dialog).to_have_count(0)


async def test_leaving_a_changed_form_asks_by_link_by_tab_and_by_back(
    admin: AdminPage, house: House
) -> None:
    await house.http.put("/admin/v1/tenants/acme", headers=ADMIN, json={"default_ttl_s": 60})
    await admin.open("tenants")
    await admin.main.get_by_text("acme").click()
    await admin.main.get_by_role("tab", name="Settings").click()
    field = admin.main.get_by_label("Longest lifetime")
    await field.fill("7200")
    here = admin.page.url
    asked = _answering(admin.page, accept=False)
    await admin.page.get_by_role("link", name="Entries").click()
    await admin.main.get_by_role("tab", name="Keys").click()
    await admin.page.evaluate("history.back()")
    await expect(field).to_have_value("7200")
    await admin.page.wait_for_url(here)
    assert len(asked) == 3


async def test_back_closes_what_was_opened_and_stays_on_the_screen(
    admin: AdminPage, house: House
) -> None:
    await house.http.put("/admin/v1/tenants/acme", headers=ADMIN, json={"default_ttl_s": 60})
    await admin.open("overview")
    await admin.page.get_by_role("navigation").get_by_text("Tenants and budgets").click()
    await admin.main.get_by_text("acme").click()
    await expect(admin.main.get_by_role("heading", level=1)).to_contain_text("acme")
    await admin.page.go_back()
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("Tenants and budgets")
    await admin.page.go_back()
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("Overview")


async def test_an_address_without_a_screen_is_said_on_the_page(
    admin: AdminPage, house: House
) -> None:
    admin.expect("status of 404")
    await admin.page.goto(f"{house.url}/admin/nosuch")
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("No such page")
    assert (await house.http.get("/admin/nosuch")).json()["error"]["type"] == "not_found_error"


async def test_a_session_that_is_over_keeps_what_was_typed(admin: AdminPage) -> None:
    admin.expect("status of 401")
    await admin.open("settings", tab="admins")
    await admin.main.get_by_role("button", name="New admin key").click()
    form = admin.page.get_by_role("dialog", name="New admin key")
    await form.get_by_label("Name").fill("ann")
    await admin.page.context.clear_cookies()
    await form.get_by_role("button", name="Create").click()
    over = admin.page.get_by_role("dialog", name="The session is over")
    await expect(over.get_by_label("Admin key")).to_be_focused()
    await admin.page.keyboard.press("Escape")
    await over.get_by_label("Admin key").fill(ADMIN_KEY)
    await over.get_by_role("button", name="Sign in").click()
    await expect(over).to_have_count(0)
    await expect(form.get_by_label("Name")).to_have_value("ann")
    await form.get_by_role("button", name="Create").click()
    await expect(admin.page.get_by_role("dialog").locator("code")).to_contain_text("csa_")


async def test_a_screen_that_the_server_could_not_give_opens_once_it_is_back(
    admin: AdminPage,
) -> None:
    admin.expect("ERR_INTERNET_DISCONNECTED")
    await admin.open("overview")
    await admin.page.context.set_offline(True)
    await admin.page.get_by_role("navigation").get_by_text("Jobs").click()
    await expect(admin.main.get_by_role("alert")).to_contain_text("cannot be reached")
    await expect(admin.page.get_by_text("What is shown may be old")).to_be_visible()
    await admin.page.context.set_offline(False)
    await expect(admin.main.get_by_role("heading", level=1)).to_have_text("Jobs")
    await expect(admin.page.get_by_text("What is shown may be old")).to_have_count(0)


def _answering(page: Page, *, accept: bool) -> list[str]:
    """Answer every question of the page; return the questions so far."""
    asked: list[str] = []

    async def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await (dialog.accept() if accept else dialog.dismiss())

    page.on("dialog", answer)
    return asked
