"""Claude over HTTP, through the SDK's raw calls: the caller's bytes go up, Claude's come back.

Nothing here reads a body. The SDK brings its retries; its environment variables, profiles and
cookies are kept out, because a shell set up for an application must not steer the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self, cast

import anthropic
import httpx2

from cacheserver import visit
from cacheserver.errors import Overloaded, UpstreamError
from cacheserver.headroom import Headroom

if TYPE_CHECKING:
    from anthropic._types import RequestOptions

VIA = "1.1 cacheserver"  # marks what we send; a request that arrives with it has come full circle

# Room for any one block: the Messages API takes no request above 32 MB, and a client must be able
# to send back what it was sent.
MAX_EVENT_BYTES = 32 * 1024 * 1024

_CONNECT_S = 5.0  # the SDK's own default
_END_S = 0.05  # for the end of a stream whose last event is here: a handshake takes no longer

# What never goes up: the hop's own, the credential (set per call), and what speaks to the cache.
_NOT_SENT = frozenset(
    {"connection", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
    | {"accept-encoding", "content-encoding", "content-length", "content-type", "transfer-encoding"}
    | {"authorization", "cookie", "proxy-authorization", "x-api-key"}
    | {"cache-control", "via"}
)
_NOT_SENT_PREFIXES = ("x-stainless-", "x-cache")

_PASSED_BACK = frozenset(
    {"content-type", "request-id", "retry-after", "retry-after-ms", "x-should-retry", "x-upstream"}
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to Claude. `timeout_s` bounds each wait for bytes, as in the SDK."""

    body: bytes
    headers: Mapping[str, str]
    credential: str | None = None  # the caller's own key; None: the server's
    timeout_s: float | None = None  # None: the upstream's
    tenant: str = ""  # whose work it is, where nobody waits for it: for the books


@dataclass(frozen=True, slots=True)
class Reply:
    """Claude's answer, decoded, with the headers a caller should see."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    lost: int = 0  # earlier tries that were sent and never answered


class StreamReply:
    """Claude's answer as it arrives."""

    def __init__(self, response: httpx2.Response, lost: int = 0) -> None:
        self.lost = lost  # earlier tries that were sent and never answered
        self._chunks = response.aiter_bytes()
        self._watch: Callable[[bytes], None] | None = None
        self.headers: Mapping[str, str] = _passed_back(response.headers)

    def watched(self, watch: Callable[[bytes], None]) -> Self:
        """The same, with `watch` shown each event before it is yielded."""
        self._watch = watch
        return self

    async def events(self) -> AsyncIterator[bytes]:
        """Yield each complete event as the bytes that came, blank line, pings and all.

        Raises `UpstreamError` where the stream breaks off.
        """
        cut = EventSplitter()
        with _shaped():
            async for chunk in self._chunks:
                for event in cut.feed(chunk):
                    if self._watch is not None:
                        self._watch(event)
                    yield event
        for event in cut.end():
            yield event

    async def finish(self) -> None:
        """Read what follows the last event that was wanted: an end, and mostly there already.

        A connection whose answer was read to its end serves the next call, else each stream costs
        the next one a TLS handshake.
        """
        # An answer that came in one piece would be over before those who wait learn it has begun.
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError, httpx2.HTTPError, httpx2.StreamError):
            async with asyncio.timeout(_END_S):
                async for _ in self._chunks:
                    pass


class EventSplitter:
    """Cuts server-sent events out of a byte stream: joined again, they are the bytes that came."""

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
        """Return what only the end completes. Raises `UpstreamError` inside an event."""
        rest = bytes(self._buffer)
        if not rest.strip(b"\r\n"):
            return [rest] if rest else []
        if rest.endswith((b"\r\r", b"\n\r")):
            return [rest]
        raise UpstreamError.shaped(502, "api_error", "Claude's stream ended inside an event")


class Upstream:
    """The way to Claude, with a bound on the calls in flight and on those that wait."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        name: str,
        max_concurrent: int,
        max_waiting: int,
        timeout_s: float,
        max_retries: int = 2,
    ) -> None:
        self.name = name
        self.identity = _identity(name, base_url, api_key)
        self.headroom = Headroom()
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._slots = _Slots(max_concurrent, max_waiting)
        self._client = anthropic.AsyncAnthropic(
            api_key="set per call",  # without one the SDK would look for one in the environment
            base_url=base_url,
            max_retries=max_retries,
            open_telemetry=False,
            http_client=_http_client(base_url, max_concurrent),
        )
        # ANTHROPIC_CUSTOM_HEADERS, which the SDK reads whatever its arguments say.
        self._client._custom_headers = {}

    async def create(self, call: Call) -> Reply:
        """Return Claude's answer to a Messages request.

        Raises `UpstreamError` with Claude's own status, headers and body where it fails after the
        SDK's retries, shaped as a 504 or 502 where nothing came, and `Overloaded` where our queue
        is full.
        """
        async with self._slots.hold():
            with _told() as lost:
                response = await self._send("POST", "/v1/messages", call)
                return _reply(response, lost=len(lost))

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[StreamReply]:
        """Open a streamed answer. Errors before its first byte are those of `create`."""
        async with self._slots.hold():
            with _told() as lost:
                response = await self._send("POST", "/v1/messages", call, stream=True)
            reply = StreamReply(response, lost=len(lost))
            try:
                yield reply
                await reply.finish()
            finally:
                await response.aclose()

    async def forward(self, method: str, path: str, query: str, call: Call) -> Reply:
        """Pass a request on and return the answer, whatever its status.

        `path` begins with a slash. Raises `UpstreamError` only where no answer came.
        """
        if not path.startswith("/"):
            raise ValueError(f"`path`: must begin with a slash, not {path!r}")
        async with self._slots.hold():
            with _told():
                try:
                    response = await self._send(method, f"{path}?{query}" if query else path, call)
                except anthropic.APIStatusError as error:
                    response = error.response
                return _reply(response)

    async def create_batch(self, call: Call) -> Reply:
        """Create a Message Batch: once, without retries, for Claude knows no idempotency key.

        Raises `UpstreamError`. After a 5xx or a lost connection the batch may be there.
        """
        async with self._slots.hold():
            with _told():
                return _reply(await self._send("POST", "/v1/messages/batches", call, retries=0))

    async def batch_lines(self, batch_id: str, call: Call) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a batch's results as they come. Raises `UpstreamError`.

        To be closed where it is not read to its end.
        """
        path = f"/v1/messages/batches/{batch_id}/results"
        async with self._slots.hold():
            # Not `_told`: a generator may end in another task, and context variables may not.
            with _shaped():
                response = await self._send("GET", path, call, stream=True)
                buffer = bytearray()
                try:
                    async for chunk in response.aiter_bytes():
                        buffer += chunk
                        *lines, rest = buffer.split(b"\n")
                        for line in lines:
                            yield bytes(line)
                        buffer = rest
                        if len(buffer) > MAX_EVENT_BYTES:
                            raise UpstreamError.shaped(502, "api_error", "a result is too large")
                    if buffer:
                        yield bytes(buffer)
                finally:
                    await response.aclose()

    async def close(self) -> None:
        """Close the connections. A call made afterwards raises `UpstreamError`."""
        await self._client.close()

    async def _send(
        self, method: str, url: str, call: Call, *, stream: bool = False, retries: int | None = None
    ) -> httpx2.Response:
        try:
            response = await self._request(method, url, call, stream=stream, retries=retries)
        except anthropic.APIStatusError as error:
            self.headroom.note(error.response.headers)
            raise
        self.headroom.note(response.headers)
        return response

    async def _request(
        self, method: str, url: str, call: Call, *, stream: bool, retries: int | None
    ) -> httpx2.Response:
        if self._client.is_closed():
            raise UpstreamError.shaped(502, "api_error", "this server is shutting down")
        key = call.credential or self._api_key
        if key is None:
            raise UpstreamError.shaped(401, "authentication_error", "no API key for Claude")
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        options: RequestOptions = {
            "headers": _traced(_sent(call.headers, key)),
            "timeout": httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
        }
        if retries is not None:
            options["max_retries"] = retries
        body = _Body(call.body)
        match method, stream:
            case "POST", True:
                opened = await self._client.post(
                    url,
                    cast_to=httpx2.Response,
                    content=body,
                    options=options,
                    stream=True,
                    stream_cls=anthropic.AsyncStream[httpx2.Response],
                )
                # Asked for a raw response, the SDK opens no stream of its own over it.
                return cast(httpx2.Response, opened)
            case "POST", False:
                return await self._client.post(
                    url, cast_to=httpx2.Response, content=body, options=options
                )
            case "GET", True:
                opened = await self._client.get(
                    url,
                    cast_to=httpx2.Response,
                    options=options,
                    stream=True,
                    stream_cls=anthropic.AsyncStream[httpx2.Response],
                )
                return cast(httpx2.Response, opened)
            case "GET", False:
                return await self._client.get(url, cast_to=httpx2.Response, options=options)
            case "DELETE", False:
                return await self._client.delete(url, cast_to=httpx2.Response, options=options)
            case _:
                raise ValueError(f"`method`: GET, POST or DELETE, not {method!r}")


class _Body(bytes):
    """A request body, which the SDK's debug log would print (`ANTHROPIC_LOG=debug`)."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class _Secret(str):
    """A header's value, which the same log would print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class _Slots:
    """A bound on the calls in flight and on those that wait for a slot."""

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._semaphore = asyncio.Semaphore(max_concurrent)
        self._max_waiting = max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Hold a slot. Raises `Overloaded` where too many wait already."""
        if self._semaphore.locked() and self._waiting >= self._max_waiting:
            raise Overloaded
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._semaphore.release()


def _identity(name: str, base_url: str, api_key: str | None) -> str:
    """Return what tells this Claude from another in every fingerprint, the same on each start."""
    if name == "simulated":
        return name  # served on a free port: its address is another one each time
    account = hashlib.sha256(api_key.encode()).hexdigest()[:16] if api_key else "none"
    return f"{str(httpx2.URL(base_url)).rstrip('/')}#{account}"


# The tries of the call under way that were sent and never answered. The SDK tries again by itself,
# and of what it gave up nobody else is told.
_lost: ContextVar[list[type[Exception]] | None] = ContextVar("lost", default=None)


class _Counting(httpx2.AsyncClient):
    """Notes each try that Claude may have answered, and bill, though we never saw the answer."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            return await super().send(request, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            raise  # nothing was sent
        except httpx2.HTTPError as error:
            if (lost := _lost.get()) is not None:
                lost.append(type(error))
            raise


class _CountingOut(_Counting, anthropic.DefaultAsyncHttpxClient):
    """The same with the SDK's own defaults."""


def _http_client(base_url: str, max_concurrent: int) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=max_concurrent, max_keepalive_connections=max_concurrent)
    # One jar would carry a cookie set for one caller's key into another's call.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    # A redirect would take prompts where nobody configured them to go.
    if _is_loopback(httpx2.URL(base_url).host):
        # A proxy set for the way out has no way back in.
        return _Counting(limits=limits, cookies=no_cookies, follow_redirects=False, trust_env=False)
    return _CountingOut(limits=limits, cookies=no_cookies, follow_redirects=False)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sent(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the headers of a call: the caller's, `key` as the SDK 2.x sends it, and our mark."""
    kept = {name.lower(): value for name, value in headers.items()}
    via = kept.get("via")
    return {
        **{
            name: value
            for name, value in kept.items()
            if name not in _NOT_SENT and not name.startswith(_NOT_SENT_PREFIXES)
        },
        "authorization": _Secret(f"Bearer {key}"),
        "via": f"{via}, {VIA}" if via else VIA,
    }


def _traced(headers: dict[str, str]) -> dict[str, str]:
    """The same with the place in the trace of the request under way, where there is one."""
    seen = visit.current()
    if seen is not None and seen.trace is not None:
        headers.setdefault("traceparent", seen.trace.header)
    return headers


def _passed_back(headers: httpx2.Headers) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name in _PASSED_BACK or name.startswith("anthropic-")
    }


def _reply(response: httpx2.Response, lost: int = 0) -> Reply:
    return Reply(response.status_code, _passed_back(response.headers), response.content, lost)


@contextmanager
def _told() -> Iterator[list[type[Exception]]]:
    """Turn what the SDK raises into `UpstreamError`; yields the tries that were lost."""
    lost: list[type[Exception]] = []
    before = _lost.set(lost)
    try:
        with _shaped():
            yield lost
    except UpstreamError as error:
        error.lost = max(error.lost, len(lost))
        raise
    finally:
        _lost.reset(before)


@contextmanager
def _shaped() -> Iterator[None]:
    try:
        yield
    except anthropic.APIStatusError as error:
        answer = error.response
        # Not chained: the SDK's message quotes the body, which may quote the prompt.
        raise UpstreamError(
            answer.status_code, answer.content, _passed_back(answer.headers)
        ) from None
    except (anthropic.APITimeoutError, httpx2.TimeoutException) as error:
        raise UpstreamError.shaped(504, "timeout_error", "Claude did not answer in time") from error
    except (anthropic.APIConnectionError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise UpstreamError.shaped(
            502, "api_error", "the connection to Claude failed or was lost"
        ) from error
