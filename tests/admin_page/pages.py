"""The admin page in a real browser: signed in, watched for errors and for requests elsewhere.

    pytestmark = [browser_tests, pytest.mark.asyncio(loop_scope="module")]

    async def test_...(admin: AdminPage) -> None:      # 1440 px, light, signed in as `admin`
        await admin.open("entries", tenant="acme")
        await expect(admin.main.get_by_role("heading", level=1)).to_have_text("Entries")

    async def test_...(visit: Visit) -> None:          # any other window, or several
        async with visit(width=390, scheme="dark") as page:
            ...

Leaving a window fails the test if the page said anything on the console, threw, or asked another
host. What a test provokes is named: `visit(expect=["401"])`, or `admin.expect("401")`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    expect,
)

from tests.api.admin import ADMIN
from tests.house import ADMIN_KEY, House
from tests.models import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
browser_tests = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

WIDTHS: Final = (390, 1440)
HEIGHTS: Final = {390: 844, 1440: 900}
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
PICTURES: Final = ROOT / "var" / "screens"
AXE: Final = Path(__file__).parent / "axe" / "axe.min.js"

_WAIT_MS = 15_000  # a machine that runs many tests may take its time
_GRAVE = ("serious", "critical")
# Only violations are read; to list what passes too takes most of the time of axe.
_AXE_RUN = "axe.run({resultTypes: ['violations']}).then(found => JSON.stringify(found.violations))"

Scheme = Literal["light", "dark"]


class Visit(Protocol):
    """Open a window. `key` signs in; None: nobody is signed in."""

    def __call__(
        self,
        *,
        width: int = 1440,
        scheme: Scheme = "light",
        key: str | None = ADMIN_KEY,
        expect: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[AdminPage]: ...


@dataclass
class AdminPage:
    """A window on the admin page."""

    house: House
    page: Page
    said: list[str] = field(default_factory=list)  # console messages and errors of scripts
    asked: list[str] = field(default_factory=list)  # every address requested
    expected: list[str] = field(default_factory=list)

    @property
    def main(self) -> Locator:
        """The screen, without the frame around it."""
        return self.page.locator("main")

    async def open(self, screen: str, **params: str) -> None:
        """Go to a screen and wait until it is drawn."""
        query = f"?{urlencode(params)}" if params else ""
        await self.page.goto(f"{self.house.url}/admin/{screen}{query}")
        await self.drawn()

    async def drawn(self) -> None:
        """Wait until the screen has a title and nothing is being read for the first time."""
        await expect(self.main.get_by_role("heading", level=1).first).to_be_visible()
        await expect(self.main.locator(".skeleton")).to_have_count(0)

    async def sign_in(self, key: str = ADMIN_KEY) -> None:
        """Sign in through the form."""
        await self.page.goto(f"{self.house.url}/admin")
        await self.page.get_by_label("Admin key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("navigation", name="Screens")).to_be_visible()

    def expect(self, *messages: str) -> None:
        """Allow console messages that contain one of these: the test provokes them."""
        self.expected += messages

    async def charted(self) -> None:
        """Wait until every chart is drawn: the library is loaded when it is needed."""
        await expect(self.main.locator(".chart > [role=img]:empty")).to_have_count(0)

    async def picture(self, name: str) -> None:
        """Keep a picture of the whole page in `var/screens`."""
        await self.charted()
        PICTURES.mkdir(parents=True, exist_ok=True)
        file = PICTURES / f"{name}.png"
        await self.page.screenshot(path=file, full_page=True, animations="disabled")

    async def evaluate(self, script: str) -> Any:
        """Run a script that the page's policy would refuse, as the browser's tools can."""
        tools = await self.page.context.new_cdp_session(self.page)
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        found = await tools.send("Runtime.evaluate", asked)
        await tools.detach()
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def accessibility(self) -> list[str]:
        """Return what axe finds serious or critical, a line each."""
        await self.evaluate(f"{_axe()}; undefined")
        found = json.loads(await self.evaluate(_AXE_RUN))
        return [
            f"{rule['impact']} {rule['id']}: {node['html'][:160]} {_why(node)}"
            for rule in found
            if rule["impact"] in _GRAVE
            for node in rule["nodes"]
        ]

    async def draw_each_way(self, name: str, screen: str, **params: str) -> list[str]:
        """Open a screen at each width in each scheme: keep its picture, and check its width.

        Returns what `accessibility` finds. In one window: to sign in for each takes longer.
        """
        found = []
        for width in WIDTHS:
            await self.page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
            for scheme in SCHEMES:
                await self.page.emulate_media(color_scheme=scheme)
                await self.open(screen, **params)
                await self.picture(f"{name}-{width}-{scheme}")
                assert await self.sideways() <= 0, (name, width)
                found += [f"{name} {width} {scheme}: {one}" for one in await self.accessibility()]
        return found

    async def sideways(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        found = await self.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return int(found)

    def check(self) -> None:
        """Fail if the page said something that was not expected, or asked another host."""
        said = [one for one in self.said if not any(part in one for part in self.expected)]
        assert said == [], said
        hosts = {urlsplit(url).netloc for url in self.asked if not url.startswith("data:")}
        assert hosts <= {urlsplit(self.house.url).netloc}, hosts

    def _watch(self) -> None:
        def console(message: ConsoleMessage) -> None:
            self.said.append(f"{message.type}: {message.text} ({message.location['url']})")

        def error(found: Exception) -> None:
            self.said.append(f"error: {found}")

        def request(found: Request) -> None:
            self.asked.append(found.url)

        self.page.on("console", console)
        self.page.on("pageerror", error)
        self.page.on("request", request)


@asynccontextmanager
async def window(
    browser: Browser,
    house: House,
    *,
    width: int = 1440,
    scheme: Scheme = "light",
    key: str | None = ADMIN_KEY,
    expect: Sequence[str] = (),
) -> AsyncIterator[AdminPage]:
    """Open a window of its own, without another's cookies."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": HEIGHTS.get(width, 900)},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(_WAIT_MS)
    try:
        found = AdminPage(house, await context.new_page(), expected=[*expect])
        found._watch()
        if key is not None:
            await found.sign_in(key)
        yield found
        found.check()
    finally:
        await context.close()


@asynccontextmanager
async def sampled(folder: Path) -> AsyncIterator[House]:
    """Open a server that has replayed the sample traffic, which takes half a minute."""
    async with House.open(
        folder, upstream="simulated", anthropic_api_key=None, similarity=None
    ) as house:
        begun = await house.http.post("/admin/v1/sample-traffic", headers=ADMIN)
        assert begun.status_code == 202, begun.text
        task = house.parts.sample._task
        assert task is not None
        await asyncio.wait({task})
        yield house


@cache
def _axe() -> str:
    return AXE.read_text()


def _why(node: dict[str, Any]) -> str:
    return "; ".join(one["message"] for one in (*node["any"], *node["all"], *node["none"]))
