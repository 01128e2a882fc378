"""Pages of other origins, asked as a browser does: closed unless the operator lists an origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from cacheserver.api.server.cors import EXPOSED
from cacheserver.config.settings import Settings
from tests.house import ADMIN_KEY, House

PAGE, STRANGER = "https://app.example.com", "https://evil.example.com"
COMMON = {"content-type", "content-length", "date", "server", "connection", "vary", "cache-control"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, cors_origins=f"{PAGE}, http://localhost:3000") as house:
        yield house


async def preflight(house: House, origin: str, path: str = "/v1/messages") -> httpx2.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key,anthropic-version,x-cache-ttl,x-of-tomorrow",
    }
    return await house.http.options(path, headers=headers)


def allowed(response: httpx2.Response) -> list[str]:
    return [name for name in response.headers if name.startswith("access-control-")]


async def test_a_page_of_a_listed_origin_asks_and_reads_all_that_answers_say(house: House) -> None:
    before = await preflight(house, PAGE)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == PAGE
    assert "POST" in before.headers["access-control-allow-methods"]
    assert "x-of-tomorrow" in before.headers["access-control-allow-headers"]
    key = await house.key("acme")
    for _ in range(2):
        answer = await house.ask(key=key, headers={"origin": PAGE})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in answer.headers["vary"]
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        ours = {n for n in answer.headers if not n.startswith("access-control-")} - COMMON
        assert ours <= set(exposed)
        assert {"x-cache", "x-cache-reason", "x-cost-usd", "request-id"} <= ours
    assert answer.headers["x-cache"] == "exact"
    streamed = await house.ask(key=key, headers={"origin": PAGE}, stream=True)
    assert streamed.headers["access-control-allow-origin"] == PAGE
    assert "message_stop" in streamed.text


async def test_a_page_reads_why_it_was_refused(house: House) -> None:
    await house.key("acme")
    for path in ("/v1/messages", "/v1/nothing"):
        refused = await house.http.post(path, json={}, headers={"origin": PAGE})
        assert refused.status_code in (401, 404)
        assert refused.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    "origin",
    [
        STRANGER,
        "http://app.example.com",
        f"{PAGE}:8443",
        f"{PAGE}.evil.com",
        f"{PAGE}, {STRANGER}",
        "https://sub.app.example.com",
        "null",
        "*",
        "",
    ],
)
async def test_no_other_origin_is_let_in(house: House, origin: str) -> None:
    before = await preflight(house, origin)
    assert before.status_code == 405
    assert not allowed(before)
    key = await house.key("acme")
    answer = await house.ask(key=key, headers={"origin": origin})
    assert not allowed(answer)


@pytest.mark.parametrize("path", ["/admin", "/admin/v1/keys", "/metrics", "/healthz", "/docs"])
async def test_only_what_callers_ask_is_open(house: House, path: str) -> None:
    assert not allowed(await preflight(house, PAGE, path))
    headers = {"origin": PAGE, "x-api-key": ADMIN_KEY}
    assert not allowed(await house.http.get(path, headers=headers))


async def test_credentials_are_never_asked_for(house: House) -> None:
    answer = await house.ask(key=await house.key("acme"), headers={"origin": PAGE})
    for one in (await preflight(house, PAGE), answer):
        assert "access-control-allow-credentials" not in one.headers
        assert one.headers["access-control-allow-origin"] != "*"
    assert "*" not in EXPOSED


async def test_without_keys_listed_pages_alone_may_ask(house: House) -> None:
    assert (await house.ask(headers={"origin": "http://localhost:3000"})).status_code == 200
    assert (await house.ask(headers={"origin": STRANGER})).status_code == 403
    rebound = {"origin": PAGE, "host": "app.example.com"}
    assert (await house.ask(headers=rebound)).status_code == 403


async def test_by_default_no_page_of_another_origin_is_let_in(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        before = await preflight(house, PAGE)
        assert (before.status_code, allowed(before)) == (405, [])
        refused = await house.ask(headers={"origin": PAGE})
        assert (refused.status_code, allowed(refused)) == (403, [])
        answer = await house.ask(key=await house.key("acme"), headers={"origin": PAGE})
        assert (answer.status_code, allowed(answer)) == (200, [])


@pytest.mark.parametrize(
    "listed",
    [
        *("*", "app.example.com", "https://app.example.com/", "https://app.example.com/path"),
        *("https://App.example.com", "https://app.example.com:443", "http://a.com:80", "null"),
        *("https://user@app.example.com", "ftp://app.example.com", "https://*.example.com"),
        *("https://a.com https://b.com", "https://a.com:123456", "https://"),
    ],
)
def test_what_no_browser_sends_is_refused_at_the_start(listed: str) -> None:
    with pytest.raises(ValueError, match="cors_origins"):
        Settings.model_validate({"cors_origins": listed})


def test_origins_are_listed_with_commas() -> None:
    listed = {"cors_origins": f"{PAGE}, http://[::1]:3000,,{PAGE}"}
    assert Settings.model_validate(listed).cors_origins == (PAGE, "http://[::1]:3000")
