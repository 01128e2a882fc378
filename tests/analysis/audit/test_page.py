"""The report as a page: what it says, what it never does, and how a browser shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from cacheserver.analysis.audit import data, invoice
from cacheserver.analysis.audit.formats.reading import ReadLog
from cacheserver.analysis.audit.leaks import Leaks
from cacheserver.analysis.audit.output import html
from cacheserver.analysis.audit.output.format import dollars, over_month
from cacheserver.analysis.audit.tally import Tally
from cacheserver.analysis.replay.step import Step
from cacheserver.core.types import Route, Usage
from tests.analysis.replay.calls import PRICER, call

HOSTILE = "<script>alert('\u202epwned')</script><img src=https://x.test/a onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def made(*, days: int = 30, sign: int = 1) -> dict[str, Any]:
    """A report with something of everything; what a log says is hostile."""
    tally, leaks = Tally(), Leaks(PRICER.cost)
    for n in range(days * 10):
        one = call(
            f"q{n}",
            n * 8_640,
            model=("claude-opus-5-5", "claude-sonnet-4-6")[n % 2],
            system=f"{HOSTILE} {n % 3}",
            source=HOSTILE,
        )
        parts = {"exact": 3 * 10**8, "routing": 2 * 10**8, "prompt-caching": -sign * 10**7}
        route = Route("claude-haiku-5-5", "complexity", "low")
        step = Step(10**9, alone=parts, together=parts, route=route, root="abc"[n % 3])
        hit = Step(10**9, alone={"semantic": 10**9}, together={"semantic": 10**9}, kind="semantic")
        step = step if n % 5 else hit
        leaks.add(one, step, tally.add(one, step))
    reading = ReadLog(requests=days * 10, lines=days * 10 + 1, files=1, bad=1, shown=[HOSTILE])
    reading.skipped[HOSTILE] = 2
    reading.formats["messages"] = days * 10
    reading.first, reading.last = 1_793_613_600.0, 1_793_613_600.0 + days * 86_400
    book = invoice.Invoice()
    book.add(invoice.Bucket(1_793_577_600.0, "claude-opus-5", Usage(10**6, 10**5), key=HOSTILE))
    book.add(invoice.Bucket(1_793_577_600.0, "claude-opus-5", cost=10**9))
    worst = leaks.worst(tally.whole.spent, days * 86_400.0)
    return data.report(reading, tally, worst, invoice=invoice.totals(book, PRICER))


def row_of(days: int) -> list[dict[str, Any]]:
    """So many days that cost a dollar each."""
    first = date(2025, 1, 1)
    return [
        {"name": f"{first + timedelta(days=n)}", "model": "", "requests": 1}
        | {"spent_usd": "1.000000000", "saved_usd": "0.000000000", "saved_by_usd": {}}
        for n in range(days)
    ]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_runs_nothing_and_asks_for_nothing() -> None:
    text = html.page(made())
    page = Page(text)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "a"}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href")}
    assert "url(" not in text
    assert "@import" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text
    policy = next(a for tag, a in page.tags if a.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_its_numbers_are_those_of_the_data() -> None:
    found = made()
    text = unescape(re.sub(r"<[^>]*>", " ", html.page(found)))
    for one in (*found["by_model"], *found["groups"], *found["by_day"]):
        assert dollars(one["spent_usd"]) in text
    for leak in found["leaks"]:
        assert over_month(leak["month"]) in text
    assert dollars(found["month"]["saved"]["usd"]) in text
    assert " to ".join(dollars(end) for end in found["month"]["saved"]["interval_95_usd"]) in text
    for lever in found["levers"].values():
        assert dollars(lever["alone_usd"]) in text
    assert dollars(found["anthropic_reports"]["cost_report_usd"]) in text


def test_every_value_of_a_report_is_escaped() -> None:
    def hostile(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: hostile(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [hostile(one) for one in value]
        is_name = isinstance(value, str) and not re.match(r"-?\d", value)
        return f"{value}{HOSTILE}" if is_name else value

    found = made()
    found["unpriced_models"] = {HOSTILE: 1}
    text = html.page(hostile(found))
    assert text.count("&lt;script&gt;") > 50
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert "\u202e" not in text
    assert "&lt;U+202E&gt;" in text


def test_amounts_below_a_cent_are_text_and_no_tag() -> None:
    tally = Tally()
    tally.add(call(), Step(10**6, alone={"exact": 10**6}, together={"exact": 10**6}))
    page = html.page(data.report(ReadLog(requests=1), tally, []))
    assert "&lt;$0.01" in page
    assert "<$" not in page


def test_a_browser_draws_long_logs_and_short_ones(tmp_path: Path, browser: Browser) -> None:
    found = made(days=1)
    for days in (1, 2, 92, 93, 400, 4_000):
        found["by_day"] = row_of(days)
        path = tmp_path / "report.html"
        path.write_text(html.page(found), "utf-8")
        page = browser.new_page(viewport={"width": 375, "height": 800})
        page.goto(path.as_uri())
        widths = page.evaluate(
            "[...document.querySelectorAll('.days rect')].map(e => e.getBoundingClientRect().width)"
        )
        assert len(widths) <= 92
        assert 2 < min(widths) <= max(widths) < 40
        page.close()


def test_a_report_of_nothing_is_a_page_too() -> None:
    page = html.page(data.report(ReadLog(), Tally(), []))
    assert "No request was read." in page
    assert Page(page).open == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [375, 1_100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("report", ["month", "day", "negative", "empty"])
def test_a_browser_shows_it_without_a_word_or_a_sideways_scroll(
    tmp_path: Path, browser: Browser, width: int, scheme: Any, report: str
) -> None:
    found = {
        "month": lambda: made(),
        "day": lambda: made(days=1),
        "negative": lambda: made(sign=100),
        "empty": lambda: data.report(ReadLog(), Tally(), []),
    }[report]()
    path = tmp_path / "report.html"
    path.write_text(html.page(found), "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (said, asked) == ([], [path.as_uri()])
    red = "name => parseInt(getComputedStyle(document.body)[name].match(/[0-9]+/)[0])"
    paper, ink = page.evaluate(red, "backgroundColor"), page.evaluate(red, "color")
    assert (paper < ink) == (scheme == "dark")
    page.close()
