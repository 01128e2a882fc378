"""Errors made of what went wrong: each message says what to do, once. Pure."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import httpx2

from cacheserver.client.calls import Call
from cacheserver.client.types import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailed,
    NotCachedError,
    NotFoundError,
    RateLimitError,
    StatusError,
    UnexpectedAnswer,
    UpstreamFailed,
)
from cacheserver.core.types import UNLOOKED

# Nothing stored may be served, or could not be looked up; Claude was not to be asked.
_NOT_CACHED = ("only-if-cached", *UNLOOKED)
_NO_ROUTE = ("there is no such route", "this route does not take")
_NO_FIELD = "Extra inputs are not permitted"  # pydantic's, of a field that the server has not

_BY_STATUS: Mapping[int, type[StatusError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    429: RateLimitError,
}
# An error inside a stream comes after status 200: only its type tells.
_BY_TYPE: Mapping[str, type[StatusError]] = {
    "authentication_error": AuthenticationError,
    "permission_error": AuthenticationError,
    "invalid_request_error": BadRequestError,
    "request_too_large": BadRequestError,
    "not_found_error": NotFoundError,
    "rate_limit_error": RateLimitError,
}


def connection_failed(
    url: str, error: httpx2.RequestError, *, begun: bool = False
) -> ConnectionFailed:
    """Return the error for a request that got no whole answer.

    `begun`: the answer had begun to arrive.
    """
    failed = ConnectionFailed(_lost(url, error, begun), type="connection_error", begun=begun)
    failed.__cause__ = error
    return failed


def _lost(url: str, error: httpx2.RequestError, begun: bool) -> str:
    causes = list(_causes(error))
    named = httpx2.URL(url)
    host = named.host
    if named.userinfo:  # errors are logged, and a password in an address is a secret
        url = str(named.copy_with(userinfo=b""))
    if begun:
        return f"the connection to {url} was lost in the middle of the answer"
    if any(isinstance(one, socket.gaierror) for one in causes):
        return f"there is no host {host!r}: check the URL {url}"
    if (tls := _first(causes, ssl.SSLError)) is not None:
        if isinstance(tls, ssl.SSLCertVerificationError):
            return f"the certificate of {url} is not trusted: {tls.verify_message}"
        return f"what answers at {url} does not speak TLS: use `http://` if it is the server itself"
    if isinstance(error, httpx2.ConnectTimeout):
        return f"no connection to {url} in time: check the address, and firewalls on the way"
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer from {url} in time: `timeout_s` sets how long to wait"
    if isinstance(error, httpx2.ConnectError):
        return (
            f"nothing answers at {url}: start the server there (`cacheserver serve`), or check "
            "the URL"
        )
    return f"no answer from {url}: the connection was closed ({type(error).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            for each in one.exceptions:
                yield from _causes(each)
        one = one.__cause__ or one.__context__


def _first(causes: list[BaseException], kind: type[ssl.SSLError]) -> ssl.SSLError | None:
    return next((one for one in causes if isinstance(one, kind)), None)


def failure(
    status: int, headers: Mapping[str, str], body: bytes, call: Call | None = None
) -> StatusError | UnexpectedAnswer:
    """Convert an unsuccessful response to an error. `call` is what was asked."""
    shape = json_object(body)
    error = None if shape is None else shape.get("error")
    request_id = headers.get("request-id")
    if not isinstance(error, dict) or not 400 <= status < 600:
        if status >= 500:  # a proxy in front of the server words its errors its own way
            return UpstreamFailed(
                f"the server, or a proxy before it, failed with status {status}",
                status=status,
                request_id=request_id,
            )
        return unexpected(status, headers, body)
    message = str(error.get("message", ""))
    if call is not None and message.startswith(_NO_ROUTE):
        where = f"`{call.method} {call.path.partition('?')[0]}`"
        return UnexpectedAnswer(
            f"this server has no {where}: it is older than the client, {version('cacheserver')}; "
            "update the server",
            status=status,
            request_id=request_id,
        )
    if _NO_FIELD in message:
        message += f"; this server does not know it: the client is {version('cacheserver')}"
    kind = UpstreamFailed if status >= 500 else _BY_STATUS.get(status, BadRequestError)
    reason, again = headers.get("x-cache-reason"), headers.get("x-should-retry")
    if kind is NotFoundError and reason in _NOT_CACHED and again == "false":
        kind = NotCachedError
    type = str(error.get("type", ""))
    return kind(message, status=status, type=type, request_id=request_id)


def unexpected(status: int, headers: Mapping[str, str], body: bytes) -> UnexpectedAnswer:
    """Return the error for a response that is none of a cacheserver."""
    page = body.lstrip()[:1] == b"<" or "html" in headers.get("content-type", "")
    came = "an HTML page" if page else "no JSON object"
    message = (
        f"{came} came, with status {status}: a proxy or another server answers at this URL; it "
        "must be that of a cacheserver, without a path"
    )
    return UnexpectedAnswer(message, status=status, request_id=headers.get("request-id"))


def stream_failure(event: Mapping[str, Any], request_id: str | None) -> StatusError:
    """Convert an `error` event to an error."""
    error = event.get("error")
    error = error if isinstance(error, dict) else {}
    type = str(error.get("type", ""))
    kind = _BY_TYPE.get(type, UpstreamFailed)
    event_id = event.get("request_id")
    return kind(
        str(error.get("message", "")),
        status=200,
        type=type,
        request_id=event_id if isinstance(event_id, str) else request_id,
    )


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`, a list as its `items`; None if there is neither."""
    try:
        found = json.loads(body)
    except ValueError:  # malformed JSON and malformed UTF-8 alike
        return None
    if isinstance(found, list):
        return {"items": found}
    return found if isinstance(found, dict) else None
