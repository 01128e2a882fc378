"""Streamed answers, synchronous and asynchronous: Anthropic's events as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2

from cacheserver.client import http as wire
from cacheserver.client.types import ConnectionFailed, Decision


class _Head:
    """Header part of a stream, and its events without the reading."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.decision: Decision = wire.read_decision(response.headers)
        self.decision_id: str | None = response.headers.get("x-cache-decision")
        self.entry_id: str | None = response.headers.get("x-cache-entry")
        self.request_id: str | None = response.headers.get("request-id")
        self._decoder = wire.EventDecoder()
        self._ended = False

    def _events(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that `chunk` completes. An `error` event is raised."""
        for event in self._decoder.feed(chunk):
            if event.get("type") == "error":
                raise wire.stream_failure(event, self.request_id)
            self._ended = event.get("type") == "message_stop"
            yield event
            if self._ended:
                return

    def _cut(self) -> ConnectionFailed:
        return ConnectionFailed(
            "the stream ended before the answer did",
            type="connection_error",
            request_id=self.request_id,
        )


class Stream(_Head):
    """Anthropic's events, as dicts. Read once; raises `ConnectionFailed` if cut short."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for chunk in self._response.iter_bytes():
                yield from self._events(chunk)
                if self._ended:
                    return
        except httpx2.RequestError as error:
            raise self._cut() from error
        raise self._cut()

    def text(self) -> Iterator[str]:
        """Iterate over the pieces of the answer's text."""
        return filter(None, map(wire.text_of, self))


class AsyncStream(_Head):
    """`Stream`, for asyncio."""

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        try:
            async for chunk in self._response.aiter_bytes():
                for event in self._events(chunk):
                    yield event
                if self._ended:
                    return
        except httpx2.RequestError as error:
            raise self._cut() from error
        raise self._cut()

    async def text(self) -> AsyncIterator[str]:
        """Iterate over the pieces of the answer's text."""
        async for event in self:
            if piece := wire.text_of(event):
                yield piece
