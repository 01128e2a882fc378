"""`scripts/screenshots`: pictures of the admin page for the README, into `docs/pictures`.

They show a server that has replayed the sample traffic, so everybody gets nearly the same ones.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import async_playwright, expect

from cacheserver.sample_traffic import traffic
from tests.admin_page.pages import CHROMIUM, SCHEMES, AdminPage, sampled, window
from tests.models import ROOT

FOLDER: Final = ROOT / "docs" / "pictures"
MOST_BYTES: Final = 150_000  # of a picture: a README is read on phones
_QUALITIES: Final = (90, 80, 70, 55)  # of WebP, the best first


async def main() -> int:
    if CHROMIUM is None:
        print("Chromium is not installed", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with sampled(Path(folder)) as house, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
            )
            for scheme in SCHEMES:
                async with window(browser, house, scheme=scheme) as page:
                    await page.open("overview")
                    await expect(page.main.get_by_text("live", exact=True)).to_be_visible()
                    await expect(page.main.get_by_text("Sample traffic")).to_be_visible()
                    await _take(page, f"overview-{scheme}")
                    await _open_scope(page)
                    await _take(page, f"tuning-{scheme}")
            await browser.close()
    return 0


async def _open_scope(page: AdminPage) -> None:
    """Open the scope with the most traffic."""
    await page.open("tuning", tenant=traffic.TENANT)
    await page.main.get_by_role("table").locator("tbody a").first.click()
    await page.drawn()


async def _take(page: AdminPage, name: str) -> None:
    await page.charted()
    tools = await page.page.context.new_cdp_session(page.page)
    for quality in _QUALITIES:
        asked = {"format": "webp", "quality": quality}
        found = await tools.send("Page.captureScreenshot", asked)
        picture = base64.b64decode(found["data"])
        if len(picture) <= MOST_BYTES:
            break
    (FOLDER / f"{name}.webp").write_bytes(picture)
    print(f"{name}.webp: {len(picture):,} bytes")


if __name__ == "__main__":
    argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__).parse_args()
    sys.exit(asyncio.run(main()))
