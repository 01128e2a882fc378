"""Streamed answers, synchronous and asynchronous: Anthropic's events as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

import httpx2

from cacheserver.client import failures
from cacheserver.client import http as wire
from cacheserver.client.fallback import PAST
from cacheserver.client.types import ConnectionFailed, Decision


class _Head:
    """Header part of a stream, and its events without the reading.

    Without a response it came past the cache.
    """

    def __init__(self, response: httpx2.Response | None = None) -> None:
        headers = httpx2.Headers() if response is None else response.headers
        self.decision: Decision = PAST if response is None else wire.read_decision(headers)
        self.decision_id: str | None = headers.get("x-cache-decision")
        self.entry_id: str | None = headers.get("x-cache-entry")
        self.request_id: str | None = headers.get("request-id")
        self._decoder = wire.EventDecoder()
        self._ended = False

    def _events(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that `chunk` completes. An `error` event is raised."""
        for event in self._decoder.feed(chunk):
            if event.get("type") == "error":
                raise failures.stream_failure(event, self.request_id)
            self._ended = event.get("type") == "message_stop"
            yield event
            if self._ended:
                return

    def _cut(self) -> ConnectionFailed:
        return ConnectionFailed(
            "the stream ended before the answer did", request_id=self.request_id, begun=True
        )


class Stream(_Head):
    """Anthropic's events, as dicts. Read once; raises `ConnectionFailed` if cut short."""

    def __init__(
        self, response: httpx2.Response | None = None, *, straight: Iterable[Any] = ()
    ) -> None:
        """`straight`: events of the anthropic SDK, where there is no response of the server."""
        super().__init__(response)
        self._response = response
        self._straight = straight

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._response is None:
            yield from (event.to_dict() for event in self._straight)
            return
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

    def __init__(
        self, response: httpx2.Response | None = None, *, straight: AsyncIterable[Any] | None = None
    ) -> None:
        """`straight`: events of the anthropic SDK, where there is no response of the server."""
        super().__init__(response)
        self._response = response
        self._straight = straight

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        if self._straight is not None:
            async for straight in self._straight:
                yield straight.to_dict()
            return
        assert self._response is not None  # it has one or the other
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
