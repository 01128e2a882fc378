"""Tuning in a real browser: from a miss to a hit in a few keys, and back."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from cacheserver.tenants.admin_keys import Role
from tests.admin_page.pages import AdminPage, Visit, browser_tests
from tests.api.admin import ADMIN
from tests.house import House, came_from

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

PARIS, LESS_ALIKE = "What is the capital of France?", "Which city is the capital of France?"


async def opened(page: AdminPage) -> Locator:
    """Open the first scope of the list by keyboard; return its slider."""
    await page.open("tuning")
    row = page.main.get_by_role("row").nth(1)
    await row.focus()
    await row.press("Enter")
    slider = page.main.get_by_role("slider", name="Bar, from strict to loose")
    await expect(slider).to_be_visible()
    return slider


def changing(page: AdminPage, group: str) -> Locator:
    """Return the questions of a group beside the slider."""
    return page.main.get_by_role("region", name=group).get_by_role("listitem")


async def test_a_bar_is_tuned_and_a_former_miss_becomes_a_hit(
    admin: AdminPage, house: House
) -> None:
    await house.ask(PARIS)
    assert came_from(await house.ask(LESS_ALIKE))[0] == "miss"
    newest = (await house.http.get("/admin/v1/entries", headers=ADMIN)).json()["items"][0]
    assert newest["question"] == LESS_ALIKE  # an answer of its own would be an exact hit
    gone = await house.http.delete(f"/admin/v1/entries/default/{newest['id']}", headers=ADMIN)
    assert gone.status_code == 200
    slider = await opened(admin)
    await expect(changing(admin, "Misses, just below it")).to_have_count(1)
    await slider.press("End")
    (begins,) = await changing(admin, "Become hits").all()
    for text in (LESS_ALIKE, PARIS):
        await expect(begins).to_contain_text(text)
    await admin.main.get_by_role("button", name="Set this bar…").click()
    dialog = admin.page.get_by_role("dialog")
    await expect(dialog.get_by_label("This scope")).to_be_checked()
    await expect(dialog).to_contain_text("Become hits: 1")
    await dialog.get_by_label("All of default").check()
    every = dialog.get_by_role("button", name="Set for all of default, 1 scope", exact=True)
    await expect(every).to_be_visible()
    await dialog.get_by_label("This scope").check()
    await dialog.get_by_role("button", name="Set for this scope").click()
    await expect(dialog).to_have_count(0)
    await expect(admin.main).to_contain_text("in force")
    assert came_from(await house.ask(LESS_ALIKE))[0] == "semantic"
    await admin.main.get_by_role("button", name="Undo the last change").click()
    await expect(admin.page.locator(".notice")).to_contain_text("Undone")
    assert came_from(await house.ask(LESS_ALIKE))[0] == "miss"
    await admin.open("tuning", tenant="default", tab="history")
    await expect(admin.main.get_by_role("row")).to_have_count(3)


async def test_a_veto_is_switched_off_after_its_consequences_were_shown(
    admin: AdminPage, house: House
) -> None:
    stored, asked = (
        f"How do I {word} dark mode in the settings of the app?" for word in ("enable", "disable")
    )
    bar = {"bar": {"similarity": 0.9}}
    await house.http.put("/admin/v1/tenants/default/bars", headers=ADMIN, json=bar)
    await house.ask(stored)
    assert came_from(await house.ask(asked))[0] == "miss"
    entries = (await house.http.get("/admin/v1/entries", headers=ADMIN)).json()["items"]
    (own,) = (one["id"] for one in entries if one["question"] == asked)
    await house.http.delete(f"/admin/v1/entries/default/{own}", headers=ADMIN)
    await opened(admin)
    await admin.main.get_by_role("button", name="Vetoes…").click()
    dialog = admin.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("nothing changes until a veto is switched")
    antonym = dialog.get_by_role("checkbox", name="antonym")
    await expect(antonym).to_be_checked()
    await antonym.uncheck()
    await expect(dialog).to_contain_text("Become hits: 1")
    (begins,) = await dialog.locator(".vetoed li").all()
    for text in ("antonym off", stored, asked):
        await expect(begins).to_contain_text(text)
    await dialog.get_by_role("button", name="Set for this scope").click()
    await expect(dialog).to_have_count(0)
    await expect(admin.main.get_by_role("region", name="In force")).to_contain_text("antonym")
    assert came_from(await house.ask(asked))[0] == "semantic"


async def test_a_verdict_beside_the_slider_is_a_label(admin: AdminPage, house: House) -> None:
    await house.ask(PARIS)
    await house.ask(LESS_ALIKE)
    await opened(admin)
    wrong = changing(admin, "Misses, just below it").get_by_role("button", name="Wrong")
    await wrong.click()
    await expect(wrong).to_have_attribute("aria-pressed", "true")
    await admin.page.reload()
    await expect(wrong).to_have_attribute("aria-pressed", "true")
    shown = await house.http.get("/admin/v1/labels/queue?tenant=default", headers=ADMIN)
    assert shown.json()["items"] == []


async def test_stored_text_is_text_and_a_reader_sets_nothing(visit: Visit, house: House) -> None:
    script = "<img src=x onerror=alert(1)>"
    system = f"<script>alert(2)</script> {script}"
    await house.ask(f"{PARIS} {script}", system=system)
    await house.ask(f"{LESS_ALIKE} {script}", system=system)
    role: Role = "read"
    made = await house.http.post(
        "/admin/v1/admin-keys", headers=ADMIN, json={"name": "reader", "role": role}
    )
    async with visit(key=made.json()["key"]) as page:
        slider = await opened(page)
        await slider.press("Home")
        await expect(page.main.get_by_role("heading", level=1)).to_contain_text("<script>")
        await expect(page.main.get_by_text(f"{LESS_ALIKE} {script}")).to_be_visible()
        await expect(page.main.get_by_role("button", name="Set this bar…")).to_be_disabled()
        await expect(page.main.get_by_role("button", name="Undo the last change")).to_have_count(0)


async def test_an_error_of_a_change_is_shown_and_nothing_is_lost(
    admin: AdminPage, house: House
) -> None:
    await house.ask(PARIS)
    await house.ask(LESS_ALIKE)
    await opened(admin)
    admin.expect("404")
    await admin.main.get_by_role("button", name="Undo the last change").click()
    await expect(admin.page.locator(".notice")).to_contain_text("no change of a bar is left")
