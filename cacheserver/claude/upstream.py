"""HTTP connection to Claude, as the SDK makes it: bodies pass through unchanged.

No body is read here. The SDK's retries are off: ours release the slot while they wait, and end
when no caller waits for them any more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx2

from cacheserver.claude import retry
from cacheserver.claude.calls import Call, Reply, StreamReply
from cacheserver.claude.circuit_breaker import CircuitBreaker
from cacheserver.claude.event_stream import MAX_EVENT_BYTES
from cacheserver.claude.rate_limits import UpstreamLimits
from cacheserver.claude.slots import Slots
from cacheserver.claude.upstream_http import (
    counted,
    identity,
    passed_back,
    sent,
    shaped,
    traced,
)
from cacheserver.core.errors import UpstreamError

if TYPE_CHECKING:
    from cacheserver.claude.platforms.connection import CloudSdk
    from cacheserver.claude.platforms.rules import Cloud
    from cacheserver.claude.sdk import Sdk

__all__ = ["Call", "Reply", "StreamReply", "Upstream"]

_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"


class Upstream:
    """The way to Claude: slots shared between tenants, retries of ours, and a circuit breaker.

    `retries` is how often a failed call is made again, `retry_wait_s` how long it may wait for that
    in all, `max_wait_s` how long for a slot. `on_event` is called with a word for what happens.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        name: str,
        max_concurrent: int,
        max_waiting: int,
        timeout_s: float,
        retries: int = 2,
        retry_wait_s: float = 10.0,
        max_wait_s: float = 30.0,
        cloud: Cloud | None = None,
        breaker: CircuitBreaker | None = None,
        on_event: Callable[[str], None] = lambda event: None,
        clock: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.identity = identity(name, base_url, api_key)
        self.headroom = UpstreamLimits()
        self.slots = Slots(limit=max_concurrent, max_waiting=max_waiting, max_wait_s=max_wait_s)
        self.breaker = breaker or CircuitBreaker(
            share=1.0, least=1, open_s=1.0
        )  # more than all never fail
        self.clock = clock
        self._api_key = api_key
        self._timeout_s = timeout_s
        self.retries = retries
        self.retry_wait_s = retry_wait_s
        self._on_event = on_event
        self._unix = unix
        self._pause = pause
        self._chance = chance
        self._base_url = base_url
        self._cloud = cloud
        self._max_concurrent = max_concurrent
        # Called before each call; raises `UpstreamError` for one that must not be made.
        self.guard: Callable[[Call], Awaitable[None]] | None = None
        # Called with each message, event and line of a batch before it is passed on; returns what
        # is to be awaited first, if anything.
        self.recording: Callable[[Call, bytes], Awaitable[None] | None] = lambda call, raw: None
        # Beside the slots: what is passed on may go up or come down for minutes, without a model.
        self.relays = Slots(limit=max_concurrent, max_waiting=max_waiting, max_wait_s=max_wait_s)
        self._sdk: Sdk | CloudSdk | None = None
        self._closed = False

    async def create(self, call: Call) -> Reply:
        """Return Claude's answer to a Messages request.

        Raises `UpstreamError` with Claude's own status, headers and body where it fails after our
        retries, shaped as a 504 or 502 where nothing came; `Overloaded` where our queue is full or
        does not move, `CircuitOpen` while Claude is not asked.
        """
        async with self._response("POST", _MESSAGES, call, retries=call.retries) as response:
            reply = _reply(response, lost=call.tries.lost)
        call.arrived()
        if (work := self.recording(call, reply.body)) is not None:
            await work
        return reply

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[StreamReply]:
        """Open a streamed answer. Errors before its first byte are those of `create`."""
        async with self._response("POST", _MESSAGES, call, stream=True) as response:

            def failed() -> None:
                self.breaker.broke(call.tenant, self.clock())

            reply = StreamReply(
                response,
                lost=call.tries.lost,
                failed=failed,
                recording=lambda raw: self.recording(call, raw),
            )
            try:
                await reply.read_whole(call.arrived)
                yield reply
                await reply.finish()
            finally:
                await response.aclose()

    async def forward(self, method: str, path: str, query: str, call: Call) -> Reply:
        """Pass a request on and return the answer, whatever its status.

        `path` begins with a slash. What makes or ends something is sent once. Raises
        `UpstreamError` only where no answer came.
        """
        if not path.startswith("/"):
            raise ValueError(f"`path`: must begin with a slash, not {path!r}")
        url = f"{path}?{query}" if query else path
        retries = self.retries if method == "GET" or path == _COUNT else 0
        try:
            async with self._response(method, url, call, retries=retries) as response:
                return _reply(response)
        except UpstreamError as error:
            if error.worded is not None:
                raise
            return Reply(error.status, error.headers, error.body)

    @asynccontextmanager
    async def relay(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | bytes,
        call: Call,
    ) -> AsyncIterator[httpx2.Response]:
        """Pass a request on once, its body and the response's as they come.

        `headers` go beside those of `call`, whose body is not sent. Raises `UpstreamError` where no
        response came, and from the body where it breaks off if that is read within `shaped`.
        """
        key = self._key(call)
        await self._check(call)
        async with self.relays.hold(call.tenant):
            sdk = await self.load()
            sent_headers = {**traced(sent(call.headers, key)), **headers}
            with shaped():
                response = await sdk.relay(
                    method, url, sent_headers, content, timeout_s=self._timeout_s
                )
            try:
                yield response
            finally:
                await response.aclose()

    async def create_batch(self, call: Call) -> Reply:
        """Create a Message Batch: once, without retries, for Claude knows no idempotency key.

        Raises `UpstreamError`. After a 5xx or a lost connection the batch may be there, but not
        where the error has a `reason`: then it was not sent.
        """
        async with self._response("POST", "/v1/messages/batches", call, retries=0) as response:
            return _reply(response)

    async def batch_lines(self, batch_id: str, call: Call) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a batch's results as they come. Raises `UpstreamError`.

        To be closed where it is not read to its end.
        """
        path = f"/v1/messages/batches/{batch_id}/results"
        async with self._response("GET", path, call, stream=True) as response:
            buffer = bytearray()
            try:
                with shaped():
                    async for chunk in response.aiter_bytes():
                        buffer += chunk
                        *lines, rest = buffer.split(b"\n")
                        for line in map(bytes, lines):
                            if (work := self.recording(call, line)) is not None:
                                await work
                            yield line
                        buffer = rest
                        if len(buffer) > MAX_EVENT_BYTES:
                            raise UpstreamError.shaped(502, "api_error", "a result is too large")
                    if buffer:
                        if (work := self.recording(call, bytes(buffer))) is not None:
                            await work
                        yield bytes(buffer)
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Close the connections. A call made afterwards raises `UpstreamError`."""
        self._closed = True
        if self._sdk is not None:
            await self._sdk.close()

    async def load(self) -> Sdk | CloudSdk:
        """Import the SDK in a thread, which takes it a second once; the first call does so too."""
        if self._sdk is None:
            made = await asyncio.to_thread(_imported, self._cloud, self._on_event)
            if self._sdk is None:  # or another call was faster
                self._sdk = made(self._base_url, self._max_concurrent, self._timeout_s)
                if self._closed:  # meanwhile
                    await self._sdk.close()
        return self._sdk

    @asynccontextmanager
    async def _response(
        self, method: str, url: str, call: Call, *, stream: bool = False, retries: int | None = None
    ) -> AsyncIterator[httpx2.Response]:
        """An answer, and the slot it came by, held to the end. Raises `UpstreamError`."""
        response = await self._tried(
            method, url, call, stream=stream, retries=self.retries if retries is None else retries
        )
        try:
            yield response
        finally:
            self.slots.release(call.tenant, background=call.background)

    async def _tried(
        self, method: str, url: str, call: Call, *, stream: bool, retries: int
    ) -> httpx2.Response:
        """Make a call until it is answered, or not worth another try. Returns with a slot held."""
        key = self._key(call)
        await self._check(call)
        failed: UpstreamError | None = None
        wait_s, retry_wait_s, tries = self.slots.max_wait_s, self.retry_wait_s, 0
        while True:
            began = self.clock()
            try:
                probe = await self._enter(call, wait_s, inference=url == _MESSAGES)
            except UpstreamError as refused:
                self._on_event(refused.reason or "refused")
                raise failed or refused from None
            wait_s = max(0.0, wait_s - (self.clock() - began))
            good: bool | None = None
            responded = False
            try:
                response = await self._once(method, url, call, key, stream=stream, tries=tries)
                good = responded = True
            except UpstreamError as error:
                failed, good = error, _good(error, probe=probe)
            finally:
                if url == _MESSAGES:
                    self.breaker.leave(call.tenant, self.clock(), good=good, probe=probe)
                if not responded:
                    self.slots.release(call.tenant, background=call.background)
            if responded:
                return response
            assert failed is not None  # or we were cancelled
            tries += 1
            failed.lost = call.tries.lost
            requested_s = retry.requested_wait_s(failed.headers, self._unix())
            pause_s = retry.pause_s(tries, requested_s, retry_wait_s, self._chance())
            again = failed.worded is not None or retry.retryable(failed.status, failed.headers)
            if tries > 1 and again:
                # Else the official SDK makes all our tries again for each try of its own.
                failed.headers["x-should-retry"] = "false"
            if not again or tries > retries or pause_s is None:
                raise failed
            self._on_event("retry")
            retry_wait_s -= pause_s
            await self._pause(pause_s)

    def _key(self, call: Call) -> str:
        """Return the credential of a call. Raises `UpstreamError` if there is none."""
        key = call.credential or self._api_key
        if self._closed:
            raise UpstreamError.shaped(502, "api_error", "this server is shutting down")
        if key is None:
            raise UpstreamError.shaped(401, "authentication_error", "no API key for Claude")
        return key

    async def _check(self, call: Call) -> None:
        if self.guard is not None:
            await self.guard(call)

    async def _enter(self, call: Call, wait_s: float, *, inference: bool) -> bool:
        """Return with a slot held; True: the call probes the breaker. Raises `UpstreamError`."""
        gated = inference or call.background
        if gated:  # before it waits for a slot in vain
            self.breaker.check(call.tenant, self.clock())
        await self.slots.take(call.tenant, background=call.background, within_s=wait_s)
        try:
            if inference:
                return self.breaker.enter(call.tenant, self.clock())
            if gated:
                self.breaker.check(call.tenant, self.clock())
        except UpstreamError:
            self.slots.release(call.tenant, background=call.background)
            raise
        return False

    async def _once(
        self, method: str, url: str, call: Call, key: str, *, stream: bool, tries: int
    ) -> httpx2.Response:
        headers = traced(sent(call.headers, key))
        if tries:
            headers["x-stainless-retry-count"] = str(tries)  # as the SDK says of its own
        sdk = await self.load()
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        try:
            with counted(call.tries), shaped():
                if method == "POST" and url == _MESSAGES and call.timeout_s is None:
                    response = await sdk.messages.send(call.body, headers, stream=stream)
                else:
                    response = await sdk.request(
                        method, url, call.body, headers, timeout_s=timeout_s, stream=stream
                    )
        except UpstreamError as error:
            self.headroom.note(error.headers)
            raise
        self.headroom.note(response.headers)
        return response


def _imported(
    cloud: Cloud | None, on_event: Callable[[str], None]
) -> Callable[[str, int, float], Sdk | CloudSdk]:
    if cloud is None:
        from cacheserver.claude.sdk import Sdk

        return Sdk
    from cacheserver.claude.platforms import bedrock_events
    from cacheserver.claude.platforms.connection import CloudSdk

    if cloud.name == "bedrock":
        bedrock_events.load()
    return partial(CloudSdk, cloud, on_event=on_event)


def _good(error: UpstreamError, *, probe: bool) -> bool | None:
    """Return what a failed try says of Claude: False: it fails; True: it answers; None: nothing."""
    if error.worded is not None or error.status >= 500:
        return False
    if error.status == 429 and not probe:
        return None  # a limit is not an outage, nor a sign of health
    return True


def _reply(response: httpx2.Response, lost: int = 0) -> Reply:
    return Reply(response.status_code, passed_back(response.headers), response.content, lost)
