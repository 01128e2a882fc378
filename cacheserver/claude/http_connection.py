"""One HTTP/1.1 connection to Claude, read by llhttp.

Through httpx's client and transport (h11 on anyio) a call takes seven times the CPU (500 us against
70 on one machine), and each piece of a stream four times (16 us against 4).

Rule: it serves another request only if the answer before was read to its end and nothing was amiss.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import httptools
import httpx2

# Bytes of a head, or of anything else between two pieces of a body: httpcore's bound. llhttp has
# none, and joins a header's pieces in time with the square of its length.
_MOST_BESIDE_BODY = 100 * 1024
_HELD = 256 * 1024  # bytes of a body that wait to be read; then no more are taken from the socket

Head: TypeAlias = tuple[int, list[tuple[bytes, bytes]]]


class HttpConnection(asyncio.Protocol):
    """Connection for one request at a time. Errors are httpx's."""

    def __init__(self) -> None:
        self.idle_since = 0.0  # the loop's time
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._parser = httptools.HttpResponseParser(self)
        self._under_way = False  # a request, to the end of its answer
        self._head: Head | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._interim = False  # a status of 1xx: the answer is still to come
        self._to_the_end = False  # the body ends with the connection
        self._pieces: list[bytes] = []
        self._held = self._beside_body = 0
        self._reading, self._writable = True, True
        self._reusable = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def request(self, sent: bytes, *, read_s: float | None, write_s: float | None) -> Head:
        """Send a request and return the status and the headers of its answer."""
        self._under_way, self._reusable = True, False
        self._head, self._headers = None, []
        self._beside_body = 0
        self._transport.write(sent)
        while not self._writable and self._head is None:  # or it is refused before it is all there
            await self._wait(write_s, httpx2.WriteTimeout)
        while self._head is None:
            await self._wait(read_s, httpx2.ReadTimeout)
        return self._head

    async def body(self, read_s: float | None) -> AsyncIterator[bytes]:
        """Yield the answer's body, in pieces as large as have come."""
        while True:
            if self._pieces:
                piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces, self._held = [], 0
                if not self._reading:
                    self._reading = True
                    self._transport.resume_reading()
                yield piece
            elif self._under_way:
                await self._wait(read_s, httpx2.ReadTimeout)
            else:
                return

    def ended(self) -> bool:
        """Return whether the connection can serve another request."""
        return self._reusable and not self._pieces and self._error is None

    def stale(self) -> bool:
        """Return whether an idle connection was closed by the other side, or brought something."""
        return self._error is not None or bool(self._poll.poll(0))

    def close(self) -> None:
        self._fail(httpx2.ReadError("closed"))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._fail(httpx2.ReadError(str(error)))
        elif self._under_way and self._to_the_end and self._head is not None:
            self._under_way = False
            self._wake()
        else:
            self._fail(httpx2.RemoteProtocolError("the connection was closed before the answer"))

    def data_received(self, data: bytes) -> None:
        if not self._under_way:
            self._fail(httpx2.RemoteProtocolError("more came than was asked for"))
            return
        self._beside_body += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx2.RemoteProtocolError(type(error).__name__))
        if self._beside_body > _MOST_BESIDE_BODY:
            self._fail(httpx2.RemoteProtocolError("the head of the answer is too large"))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    # What the parser tells after an answer's end is of another answer, which nobody asked for.

    def on_message_begin(self) -> None:
        if not self._under_way:
            self._fail(httpx2.RemoteProtocolError("more came than was asked for"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:  # else it trails the body
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if not self._under_way:
            return
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            self._headers = []
            return
        names = {name.lower() for name, _ in self._headers}
        self._to_the_end = names.isdisjoint((b"content-length", b"transfer-encoding"))
        self._head, self._beside_body = (status, self._headers), 0
        self._wake()

    def on_body(self, data: bytes) -> None:
        if not self._under_way:
            return
        self._beside_body = 0
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _HELD and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._under_way and not self._interim:
            self._under_way, self._reusable = False, self._parser.should_keep_alive()
            self._wake()

    async def _wait(self, limit_s: float | None, error: Callable[[str], Exception]) -> None:
        """Wait until something happens. Raises what the connection failed with."""
        if self._error is not None:
            raise self._error
        waiter = self._waiter = self._loop.create_future()
        timer = None
        if limit_s is not None:
            timer = self._loop.call_later(limit_s, lambda: self._fail(error("")))
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error, self._reusable = error, False
            self._wake()
            self._transport.abort()
