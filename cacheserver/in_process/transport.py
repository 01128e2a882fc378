"""HTTP without a connection: requests go to the application in this process.

Rule: as over a socket. A body leaves piece by piece and waits for its reader, who may leave at any
point; then the application is told, as it would be of a lost connection. (`httpx2.ASGITransport`
collects a body first, so nothing would stream.)
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message

from cacheserver.client.loop_thread import LoopThread

log = logging.getLogger(__name__)

_DRAIN_S = 25.0  # for answers under way, as a server gives them after SIGTERM


class _Exchange:
    """One request and its response."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        # One piece at a time: who reads slowly slows down the application.
        self._pieces: asyncio.Queue[Message | None] = asyncio.Queue(1)
        self._gone = asyncio.Event()

    async def receive(self) -> Message:
        if (body := self._body) is not None:
            self._body = None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self._gone.is_set():
            await self._pieces.put(message)

    async def next(self) -> Message | None:
        """Return what the application sent next; None once it has ended."""
        return await self._pieces.get()

    async def ended(self) -> None:
        if not self._gone.is_set():
            await self._pieces.put(None)

    def leave(self) -> None:
        """Read no more."""
        self._gone.set()
        while not self._pieces.empty():  # whoever waits to send goes on
            self._pieces.get_nowait()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._exchange.next()
            if message is None:
                raise httpx2.RemoteProtocolError("the answer ended before it was whole")
            if chunk := message.get("body", b""):
                yield chunk
            if not message.get("more_body", False):
                self._exchange.leave()
                return

    def leave(self) -> None:
        self._exchange.leave()

    async def aclose(self) -> None:
        self.leave()


class AppTransport(httpx2.AsyncBaseTransport):
    """Transport to an application. Belongs to the event loop and the process it is made in."""

    def __init__(self, app: ASGIApp) -> None:
        self.closed = False
        self._app = app
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    def check(self) -> None:
        """Raise `RuntimeError` where the cache cannot be used."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                "the cache was opened before this process was forked; open one in each process"
            )
        if self.closed:
            raise RuntimeError("the cache is closed")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "the cache belongs to another event loop; `open_cache_sync` opens one that all "
                "threads and loops may share"
            )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.check()
        exchange = _Exchange(await request.aread())
        task = asyncio.create_task(self._answer(_scope(request), exchange), name="in-process:app")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            head = await exchange.next()
        except BaseException:
            exchange.leave()
            raise
        if head is None:
            raise httpx2.RemoteProtocolError("there was no answer")
        return httpx2.Response(head["status"], headers=head["headers"], stream=_Body(exchange))

    async def aclose(self) -> None:
        """Let answers under way end, and take no more. A reader who never comes is given up."""
        self.closed = True
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _answer(self, scope: dict[str, Any], exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # the task boundary; the application has sent a 500 already
            log.error("a request in this process failed: %s", type(error).__name__)
        await exchange.ended()


class ThreadTransport(httpx2.BaseTransport):
    """An `AppTransport` whose loop runs in a thread of its own."""

    def __init__(self, inner: AppTransport, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        response = self._loop.run(self._inner.handle_async_request(request))
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        body = _ThreadBody(response.stream, self._loop)
        return httpx2.Response(response.status_code, headers=response.headers, stream=body)


class _ThreadBody(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def __iter__(self) -> Iterator[bytes]:
        pieces = aiter(self._inner)

        async def following() -> bytes | None:
            return await anext(pieces, None)

        while (piece := self._loop.run(following())) is not None:
            yield piece

    def close(self) -> None:
        self._loop.call(self._leave)

    def _leave(self) -> None:
        assert isinstance(self._inner, _Body)
        self._inner.leave()


def _scope(request: httpx2.Request) -> dict[str, Any]:
    path = request.url.raw_path.partition(b"?")[0]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.url.path,
        "raw_path": path,
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,  # as of a Unix socket
        "server": None,
        "state": {},
    }
