"""Requests that only the first of several workers can answer: others pass them on.

What a folder or a task of one process holds (uploaded logs and their audits, a replay of sample
traffic) would else be there for some requests, and not for others. The first worker listens on a
Unix socket that the processes of this user alone reach.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cacheserver.api.errors import shape
from cacheserver.core.request_context import new_request_id

PATHS: Final = ("/admin/v1/audits", "/admin/v1/sample-traffic")

_ADDRESS: Final = b"x-cacheserver-address"  # the caller's, for the slowdown of guessed keys
_HOPS: Final = frozenset(  # of one connection; uvicorn dates each answer itself
    {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"expect", b"date", _ADDRESS}
)
_CONNECT_S: Final = 5.0


class PassedOn(Exception):
    """The caller has gone while its body was read."""


class ToFirstWorker:
    """Middleware of the other workers. `place` is the first one's socket."""

    def __init__(self, app: ASGIApp, *, place: Path) -> None:
        self._app = app
        self._transport = httpx2.AsyncHTTPTransport(uds=str(place))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PATHS):
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._transport.handle_async_request(_request(scope, receive))
        except PassedOn:
            return
        except httpx2.TransportError:  # it is being started again
            await _refuse(send)
            return
        try:
            headers = [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in _HOPS]
            start: Message = {"type": "http.response.start", "status": answer.status_code}
            await send({**start, "headers": headers})
            assert isinstance(answer.stream, httpx2.AsyncByteStream)
            async for piece in answer.stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()


class FromOtherWorkers:
    """Middleware of the first worker: a request from another one has its caller's address."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Over TCP there is an address, and what a caller writes of it is not read.
        if scope["type"] == "http" and scope.get("client") is None:
            told = dict(scope["headers"]).get(_ADDRESS)
            if told:
                scope = {**scope, "client": (told.decode("latin-1"), 0)}
        await self._app(scope, receive, send)


def _request(scope: Scope, receive: Receive) -> httpx2.Request:
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOPS]
    if scope.get("client"):
        headers.append((_ADDRESS, str(scope["client"][0]).encode()))
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    names = {name for name, _ in scope["headers"]}
    has_body = b"content-length" in names or b"transfer-encoding" in names
    return httpx2.Request(
        scope["method"],
        f"http://worker{path}{'?' if query else ''}{query}",
        headers=headers,
        content=_body(receive) if has_body else None,
        # No limit to the time of an answer: an upload of a gigabyte is read first.
        extensions={"timeout": {"connect": _CONNECT_S, "read": None, "write": None, "pool": None}},
    )


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise PassedOn
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _refuse(send: Send) -> None:
    body = shape("overloaded_error", "a part of the server starts again; retry", new_request_id())
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
