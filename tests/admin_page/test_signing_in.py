"""Signing in through the form, and what the page does when its server or its session is gone."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from tests.admin_page.pages import SCHEMES, WIDTHS, AdminPage, Scheme, Visit, browser_tests
from tests.api.admin import ADMIN
from tests.house import House

pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

_REFUSED = "the server responded with a status of 401"


async def test_a_wrong_key_is_said_beside_the_field_and_a_right_one_opens_the_page(
    visit: Visit,
) -> None:
    async with visit(key=None, expect=[_REFUSED]) as page:
        await page.page.goto(f"{page.house.url}/admin")
        field = page.page.get_by_label("Admin key")
        await field.fill("not-the-key")
        await page.page.keyboard.press("Enter")
        alert = page.page.get_by_role("alert")
        await expect(alert).to_contain_text("the key is unknown")
        await expect(field).to_have_value("not-the-key")
        assert await page.accessibility() == []
        await page.sign_in()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_form_is_accessible(visit: Visit, width: int, scheme: Scheme) -> None:
    async with visit(width=width, scheme=scheme, key=None) as page:
        await page.page.goto(f"{page.house.url}/admin")
        await expect(page.page.get_by_label("Admin key")).to_be_focused()
        await page.picture(f"sign-in-{width}-{scheme}")
        assert await page.accessibility() == []
        assert await page.sideways() <= 0


async def test_signing_out_ends_the_session(admin: AdminPage) -> None:
    await admin.page.get_by_role("button", name="Sign out").click()
    await expect(admin.page.get_by_label("Admin key")).to_be_visible()
    await admin.page.reload()
    await expect(admin.page.get_by_label("Admin key")).to_be_visible()
    cookies = await admin.page.context.cookies()
    assert cookies == []


@pytest.mark.parametrize("worked", [True, False])
async def test_what_is_opened_while_signing_out_reads_nothing_until_that_is_done(
    admin: AdminPage, worked: bool
) -> None:
    ended, opened = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        if route.request.method != "DELETE":
            return await route.continue_()
        if not worked:
            ended.set()
            await opened.wait()
            return await route.fulfill(
                status=503, json={"error": {"message": "The store is away."}}
            )
        answer = await route.fetch()
        ended.set()
        await opened.wait()
        return await route.fulfill(response=answer)

    if not worked:
        admin.expect("status of 503")
    await admin.page.route("**/admin/session", late)
    await admin.page.get_by_role("button", name="Sign out").click()
    await ended.wait()
    await admin.page.get_by_role("link", name="Entries", exact=True).click()
    await expect(admin.page).to_have_title(re.compile("Entries"))
    await admin.page.get_by_role("link", name="Overview", exact=True).click()
    await expect(admin.page).to_have_title(re.compile("Overview"))
    asked = len(admin.asked)
    opened.set()
    if worked:
        await expect(admin.page.get_by_label("Admin key")).to_be_visible()
    else:
        await expect(admin.page.get_by_text("The store is away.")).to_be_visible()
        nothing = admin.main.get_by_role("region", name="Nothing was asked in the last 30 days")
        await expect(nothing).to_be_visible()
    late_reads = [url for url in admin.asked[asked:] if "/admin/v1/" in url]
    assert (late_reads == []) is worked


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(admin: AdminPage) -> None:
    (cookie,) = await admin.page.context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
    assert await admin.evaluate("document.cookie") == ""


async def test_a_change_without_the_token_is_refused(admin: AdminPage, house: House) -> None:
    admin.expect("status of 403")
    put = "fetch('/admin/v1/tenants/acme', {method: 'PUT', body: '{}'}).then(r => r.status)"
    assert await admin.evaluate(put) == 403
    assert (await house.http.get("/admin/v1/tenants", headers=ADMIN)).json()["items"] == []


async def test_a_page_without_its_server_says_so(visit: Visit) -> None:
    async with visit(expect=["ERR_INTERNET_DISCONNECTED"]) as page:
        await page.page.context.set_offline(True)
        await page.page.get_by_role("button", name="Sign out").click()
        banner = page.page.get_by_text("What is shown may be old")
        await expect(banner).to_be_visible()
        await page.page.context.set_offline(False)
        await page.page.get_by_role("button", name="Sign out").click()
        await expect(page.page.get_by_label("Admin key")).to_be_visible()


async def test_the_policy_lets_no_inline_script_run(visit: Visit) -> None:
    async with visit(expect=["Content Security Policy"]) as page:
        await page.evaluate(
            "const one = document.createElement('script');"
            "one.textContent = 'window.ran = true';"
            "document.body.append(one)"
        )
        assert await page.evaluate("window.ran === undefined") is True
