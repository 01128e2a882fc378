"""`/docs` in a real browser: whole without a network, and the files are those that were checked."""

from __future__ import annotations

import hashlib
import shutil
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright

from cacheserver.api.docs_page import FOLDER
from tests.house import House

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_page_lists_the_routes_and_asks_no_other_host(house: House) -> None:
    asked: list[str] = []
    said: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        await page.goto(f"{house.url}/docs")
        await page.click("#operations-tag-admin button")
        shown = await page.inner_text(".opblock-tag-section:has(#operations-tag-admin)")
        await browser.close()
    assert "/admin/v1/audit-trail" in shown
    assert said == []
    there = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert there == {urlsplit(house.url).netloc}
    assert f"{house.url}/openapi.json" in asked


async def test_the_files_are_those_of_the_release_and_the_page_is_its_own_policy(
    house: House,
) -> None:
    for line in (FOLDER / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        file = (FOLDER / name).read_bytes()
        assert hashlib.sha256(file).hexdigest() == digest, name
        got = await house.http.get(f"/docs/{name}")
        assert got.content == file
    page = await house.http.get("/docs")
    assert page.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'"
    )
    for path in ("/docs/nothing.js", "/docs/../app.py", "/docs/%2e%2e/app.py"):
        gone = await house.http.get(path)
        assert (gone.status_code, gone.json()["type"]) == (404, "error")
