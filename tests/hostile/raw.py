"""A client that speaks HTTP by hand, to hang up where no library would and send what none does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.house import MODEL, House


def body_of(text: str, **given: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 100, "messages": messages, **given}


def request(
    body: Mapping[str, Any] | bytes,
    *,
    method: str = "POST",
    target: str = "/v1/messages",
    headers: Iterable[tuple[str, str]] = (("x-api-key", "any"),),
    host: str = "localhost",
) -> bytes:
    """A whole request with a length, as bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", f"content-length: {len(raw)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + raw


class Wire:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body. Raises `IncompleteReadError` where it is cut."""
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return status, headers, body

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        return int(first.split()[1]), headers

    def hang_up(self) -> None:
        """Gone at once, with a reset: what was sent to us is not read."""
        self.writer.transport.abort()


@asynccontextmanager
async def wire(house: House) -> AsyncIterator[Wire]:
    address = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def until(true: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Return as soon as `true`, asked at every turn of the loop; fail after `within_s`."""
    async with asyncio.timeout(within_s):
        # No event tells of it: what is asked for is that nothing is left behind.
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def under_way(house: House) -> int:
    """Fills that have not ended."""
    return len(house.parts.service._flights)


async def stats(house: House, key: str = "any") -> dict[str, Any]:
    found = (await house.http.get("/v1/stats", headers={"x-api-key": key})).json()
    assert isinstance(found, dict)
    return found


def outcomes(found: Mapping[str, Any]) -> dict[str, int]:
    """Every outcome that occurred."""
    kinds = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed")
    assert found["requests"] == sum(found[kind] for kind in kinds)
    return {kind: found[kind] for kind in kinds if found[kind]}
