"""Connection to Claude at a cloud, with the same calls as the one to Anthropic (`claude.sdk`).

The SDK's clients sign requests, name models in the path and set the version in the body. Their
credentials come from where each cloud's tools look for them: that chain is theirs, not ours.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, cast

import anthropic
import httpx2

from cacheserver.claude.platforms import bedrock_events, failures
from cacheserver.claude.platforms.failures import Cause
from cacheserver.claude.platforms.rules import (
    CALLED,
    LEFT_OUT,
    VERSIONS,
    Cloud,
    refusal,
    told,
)
from cacheserver.claude.sdk import http_client, timeout
from cacheserver.claude.upstream_http import passed_back
from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError

logger = logging.getLogger(__name__)

_MESSAGES: Final = "/v1/messages"
_COUNT: Final = "/v1/messages/count_tokens"
# The SDK sets these itself, in the cloud's way.
_OURS = frozenset({"authorization", "anthropic-version"})
_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class CloudSdk:
    """The SDK's client for a cloud. `messages` is itself, as `Sdk` has it."""

    def __init__(
        self,
        cloud: Cloud,
        base_url: str,
        max_concurrent: int,
        timeout_s: float,
        *,
        on_event: Callable[[str], None] = lambda event: None,
    ) -> None:
        """`on_event` is called with the cause of each request that could not be sent."""
        self._cloud = cloud
        self._on_event = on_event
        self._timeout_s = timeout_s
        self._client = _client(cloud, base_url, http_client(base_url, max_concurrent))
        # ANTHROPIC_CUSTOM_HEADERS, which the SDK reads whatever its arguments say.
        self._client._custom_headers = {}
        self.messages = self

    async def close(self) -> None:
        await self._client.close()

    async def send(
        self, body: bytes, headers: Mapping[str, str], *, stream: bool
    ) -> httpx2.Response:
        """Send a Messages request. Raises `UpstreamError`, or as the SDK does."""
        return await self._post(_MESSAGES, body, headers, self._timeout_s, stream=stream)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        stream: bool,
    ) -> httpx2.Response:
        """Send any request that the cloud has. Raises `UpstreamError`, or as the SDK does."""
        path = url.partition("?")[0]
        counts = path == _COUNT and self._cloud.name == "vertex"
        if method != "POST" or not (path == _MESSAGES or counts):
            raise self._lacking(path)
        return await self._post(path, body, headers, timeout_s, stream=stream)

    async def relay(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | bytes,
        *,
        timeout_s: float,
    ) -> httpx2.Response:
        """Refuse: neither cloud has more of Anthropic's API."""
        raise self._lacking(url.partition("?")[0])

    async def _post(
        self, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, stream: bool
    ) -> httpx2.Response:
        asked = self._body(body)
        sent = {name: value for name, value in headers.items() if name not in _OURS}
        options: Any = {"headers": sent, "timeout": timeout(timeout_s)}
        try:
            if not stream:
                return await self._client.post(
                    path, cast_to=httpx2.Response, body=asked, options=options
                )
            opened = await self._client.post(
                path,
                cast_to=httpx2.Response,
                body={**asked, "stream": True},
                options=options,
                stream=True,
                stream_cls=anthropic.AsyncStream[httpx2.Response],
            )
        except anthropic.APIStatusError as error:
            raise _shaped(error.response) from None
        except _client_errors() as error:
            raise self._unsent(failures.cause(error), error) from error
        response = cast(httpx2.Response, opened)
        return bedrock_events.as_sse(response) if self._cloud.name == "bedrock" else response

    def _body(self, raw: bytes) -> dict[str, Any]:
        """Return the body for the cloud. Raises `UpstreamError` for what it cannot answer."""
        body = dict(json_text.loads(raw))
        if (reason := refusal(self._cloud.name, body)) is not None:
            raise UpstreamError(
                400, _error("invalid_request_error", reason), {"content-type": "application/json"}
            )
        for name in LEFT_OUT:
            body.pop(name, None)
        body["model"] = self._cloud.model_id(str(body.get("model", "")))
        body["anthropic_version"] = VERSIONS[self._cloud.name]
        return body

    def _unsent(self, cause: Cause, error: Exception) -> UpstreamError:
        """Return the error for a request that the cloud's own client could not send."""
        self._on_event(cause)
        message = failures.message(cause, self._cloud.name)
        # Not the error's text, which may quote the request.
        logger.error("%s (%s)", message, type(error).__name__)
        headers = {"content-type": "application/json"}
        if cause in failures.LASTING:
            headers["x-should-retry"] = "false"
        return UpstreamError(502, _error("api_error", message), headers)

    @property
    def _called(self) -> str:
        return CALLED[self._cloud.name]

    def _lacking(self, path: str) -> UpstreamError:
        message = f"{self._called}, this server's upstream, has no `{path}`"
        return UpstreamError(
            404, _error("not_found_error", message), {"content-type": "application/json"}
        )


def _client(
    cloud: Cloud, base_url: str, http: httpx2.AsyncClient
) -> anthropic.AsyncAnthropicBedrock | anthropic.AsyncAnthropicVertex:
    if cloud.name == "bedrock":
        return anthropic.AsyncAnthropicBedrock(
            aws_region=cloud.region,
            base_url=base_url,
            max_retries=0,
            open_telemetry=False,
            http_client=http,
        )
    return anthropic.AsyncAnthropicVertex(
        region=cloud.region,
        project_id=cloud.project or "",
        base_url=base_url,
        max_retries=0,
        open_telemetry=False,
        http_client=http,
    )


def _client_errors() -> tuple[type[Exception], ...]:
    """Return what the SDK's client and the clouds' libraries raise before they send a request."""
    found: list[type[Exception]] = [RuntimeError, ValueError]  # the SDK's own
    try:
        from botocore.exceptions import BotoCoreError

        found.append(BotoCoreError)
    except ImportError:
        pass
    try:
        from google.auth.exceptions import GoogleAuthError

        found.append(GoogleAuthError)
    except ImportError:
        pass
    return tuple(found)


def _shaped(answer: httpx2.Response) -> UpstreamError:
    """Return a cloud's error in Anthropic's shape, with its status and headers."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    message = told(answer.status_code, body)
    headers = {**passed_back(answer.headers), "content-type": "application/json"}
    if "request-id" not in headers and "x-amzn-requestid" in answer.headers:
        headers["request-id"] = answer.headers["x-amzn-requestid"]
    kind = _TYPES.get(answer.status_code, "api_error")
    content = answer.content if message is None else _error(kind, message)
    return UpstreamError(answer.status_code, content, headers)


def _error(type: str, message: str) -> bytes:
    return json_text.dumps({"type": "error", "error": {"type": type, "message": message}})
