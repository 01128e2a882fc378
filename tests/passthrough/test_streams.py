"""Bodies go up and come down as they come: what is passed on is never held whole."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import House, serving
from tests.passthrough.claude import CHUNK, AnyClaude

OWN = {"authorization": "Bearer sk-ant-mine"}
LARGE = 300_000_000
HELD = 100_000_000  # more than both sides of the connection and the test itself take


@asynccontextmanager
async def own_keys(folder: Path, **settings: Any) -> AsyncIterator[tuple[House, AnyClaude]]:
    claude = AnyClaude()
    async with (
        serving(claude.app) as url,
        House.open(folder, upstream=url, credentials="caller", **settings) as house,
    ):
        yield house, claude


def most_held() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def released(house: House) -> None:
    """Wait for all slots: one that can be had alone is the last that was held."""
    relays = house.parts.upstream.relays
    for tenant in range(relays.limit):
        await relays.take(str(tenant), background=False, within_s=10)


async def zeros(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, len(CHUNK)):
        yield CHUNK[: size - start]


async def test_hundreds_of_megabytes_go_through_in_constant_memory(tmp_path: Path) -> None:
    async with own_keys(tmp_path) as (house, claude):
        await house.http.post("/v1/files", content=zeros(1_000_000), headers=OWN)
        before = most_held()
        sent = await house.http.post(
            "/v1/files", content=zeros(LARGE), headers={**OWN, "content-length": str(LARGE)}
        )
        assert sent.json()["size"] == LARGE
        digest = hashlib.sha256()
        async for chunk in zeros(LARGE):
            digest.update(chunk)
        assert claude.got[-1].digest == digest.hexdigest()
        assert claude.got[-1].headers["content-length"] == str(LARGE)
        read = 0
        url = f"/v1/files/x/content?bytes={LARGE}"
        async with house.http.stream("GET", url, headers=OWN) as response:
            assert response.headers["content-length"] == str(LARGE)
            async for part in response.aiter_raw():
                read += len(part)
        assert read == LARGE
        assert most_held() - before < HELD


async def test_an_upload_arrives_while_it_is_sent(tmp_path: Path) -> None:
    async with own_keys(tmp_path) as (house, claude):

        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            await claude.begun.wait()  # Claude has it before the rest is sent
            yield b"second"

        sent = await house.http.post("/v1/files", content=body(), headers=OWN)
        assert (sent.status_code, sent.json()["size"]) == (200, 11)
        assert claude.got[-1].headers["transfer-encoding"] == "chunked"


async def test_events_come_as_they_are_sent_and_end_when_the_reader_leaves(tmp_path: Path) -> None:
    async with own_keys(tmp_path) as (house, claude):
        url = "/v1/sessions/s_1/events/stream?events=1"
        async with house.http.stream("GET", url, headers=OWN) as response:
            assert response.headers["x-accel-buffering"] == "no"
            events = response.aiter_raw()
            assert await anext(events) == b"event: one\ndata: {}\n\n"
            claude.go.set()
            assert await anext(events) == b"event: two\ndata: {}\n\n"
        claude.go.clear()
        async with house.http.stream("GET", url, headers=OWN) as response:
            await anext(response.aiter_raw())
        async with asyncio.timeout(10):
            await claude.gone.wait()
        await released(house)


async def test_headers_go_as_they_are_without_ours_and_the_hops(tmp_path: Path) -> None:
    async with own_keys(tmp_path) as (house, claude):
        sent = {
            **OWN, "anthropic-beta": "files-api", "x-custom": "kept", "user-agent": "an app",
            "accept": "application/binary", "connection": "x-hop", "x-hop": "gone",
            "te": "trailers", "cookie": "a=b", "x-forwarded-for": "10.0.0.1", "x-cache-ttl": "5",
            "origin": "http://127.0.0.1",
            "x-cacheserver-key": await house.key("default"),
        }  # fmt: skip
        answer = await house.http.get("/v1/files", headers=sent)
        got = claude.got[-1].headers
        kept = {"anthropic-beta", "x-custom", "user-agent", "accept", "authorization"}
        assert {name: got.get(name) for name in kept} == {name: sent[name] for name in kept}
        assert not (sent.keys() - kept - {"connection"}) & got.keys()
        assert got["via"] == "1.1 cacheserver"
        assert answer.headers["x-of-claude"] == "yes"
        assert answer.headers["x-cache-reason"] == "own-key"
        assert not {"keep-alive", "access-control-allow-origin"} & answer.headers.keys()
        large = await house.http.get("/v1/files/x/content?bytes=5", headers=sent)
        assert "set-cookie" not in large.headers
        assert large.headers["request-id"] == "req_claude"


async def test_an_upload_beyond_the_limit_is_refused_announced_or_not(tmp_path: Path) -> None:
    async with own_keys(tmp_path, max_upload_bytes=2_000_000) as (house, claude):
        announced = {**OWN, "content-length": "3000000"}
        for headers in (announced, OWN):
            try:
                sent = await house.http.post("/v1/files", content=zeros(3_000_000), headers=headers)
            except (httpx2.WriteError, httpx2.ReadError):
                continue  # it was told before it had sent all, and the connection is closed
            assert sent.status_code == 413, sent.text
            assert sent.json()["error"]["type"] == "request_too_large"
        assert not claude.got or claude.got[-1].size <= 2_000_000
        assert house.parts.upstream.relays.in_flight == 0


async def test_what_breaks_off_at_claude_breaks_off_at_the_caller(tmp_path: Path) -> None:
    async with own_keys(tmp_path) as (house, _):
        with pytest.raises(httpx2.RemoteProtocolError):
            await house.http.get("/v1/files/x/content?broken=1", headers=OWN)
        assert house.parts.upstream.relays.in_flight == 0


async def test_claude_away_is_a_502(tmp_path: Path) -> None:
    async with House.open(tmp_path, upstream="http://127.0.0.1:9", credentials="caller") as house:
        answer = await house.http.get("/v1/files", headers=OWN)
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
