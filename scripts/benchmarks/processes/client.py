"""One client that asks one question after the other, over a connection kept alive."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_HEAD = (
    "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    "authorization: Bearer {key}\r\nanthropic-version: 2026-10-21\r\n"
    "content-length: {length}\r\n\r\n"
)


class Client:
    """`expected`: the values of `x-cache` that a measurement allows; another is an error.

    A response without that header is Claude's own, asked directly. A request is one write, for a
    server must not read it in as many pieces as the moment allows.
    """

    def __init__(self, url: str, key: str, *expected: str, path: str = "/v1/messages") -> None:
        address = urlsplit(url)
        self._host, self._key, self._path, self._expected = address.netloc, key, path, expected
        self._socket = socket.create_connection((address.hostname or "", address.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, body: Mapping[str, Any]) -> float:
        """Return milliseconds until the answer was here, or the first token of a stream."""
        asked = json.dumps(body).encode()
        started = time.perf_counter()
        response = self._send("POST", self._path, asked)
        stream = body.get("stream", False)
        while stream and b"content_block_delta" not in response.readline():
            pass
        took = time.perf_counter() - started
        response.read()
        if not stream:
            took = time.perf_counter() - started
        found = response.headers.get("x-cache")
        if response.status != 200 or (found and self._expected and found not in self._expected):
            reason = response.headers.get("x-cache-reason")
            raise RuntimeError(f"{self._path}: status {response.status}, {found} ({reason})")
        return took * 1e3

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        return json.loads(self._send("GET", path).read())

    def _send(self, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
        head = _HEAD.format(
            method=method, path=path, host=self._host, key=self._key, length=len(body)
        )
        self._socket.sendall(head.encode() + body)
        response = http.client.HTTPResponse(self._socket, method=method)
        response.begin()
        return response
