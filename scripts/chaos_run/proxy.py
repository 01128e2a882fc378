"""The line between the server and the simulated Claude. A connection carries one request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNK = 2**16
_PLAIN = re.compile(rb"\r\nconnection: [^\r]*", re.IGNORECASE)

# What `mode` may be, beside a status: refuse, cut, slow, hang; "": nothing goes wrong.
_ERRORS = {
    "429": (429, "rate_limit_error", 1),
    "429-long": (429, "rate_limit_error", 3_600),
    "529": (529, "overloaded_error", None),
    "500": (500, "api_error", None),
    "503": (503, "api_error", None),
}


class Proxy:
    """Passes requests on, or does to them what `mode` says to a `share` of them."""

    def __init__(self, seed: int) -> None:
        self.port = 0  # of the simulated Claude
        self.mode = ""
        self.share = 1.0
        self.passed: dict[str, int] = {}  # statuses of errors made here, by request id
        self._draw = random.Random(f"proxy {seed}")
        self._lines: set[asyncio.Task[None] | None] = set()

    @asynccontextmanager
    async def url(self) -> AsyncIterator[str]:
        """Yield its address. It listens on all of this machine's: servers may be behind links."""
        server = await asyncio.start_server(self._serve, "", 0, family=socket.AF_INET)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for line in list(self._lines):
                if line is not None:
                    line.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._lines.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._take(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._lines.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        found = _LENGTH.search(head)
        body = await reader.readexactly(int(found[1])) if found else b""
        mode = self.mode if self._draw.random() < self.share else ""
        if mode == "refuse":
            writer.transport.abort()
            return
        if mode in _ERRORS:
            status, kind, retry_after = _ERRORS[mode]
            id = f"req_line{len(self.passed)}"
            self.passed[id] = status
            writer.write(_error(status, kind, retry_after, id))
            await writer.drain()
            return
        if mode == "hang":
            await reader.read()  # until the caller leaves
            return
        up, down = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            down.write(_PLAIN.sub(b"", head)[:-2] + b"connection: close\r\n\r\n" + body)
            await self._back(mode, up, writer, reader)
        finally:
            down.close()

    async def _back(
        self,
        mode: str,
        up: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reader: asyncio.StreamReader,
    ) -> None:
        left = asyncio.ensure_future(reader.read(1))  # ends when the server leaves
        try:
            passed = 0
            while True:
                reply = asyncio.ensure_future(up.read(_CHUNK if mode != "slow" else 256))
                await asyncio.wait({reply, left}, return_when=asyncio.FIRST_COMPLETED)
                if not reply.done():
                    reply.cancel()
                    return
                data = reply.result()
                if not data:
                    return
                if mode == "cut" and passed + len(data) > 400:
                    writer.write(data[: max(1, len(data) // 2)])
                    await writer.drain()
                    writer.transport.abort()
                    return
                passed += len(data)
                writer.write(data)
                await writer.drain()
                if mode == "slow":
                    await asyncio.sleep(0.1)
        finally:
            left.cancel()


def _error(status: int, kind: str, retry_after: int | None, id: str) -> bytes:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "made to fail"}})
    lines = [
        f"HTTP/1.1 {status} Fault",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        "x-upstream: simulated",
        f"request-id: {id}",
        *([f"retry-after: {retry_after}"] if retry_after is not None else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
