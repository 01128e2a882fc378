"""Call to Claude, and its reply: whole, or as a stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx2

from cacheserver.claude.event_stream import MAX_EVENT_BYTES, EventSplitter
from cacheserver.claude.upstream_http import Tries, passed_back, shaped
from cacheserver.core.errors import UpstreamError

_END_S = 0.05  # for the end of a stream whose last event is here: a handshake takes no longer


@dataclass(frozen=True, slots=True)
class Call:
    """One request to Claude. `timeout_s` bounds each wait for bytes, as in the SDK."""

    body: bytes
    headers: Mapping[str, str]
    credential: str | None = None  # the caller's own key; None: the server's
    timeout_s: float | None = None  # None: the upstream's
    tenant: str = ""  # whose work it is: for the slots, and for the books
    background: bool = False  # nobody waits for it at a connection
    retries: int | None = None  # after a failed try; None: the upstream's
    # Called once a whole answer is here: what is still done before it is returned must not be
    # stopped as if it had not come.
    arrived: Callable[[], None] = field(default=lambda: None, compare=False)
    tries: Tries = field(default_factory=Tries, compare=False)  # filled in while it is made


@dataclass(frozen=True, slots=True)
class Reply:
    """Claude's answer, decoded, with the headers to pass to the caller."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    lost: int = 0  # earlier tries that were sent and never answered


class StreamReply:
    """Claude's answer as a stream."""

    def __init__(
        self,
        response: httpx2.Response,
        lost: int = 0,
        *,
        failed: Callable[[], None] = lambda: None,
        recording: Callable[[bytes], Awaitable[None] | None] = lambda raw: None,
    ) -> None:
        """`failed` is called where the stream breaks off, or Claude ends it with an error.

        `recording` is called with each event, and returns what is to be awaited before it leaves.
        """
        self.lost = lost  # earlier tries that were sent and never answered
        self.whole: bytes | None = None  # what came in one piece: it is no stream
        self._response = response
        self._chunks = response.aiter_bytes()
        self._failed = failed
        self._recording = recording
        self._watch: Callable[[bytes], None] | None = None
        self.headers: Mapping[str, str] = passed_back(response.headers)

    def watched(self, watch: Callable[[bytes], None]) -> Self:
        """Return this reply, with `watch` called for each event before it is yielded."""
        self._watch = watch
        return self

    async def read_whole(self, arrived: Callable[[], None]) -> None:
        """Read a reply that is not a stream of events. Raises `UpstreamError`.

        `arrived` is called once it is here.
        """
        kind = self._response.headers.get("content-type", "text/event-stream")
        if kind.partition(";")[0].strip().lower() == "text/event-stream":
            return
        body = bytearray()
        try:
            with shaped():
                async for chunk in self._chunks:
                    body += chunk
                    if len(body) > MAX_EVENT_BYTES:
                        raise UpstreamError.shaped(502, "api_error", "Claude's answer is too large")
        except UpstreamError as error:
            error.lost = self.lost + 1  # it was answered, and what it cost never came
            raise
        self.whole = bytes(body)
        arrived()
        if (work := self._recording(self.whole)) is not None:
            await work

    async def events(self) -> AsyncIterator[bytes]:
        """Yield each complete event as received, with blank line and pings.

        Raises `UpstreamError` if the stream breaks off.
        """
        cut = EventSplitter()
        try:
            with shaped():
                async for chunk in self._chunks:
                    for event in cut.feed(chunk):
                        if event.startswith(b"event: error"):
                            self._failed()
                        if self._watch is not None:
                            self._watch(event)
                        if (work := self._recording(event)) is not None:
                            await work
                        yield event
            for event in cut.end():
                if (work := self._recording(event)) is not None:
                    await work
                yield event
        except UpstreamError:
            self._failed()
            raise

    async def finish(self) -> None:
        """Read the rest of the stream after the last wanted event; it is mostly there already.

        A connection read to its end serves the next call; otherwise that needs a new TLS handshake.
        """
        # An answer that came in one piece would be over before those who wait learn it has begun.
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError, httpx2.HTTPError, httpx2.StreamError):
            async with asyncio.timeout(_END_S):
                async for _ in self._chunks:
                    pass
