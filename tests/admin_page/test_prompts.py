"""Prompt cache and routing on the admin page: where tokens go, and rules tried and applied."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.admin_page.pages import AdminPage, browser_tests
from tests.api.admin import ADMIN
from tests.house import House
from tests.promptcache.test_session import SYSTEM

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

EVIL = "What is the capital of <img src=x>?"


async def test_rules_are_tried_on_the_calls_of_the_day_and_applied(
    admin: AdminPage, house: House
) -> None:
    for text in ("What is the capital of France?", EVIL):
        await house.ask(text, model="auto")
    await admin.open("prompts", tab="routing")
    main = admin.main
    await main.get_by_label("Simple questions go to").select_option("middle")
    await main.get_by_role("button", name="Try on the last 500 calls").click()
    result = main.get_by_role("region", name="Result")
    await expect(result.get_by_text("Calls that would move")).to_be_visible()
    await expect(result.get_by_text(EVIL)).to_be_visible()
    assert await admin.accessibility() == []
    await result.get_by_role("button", name="Apply these rules").click()
    dialog = admin.page.get_by_role("dialog")
    await expect(dialog.get_by_text('"simple": "middle"')).to_be_visible()
    await dialog.get_by_role("button", name="Apply").click()
    await expect(admin.page.get_by_text("in force on all servers")).to_be_visible()
    await expect(main.get_by_text("set by the tenant")).to_be_visible()
    found = await house.http.get("/admin/v1/routing/default", headers=ADMIN)
    assert found.json()["own"] == {"levels": {"simple": "middle"}}


async def test_a_wrong_model_is_said_beside_its_field_and_nothing_is_lost(
    admin: AdminPage, house: House
) -> None:
    await admin.open("prompts", tab="routing")
    admin.expect("400")
    await admin.main.get_by_text("Models, and replacing").click()
    await admin.main.get_by_label("Model of the low tier").fill("claude-haiku-99")
    await admin.main.get_by_role("button", name="Try on").click()
    await expect(admin.main.get_by_text("is not known; there are")).to_be_visible()
    await expect(admin.main.get_by_label("Model of the low tier")).to_have_value("claude-haiku-99")


async def test_tokens_prefixes_and_what_keeps_prompts_apart_are_shown(
    admin: AdminPage, house: House
) -> None:
    for number in range(4):
        await house.ask(f"Where is {number}?", system=SYSTEM)
        await house.ask("Why?", system=f"{SYSTEM}\nNow it is 2026-11-21 04:0{number}. Be quick.")
    await admin.open("prompts")
    main = admin.main
    await expect(main.get_by_role("cell", name="Read from the cache")).to_be_visible()
    await expect(main.get_by_text("first read")).to_be_visible()
    await expect(main.get_by_text("9999-99-99 99:99")).to_be_visible()
    await expect(main.get_by_role("img", name="Changes at")).to_be_visible()
    assert await admin.accessibility() == []


async def test_answers_of_an_old_prompt_are_looked_at_and_copied(
    admin: AdminPage, house: House
) -> None:
    for topic in ("refunds", "parcels", "invoices", "vouchers", "returns"):
        await house.ask(f"What is to be known about {topic}?", system=SYSTEM)
    await house.ask("Do you deliver on Sundays?", system=f"{SYSTEM} Be kind.")
    await admin.open("prompts")
    await admin.main.get_by_role("button", name="Copy them").click()
    dialog = admin.page.get_by_role("dialog")
    await expect(dialog.get_by_text("What is to be known about refunds?")).to_be_visible()
    await dialog.get_by_role("button", name="Copy", exact=True).click()
    await expect(admin.page.get_by_text("5 answers were copied.")).to_be_visible()
    again = await house.ask("What is to be known about refunds?", system=f"{SYSTEM} Be kind.")
    assert again.headers["x-cache"] == "semantic"
