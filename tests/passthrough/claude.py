"""An upstream that takes any request, says what it got, and sends as much as it is asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_HEADERS = {
    "x-of-claude": "yes",
    "keep-alive": "timeout=5",
    "access-control-allow-origin": "*",
}
CHUNK = bytes(64 * 1024)


@dataclass(frozen=True)
class Got:
    """A request as it arrived."""

    method: str
    target: str  # path and query, as they were sent
    headers: Mapping[str, str]
    size: int
    digest: str


@dataclass
class AnyClaude:
    """Takes anything. `?bytes=N` is answered with N bytes, `?events=1` with events held by `go`."""

    got: list[Got] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # of a body, its first bytes
    go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # who read events has left

    @property
    def app(self) -> Starlette:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=methods)])

    async def answer(self, request: Request) -> Response:
        size, digest = 0, hashlib.sha256()
        async for chunk in request.stream():
            size += len(chunk)
            digest.update(chunk)
            self.begun.set()
        raw, query = request.scope["raw_path"].decode(), request.url.query
        target = f"{raw}?{query}" if query else raw
        headers = dict(request.headers)
        self.got.append(Got(request.method, target, headers, size, digest.hexdigest()))
        if (wanted := request.query_params.get("bytes")) is not None:
            sent = {"content-length": wanted, "set-cookie": "a=b", "request-id": "req_claude"}
            return StreamingResponse(_zeros(int(wanted)), headers=sent)
        if "events" in request.query_params:
            return StreamingResponse(self._events(), media_type="text/event-stream")
        if "broken" in request.query_params:
            return StreamingResponse(_broken(), headers={"content-length": "1000000"})
        body: dict[str, Any] = {"id": f"thing_{len(self.got):020}", "size": size}
        return JSONResponse(body, headers=_HEADERS)

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            yield b"event: one\ndata: {}\n\n"
            await self.go.wait()
            yield b"event: two\ndata: {}\n\n"
        finally:
            self.gone.set()


async def _zeros(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, len(CHUNK)):
        yield CHUNK[: size - start]


async def _broken() -> AsyncIterator[bytes]:
    yield CHUNK
    raise ConnectionError("broken off, as planned")
