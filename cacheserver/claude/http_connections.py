"""Connections to Claude that are kept for the next call."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeAlias

import httpx2

from cacheserver.claude.http_connection import HttpConnection

# A further address is tried while the one before has not answered (RFC 8305, 5).
_NEXT_ADDRESS_S = 0.25
_NOT_IN_NAMES = re.compile(r"[\x00-\x20:\x7f]")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# As the SDK sets them: a connection that a firewall forgets while Claude thinks is noticed.
_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]
_OPTIONS += [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60))
    if hasattr(socket, name)
]
if sys.platform == "darwin" and hasattr(socket, "TCP_KEEPALIVE"):
    _OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, 60))

Address: TypeAlias = tuple[int, Any]  # family, and what a socket of it connects to


class HttpConnections:
    """Connections to the server of `url`. Who calls bounds how many there are."""

    def __init__(self, url: httpx2.URL, *, timeout: httpx2.Timeout, kept_s: float) -> None:
        self._line = b"POST %b HTTP/1.1\r\nhost: %b\r\n" % (url.raw_path, url.netloc)
        self._host, self._port = url.host, url.port or (443 if url.scheme == "https" else 80)
        self._timeout, self._kept_s = timeout, kept_s
        self._idle: list[HttpConnection] = []  # the last one used at the end
        self._closed = False
        self._ssl: ssl.SSLContext | None = None
        if url.scheme == "https":
            self._ssl = httpx2.create_ssl_context()
            self._ssl.set_alpn_protocols(["http/1.1"])

    async def post(
        self, headers: Mapping[str, str], body: bytes, *, stream: bool
    ) -> httpx2.Response:
        """Send a request; return the answer, of a stream once its head is here.

        Raises httpx's errors.
        """
        sent = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._line, _lines(headers), len(body), body)
        connection = self._kept() or await self._open()
        try:
            status, given = await connection.request(
                sent, read_s=self._timeout.read, write_s=self._timeout.write
            )
        except BaseException:
            connection.close()
            raise
        response = httpx2.Response(
            status, headers=given, stream=_Stream(self, connection, self._timeout.read)
        )
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    def give_back(self, connection: HttpConnection) -> None:
        """Keep a connection for the next call if it can serve one, else close it."""
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._idle[0].idle_since > self._kept_s:
            self._idle.pop(0).close()
        if self._closed or not connection.ended():
            connection.close()
        else:
            connection.idle_since = now
            self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections, and the others at the end of their answers."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> HttpConnection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.idle_since <= self._kept_s and not connection.stale():
                return connection
            connection.close()
        return None

    async def _open(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout.connect):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                dialled = await dial([(family, address) for family, _, _, _, address in found])
                try:
                    _, connection = await loop.create_connection(
                        HttpConnection,
                        sock=dialled,
                        ssl=self._ssl,
                        server_hostname=self._host if self._ssl else None,
                    )
                except BaseException:
                    dialled.close()
                    raise
                return connection
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("") from error
        except OSError as error:  # `ssl.SSLError` is one
            raise httpx2.ConnectError(str(error)) from error


class _Stream(httpx2.AsyncByteStream):
    """Body of an answer. Its end, or who stops reading, gives the connection back."""

    def __init__(
        self, of: HttpConnections, connection: HttpConnection, read_s: float | None
    ) -> None:
        self._of, self._read_s = of, read_s
        self._connection: HttpConnection | None = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._connection is not None  # httpx reads no stream that was closed
        return self._connection.body(self._read_s)

    async def aclose(self) -> None:
        if (connection := self._connection) is not None:
            self._connection = None
            self._of.give_back(connection)


def _lines(headers: Mapping[str, str]) -> bytes:
    # Whatever a caller sent, its header ends where ours says.
    if _NOT_IN_NAMES.search("".join(headers)) or _NOT_IN_VALUES.search("".join(headers.values())):
        raise httpx2.LocalProtocolError("a header has a character that none may have")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    try:
        return lines.encode("latin-1")
    except UnicodeEncodeError:
        raise httpx2.LocalProtocolError("a header is not Latin-1") from None


async def dial(addresses: Sequence[Address]) -> socket.socket:
    """Return a socket connected to the first address that answers. Raises `OSError`."""
    attempts: list[asyncio.Task[socket.socket]] = []
    connected: socket.socket | None = None
    waiting = _by_turns(addresses)
    try:
        while waiting or not all(attempt.done() for attempt in attempts):
            if waiting:
                attempts.append(asyncio.create_task(_connect(*waiting.pop(0))))
            done, _ = await asyncio.wait(
                [attempt for attempt in attempts if not attempt.done()],
                timeout=_NEXT_ADDRESS_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                if attempt.exception() is None:
                    connected = attempt.result()
                    return connected
        raise (attempts[0].exception() if attempts else None) or OSError("there is no address")
    finally:
        for attempt in attempts:
            if attempt.cancel() or attempt.exception() is not None:
                continue
            if attempt.result() is not connected:
                attempt.result().close()


async def _connect(family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        for option in _OPTIONS:
            made.setsockopt(*option)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with both families in turns, the first one's first (RFC 8305, 4)."""
    same = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for one in chain(*zip_longest(same, others)) if one is not None]
