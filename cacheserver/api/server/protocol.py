"""uvicorn's HTTP/1.1 protocol with limits on everything before a request.

httptools has no limits of its own: it joins the pieces of a header's value as they come, which
takes time with the square of its length (600 MB in one header held the loop for 11 s). So bytes
are counted here before and beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from cacheserver.api.errors import shape
from cacheserver.api.server.connections import Connections
from cacheserver.core.request_context import new_request_id

logger = logging.getLogger(__name__)


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, with the connections that its protocol counts."""

    def __init__(self, app: Any, connections: Connections, **given: Any) -> None:
        super().__init__(
            app,
            http=BoundedProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(connections.limits.keep_alive_s),
            # asyncio accepts so many in one turn of its loop; a burst waits in the kernel.
            backlog=_BACKLOG,
            **given,
        )
        self.counted = connections


_BACKLOG = 512


class _Refused(Exception):
    """A request exceeds a limit. Raised inside the parser, answered by `_refuse`."""

    def __init__(self, reason: str, status: int, type: str, message: str) -> None:
        super().__init__(reason)
        self.given = (reason, status, type, message)


class _Answers:
    """Transport that uvicorn writes an answer to; its `close` is the protocol's `end`."""

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = end


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `sweep` closes a slow one; other violations are refused at once."""

    def __init__(self, config: ServerConfig, **given: Any) -> None:
        super().__init__(config=config, **given)
        self._counted = config.counted
        self.app_state["stopping"] = config.counted.stopping  # in `scope["state"]`
        self._limits = config.counted.limits
        self._over = False  # refused: what still comes is not read
        self._since = self.loop.time()  # of the phase: idle, head, body, or being over
        self._phase = "idle"
        self._head_bytes = self._fields = 0
        self._seen = 0  # calls of the parser's: what comes between two of them is a piece
        self._piece = 0  # bytes of a header, a chunk's extension or a trailer that has not ended
        self._window_at = 0.0
        self._window_bytes = 0
        self._stalled: tuple[float, int] | None = None  # since when, and what waited then
        self._refusal: _Refused | None = None
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else None
        if (reason := self._counted.refused(address)) is not None:
            self.transport, self._over = transport, True
            self._counted.closed(reason)
            self._say(503, "overloaded_error", "too many connections; try again shortly")
            if self._counted.linger(self):
                self._hang_up()
            else:
                transport.close()
            return
        super().connection_made(transport)
        self._answers = _Answers(transport, self.end)
        self._counted.add(self, address)

    def connection_lost(self, exc: Exception | None) -> None:
        self._counted.discard(self)
        self._disconnect()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._counted.stopping.set()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._unset_keepalive_if_required()
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        seen = self._seen
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as at:
            self._go_on_without_upgrade(data[at.args[0] :])
            return
        except httptools.HttpParserError:
            given = ("malformed", 400, "invalid_request_error", "this is no HTTP request")
            self._refuse(*(given if self._refusal is None else self._refusal.given))
            return
        self._piece = self._piece + len(data) if seen == self._seen else 0
        if self._head_bytes + self._piece > self._limits.head_bytes:
            self._refuse(*_large(self._limits.head_bytes))

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the request again as the plain one it is (RFC 9110, 7.8: an upgrade may be ignored).

        httptools takes what follows an `upgrade` for another protocol: the body would be lost, or
        read as the next request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse("malformed", 400, "invalid_request_error", "this is no proxy")
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % line for line in self.headers if line[0] != b"upgrade"]
        since, self.parser = self._since, httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(b"\r\n".join([*lines, b"", rest]))
        if self._phase == "head":
            self._since = since

    def _should_upgrade(self) -> bool:
        return True  # asked only where a request wants to: `_go_on_without_upgrade` begins it anew

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._enter("head")
        self._head_bytes = self._fields = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(len(name) + len(value) + len(": \r\n"))
        if self._fields > self._limits.fields:
            message = f"more than {self._limits.fields} header fields were sent"
            raise self._note("fields", 431, "invalid_request_error", message)
        if self._phase == "head":  # what trails a body comes after the headers were acted on
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= self._limits.pipelined:
            message = "too many requests were sent at once"
            raise self._note("pipelined", 429, "rate_limit_error", message)
        self._enter("body")
        self._window_at, self._window_bytes = self._since, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._seen += 1
        self._window_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._enter("idle")
        self._head_bytes = 0
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.transport = self._answers  # type: ignore[assignment]  # all that it calls is there
        super()._start_asgi_task(cycle, app)

    def _disconnect(self) -> None:
        """Notify every pipelined request of a disconnect. uvicorn notifies only the last."""
        if (cycle := self._answering) is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def end(self) -> None:
        """Close after an answer, so that a caller who still sends can read it.

        A close that leaves bytes unread resets the connection, which can take the answer with it
        (RFC 9112, 9.6).
        """
        if self._phase == "body":
            self._hang_up()
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        if self._over:
            self.flow.resume_reading()  # what still comes, to drop it
            return
        if self._phase == "idle":
            self._enter("idle")
        super().on_response_complete()

    def resume_writing(self) -> None:
        self._stalled = None
        super().resume_writing()

    def sweep(self, now: float) -> None:
        """Close the connection if a time limit is exceeded."""
        limits, age = self._limits, now - self._since
        if self._reader_stalls(now):
            self._counted.closed("reader")
            self.transport.abort()
        elif self._over:
            if age > limits.linger_s:
                self.transport.abort()
        elif self.flow.read_paused:  # we do not read: nothing of it is the caller's doing
            self._since = self._window_at = now
            self._window_bytes = 0
        elif self._phase == "head" and age > limits.head_s:
            self._refuse("head-time", 408, "timeout_error", "the headers took too long")
        elif self._phase == "body":
            self._sweep_body(now, age)
        elif self._phase == "idle" and age > limits.keep_alive_s and self._has_responded():
            self.transport.close()

    def _sweep_body(self, now: float, age: float) -> None:
        in_window = now - self._window_at
        slow = (
            in_window > self._limits.body_window_s and self._window_bytes < self._limits.least_body
        )
        if slow or age > self._limits.body_s:
            self._refuse("body-time", 408, "timeout_error", "the body took too long")
        elif in_window > self._limits.body_window_s:
            self._window_at, self._window_bytes = now, 0

    def _reader_stalls(self, now: float) -> bool:
        waits = self.transport.get_write_buffer_size()
        writing = not (self._over or self.transport.is_closing() or self._has_responded())
        if waits == 0 or (writing and not self.flow.write_paused):
            self._stalled = None
        elif self._stalled is None:
            self._stalled = (now, waits)
        elif now - self._stalled[0] > self._limits.reader_s:
            if self._stalled[1] - waits < self._limits.least_read:
                return True
            self._stalled = (now, waits)
        return False

    def _has_responded(self) -> bool:
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _enter(self, phase: str) -> None:
        self._seen += 1
        self._phase, self._since = phase, self.loop.time()

    def _count(self, size: int) -> None:
        self._seen += 1
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            raise self._note(*_large(self._limits.head_bytes))

    def _note(self, *given: Any) -> _Refused:
        self._refusal = _Refused(*given)
        return self._refusal

    def _refuse(self, reason: str, status: int, type: str, message: str) -> None:
        """Send the reason, unless an answer is under way, and close after it could be read."""
        self._counted.closed(reason)
        cycle = self.cycle
        own = self._phase == "body" and not self.pipeline and not cycle.response_started
        if own or self._has_responded():
            self._say(status, type, message)
        self._disconnect()
        self._hang_up()

    def _hang_up(self) -> None:
        """Send nothing more, and drop what comes until the caller closes or `linger_s` is over."""
        self._over = True
        self._enter("over")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _say(self, status: int, type: str, message: str) -> None:
        id = new_request_id()
        body = shape(type, message, id)
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\nconnection: close\r\n"
            + f"request-id: {id}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )


def _large(limit: int) -> tuple[str, int, str, str]:
    return "head", 431, "invalid_request_error", f"the headers are larger than {limit} bytes"
