"""HTTP details of calls to Claude: the client, headers, and failures.

The SDK's environment variables, profiles and cookies are kept out, because a shell set up for an
application must not steer the server.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import anthropic
import httpx2

from cacheserver.core import request_context
from cacheserver.core.errors import UpstreamError

VIA = "1.1 cacheserver"  # marks what we send; a request that arrives with it has come full circle

# A connection is kept so long for the next call; a new one is a TLS handshake. Less than the 60 s
# after which common load balancers close one from their side (AWS's ALB; nginx: 75 s).
_KEPT_S = 45.0

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


@dataclass(slots=True)
class Tries:
    """Tries of a call that Claude may bill although no answer came."""

    lost: int = 0  # sent, and ended without an answer
    under_way: bool = False  # one is sent, and not answered to its end, as far as is known here

    @property
    def unanswered(self) -> int:
        return self.lost + self.under_way


# Those of the call under way: the SDK's client has no other way to tell of them.
_tries: ContextVar[Tries | None] = ContextVar("tries", default=None)


@contextmanager
def counted(tries: Tries) -> Iterator[None]:
    """Count in `tries` the requests sent within."""
    before = _tries.set(tries)
    try:
        yield
    finally:
        _tries.reset(before)


class Body(bytes):
    """A request body, which the SDK's debug log would print (`ANTHROPIC_LOG=debug`)."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class _Secret(str):
    """A header's value, which the same log would print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


def identity(name: str, base_url: str, api_key: str | None) -> str:
    """Return the name of this Claude in every fingerprint, the same on each start."""
    if name == "simulated":
        return name  # served on a free port: its address is another one each time
    account = hashlib.sha256(api_key.encode()).hexdigest()[:16] if api_key else "none"
    return f"{str(httpx2.URL(base_url)).rstrip('/')}#{account}"


class _Counting(httpx2.AsyncClient):
    """Client that counts each try that Claude may have answered, and billed, unseen by us."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        tries = _tries.get()
        if tries is None:
            return await super().send(request, **options)
        tries.under_way = True  # stays so where we are cancelled
        try:
            response = await super().send(request, **options)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            tries.under_way = False  # nothing was sent
            raise
        except httpx2.HTTPError:
            tries.lost, tries.under_way = tries.lost + 1, False
            raise
        # Of a stream only the headers are here: it may be billed, whatever comes of the rest.
        tries.under_way = bool(options.get("stream")) and response.is_success
        return response


class _CountingOut(_Counting, anthropic.DefaultAsyncHttpxClient):
    """Counting client with the SDK's own defaults."""


class MessageRequests:
    """Requests to Messages, with the headers that the SDK would send.

    Through the SDK's own `post` a call takes a quarter more CPU (1.48 ms against 1.20): it makes
    anew what is the same in each.
    """

    def __init__(
        self, client: anthropic.AsyncAnthropic, http: httpx2.AsyncClient, timeout: httpx2.Timeout
    ) -> None:
        read_s = str(timeout.read)
        sdk = {"x-stainless-timeout": read_s, "x-stainless-retry-count": "0"}
        layers: tuple[Mapping[str, object], ...] = (
            http.headers,
            {**sdk, "x-stainless-read-timeout": read_s},
            client.default_headers,
        )
        self._http = http
        self._url = httpx2.URL(client.base_url).join("v1/messages")
        self._extensions = {"timeout": timeout.as_dict()}
        self._headers = {
            name.lower(): value
            for layer in layers
            for name, value in layer.items()
            if isinstance(value, str)
        }

    async def send(
        self, body: bytes, headers: Mapping[str, str], *, stream: bool
    ) -> httpx2.Response:
        """Send a request. Raises `UpstreamError` for a status of failure, else as the SDK does."""
        request = httpx2.Request(
            "POST",
            self._url,
            headers={**self._headers, **headers},
            content=body,
            extensions=dict(self._extensions),
        )
        try:
            response = await self._http.send(request, stream=stream)
        except httpx2.TimeoutException as error:
            raise anthropic.APITimeoutError(request=request) from error
        except Exception as error:  # whatever fails on the way, as in the SDK
            raise anthropic.APIConnectionError(request=request) from error
        if not response.is_success:
            await response.aread()
            raise UpstreamError(
                response.status_code, response.content, passed_back(response.headers)
            )
        return response


def http_client(base_url: str, max_concurrent: int) -> httpx2.AsyncClient:
    limits = httpx2.Limits(
        max_connections=max_concurrent,
        max_keepalive_connections=max_concurrent,
        keepalive_expiry=_KEPT_S,
    )
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


def sent(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the headers of a call: the caller's, `key` as the SDK 2.x sends it, and our mark."""
    lowered = {name.lower(): value for name, value in headers.items()}
    via = lowered.get("via")
    return {
        **{
            name: value
            for name, value in lowered.items()
            if name not in _NOT_SENT and not name.startswith(_NOT_SENT_PREFIXES)
        },
        "authorization": _Secret(f"Bearer {key}"),
        "via": f"{via}, {VIA}" if via else VIA,
    }


def traced(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with the trace context of the current request, if any."""
    seen = request_context.current()
    if seen is not None and seen.trace is not None:
        headers.setdefault("traceparent", seen.trace.header)
    return headers


def passed_back(headers: httpx2.Headers) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name in _PASSED_BACK or name.startswith("anthropic-")
    }


@contextmanager
def shaped() -> Iterator[None]:
    try:
        yield
    except anthropic.APIStatusError as error:
        answer = error.response
        # Not chained: the SDK's message quotes the body, which may quote the prompt.
        raise UpstreamError(
            answer.status_code, answer.content, passed_back(answer.headers)
        ) from None
    except (anthropic.APITimeoutError, httpx2.TimeoutException) as error:
        raise UpstreamError.shaped(504, "timeout_error", "Claude did not answer in time") from error
    except (anthropic.APIConnectionError, httpx2.HTTPError, httpx2.StreamError) as error:
        raise UpstreamError.shaped(
            502, "api_error", "the connection to Claude failed or was lost"
        ) from error
