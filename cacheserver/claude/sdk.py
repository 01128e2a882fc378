"""Connections to Claude through the SDK.

Importing the SDK takes a second, so this module is imported when the first call is made, or once
the server serves: `Upstream.load`.

The SDK's environment variables, profiles and cookies are kept out, because a shell set up for an
application must not steer the server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, cast

import anthropic
import httpx2

from cacheserver.claude.upstream_http import Body, current_tries, passed_back
from cacheserver.core.errors import UpstreamError

if TYPE_CHECKING:
    from anthropic._types import RequestOptions

_CONNECT_S = 5.0  # the SDK's own default

# A connection is kept so long for the next call; a new one is a TLS handshake. Less than the 60 s
# after which common load balancers close one from their side (AWS's ALB; nginx: 75 s).
_KEPT_S = 45.0


class _Counting(httpx2.AsyncClient):
    """Client that counts each try that Claude may have answered, and billed, unseen by us."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        tries = current_tries.get()
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


class Sdk:
    """The SDK's client, and requests to Messages beside it."""

    def __init__(self, base_url: str, max_concurrent: int, timeout_s: float) -> None:
        http = http_client(base_url, max_concurrent)
        self._client = anthropic.AsyncAnthropic(
            api_key="set per call",  # without one the SDK would look for one in the environment
            base_url=base_url,
            max_retries=0,
            open_telemetry=False,
            http_client=http,
        )
        # ANTHROPIC_CUSTOM_HEADERS, which the SDK reads whatever its arguments say.
        self._client._custom_headers = {}
        self.messages = MessageRequests(self._client, http, timeout(timeout_s))
        # Connections of its own: what takes minutes to go up holds none that a question waits for.
        self._relayed = http_client(base_url, max_concurrent)
        self._base_url = httpx2.URL(base_url)

    async def close(self) -> None:
        await self._client.close()
        await self._relayed.aclose()

    async def relay(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | bytes,
        *,
        timeout_s: float,
    ) -> httpx2.Response:
        """Send a request with these headers alone; its response is open. Raises as httpx2 does.

        `url` is a path that begins with a slash, and a query; it is sent as it is.
        """
        base = self._base_url
        target = base.raw_path.rstrip(b"/") + url.encode("ascii")
        request = httpx2.Request(
            method,
            base.copy_with(raw_path=target),
            headers=headers,
            content=content,
            extensions={"timeout": timeout(timeout_s).as_dict()},
        )
        return await self._relayed.send(request, stream=True)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: dict[str, str],
        *,
        timeout_s: float,
        stream: bool,
    ) -> httpx2.Response:
        """Send any request; raises as the SDK does: see `upstream_http.shaped`."""
        options: RequestOptions = {"headers": headers, "timeout": timeout(timeout_s)}
        content = Body(body)
        match method, stream:
            case "POST", True:
                opened = await self._client.post(
                    url,
                    cast_to=httpx2.Response,
                    content=content,
                    options=options,
                    stream=True,
                    stream_cls=anthropic.AsyncStream[httpx2.Response],
                )
                # Asked for a raw response, the SDK opens no stream of its own over it.
                return cast(httpx2.Response, opened)
            case "POST", False:
                return await self._client.post(
                    url, cast_to=httpx2.Response, content=content, options=options
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


def timeout(timeout_s: float) -> httpx2.Timeout:
    """Return the limits of one call: of each wait for bytes, and less to connect."""
    return httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
