"""State of a client, and the requests and failures that both clients handle alike."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any, Self

import httpx2

from cacheserver.client import failures, fallback
from cacheserver.client import http as wire
from cacheserver.client.calls import Call
from cacheserver.client.types import ClientError, ConnectionFailed

DEFAULT_URL = "http://127.0.0.1:8080"  # where `scripts/serve` listens
# Long answers take minutes (the anthropic SDK's limit too); a dead server shows at once.
TIMEOUT_S, CONNECT_TIMEOUT_S = 600.0, 5.0
MAX_RETRIES = 2  # as the anthropic SDK

_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout)  # no server has seen the call


class Common:
    """State of a client, and requests and answers that both clients build and read alike."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        anthropic_key: str | None = None,
        max_retries: int = MAX_RETRIES,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("`url` must start with http:// or https://")
        self._url = url.rstrip("/")
        self._headers = wire.identification(key, anthropic_key)
        self._max_retries = max_retries

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Create a client for `CACHESERVER_URL`, with the key in `CACHESERVER_API_KEY`."""
        return cls(
            environ.get("CACHESERVER_URL") or DEFAULT_URL,
            key=environ.get("CACHESERVER_API_KEY") or None,
        )

    def _request(self, http: httpx2.Client | httpx2.AsyncClient, call: Call) -> httpx2.Request:
        kind = {} if call.body is None else {"content-type": call.content_type}
        url, headers = self._url + call.path, {**self._headers, **kind}
        return http.build_request(call.method, url, content=call.body, headers=headers)

    def _lost(self, error: httpx2.RequestError, *, begun: bool) -> ConnectionFailed:
        return failures.connection_failed(self._url, error, begun=begun)

    def _pause_s(
        self,
        call: Call,
        failed: ClientError,
        response: httpx2.Response | None,
        retries: int,
        straight: Mapping[str, Any] | None,
    ) -> float:
        """Return the seconds to wait before the next attempt of a call. Raises `failed` if none is
        due.

        `straight`: options of a question that goes straight to Claude instead; None: it does not.
        """
        if straight is not None and fallback.due(failed, straight):
            raise failed
        status, headers = None, httpx2.Headers()
        if response is not None and not isinstance(failed, ConnectionFailed):
            status, headers = response.status_code, response.headers
        again = call.again or isinstance(failed.__cause__, _UNSENT)
        pause_s = wire.pause_s(retries, status, headers, random.random(), again=again)
        if pause_s is None or retries >= self._max_retries:
            raise failed
        return pause_s


def timeouts(timeout_s: float) -> httpx2.Timeout:
    """Return the timeouts of our own HTTP client."""
    return httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
