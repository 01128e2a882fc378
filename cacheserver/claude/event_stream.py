"""Splits a byte stream into server-sent events, without changing a byte."""

from __future__ import annotations

import re

from cacheserver.core.errors import UpstreamError

# Room for any one block: the Messages API takes no request above 32 MB, and a client must be able
# to send back what it was sent.
MAX_EVENT_BYTES = 32 * 1024 * 1024


class EventSplitter:
    """Splitter of server-sent events: the events, joined, are the bytes received."""

    # Atomic: backing up into a "\r\n" would take one line's end for two.
    _BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n){2}")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that `chunk` completes. Raises `UpstreamError` for one too large."""
        self._buffer += chunk
        events: list[bytes] = []
        start = 0
        while found := self._BLANK_LINE.search(self._buffer, max(start, self._searched)):
            if found.end() == len(self._buffer) and self._buffer.endswith(b"\r"):
                break  # its "\n" may be in the next chunk
            events.append(bytes(self._buffer[start : found.end()]))
            start = found.end()
            self._searched = start
        del self._buffer[:start]
        self._searched = max(0, len(self._buffer) - 3)  # "\r\n\r" may be most of a blank line
        if len(self._buffer) > self._max_bytes:
            raise UpstreamError.shaped(502, "api_error", "Claude sent an event too large to relay")
        return events

    def end(self) -> list[bytes]:
        """Return the events that only the end completes. Raises `UpstreamError` inside an event."""
        rest = bytes(self._buffer)
        if not rest.strip(b"\r\n"):
            return [rest] if rest else []
        if rest.endswith((b"\r\r", b"\n\r")):
            return [rest]
        raise UpstreamError.shaped(502, "api_error", "Claude's stream ended inside an event")
