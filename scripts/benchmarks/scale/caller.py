"""A caller among many in one event loop: one connection, requests one after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scripts.benchmarks.processes.load import Server


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    kind: str  # `x-cache`
    reason: str


class Caller:
    """`open` connects; `ask` raises `OSError` or `IncompleteReadError` if the server is gone."""

    def __init__(self, of: Server) -> None:
        self._of = of
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        address = urlsplit(self._of.url)
        self._reader, self._writer = await asyncio.open_connection(address.hostname, address.port)

    async def ask(self, body: Mapping[str, Any], headers: str = "") -> Answer:
        """`headers`: further lines, each ended."""
        raw = json.dumps(body).encode()
        self._writer.write(
            b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: %s\r\n%s"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (self._of.key.encode(), headers.encode(), len(raw), raw)
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {}
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            found[name.lower()] = value.strip()
        await self._reader.readexactly(int(found["content-length"]))
        reason = found.get("x-cache-reason", "")
        return Answer(int(head[0].split()[1]), found.get("x-cache", ""), reason)

    def close(self) -> None:
        self._writer.close()
