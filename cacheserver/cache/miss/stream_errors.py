"""The errors of a streamed call to Claude, as a response would have carried them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.claude.sse import Fold
from cacheserver.claude.upstream import StreamReply
from cacheserver.core.errors import UpstreamError
from cacheserver.core.usage import usage_of

# Error events and batch results carry a type and no status. The statuses are those of Claude's API:
# https://docs.claude.com/en/api/errors
STATUSES: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_QUOTED: Final = 300  # characters quoted of an unexpected body: enough for a gateway's sentence


def error_event(error: Mapping[str, Any]) -> UpstreamError:
    """The error that Claude sent as an event of the stream."""
    kind = str(error.get("type", "api_error"))
    return UpstreamError.shaped(STATUSES.get(kind, 500), kind, str(error.get("message", "")))


def ended_early() -> UpstreamError:
    """The error of a stream that stopped before its message was complete."""
    return UpstreamError.shaped(502, "api_error", "Claude's stream ended too soon")


def unfinished(error: UpstreamError, reply: StreamReply, fold: Fold) -> UpstreamError:
    """Add to `error` what the stream may cost: it began, and its usage never came."""
    error.lost = reply.lost + 1
    error.heard = usage_of(fold.message) if fold.message else None
    return error


def no_message(message: Mapping[str, Any], body: bytes, reply: StreamReply) -> UpstreamError:
    """The error for a body that came instead of a stream and is no message.

    Claude's own error if it is one; else a 502 that quotes the body.
    """
    error = message.get("error")
    if message.get("type") == "error" and isinstance(error, dict):
        status = STATUSES.get(str(error.get("type")), 502)
        found = UpstreamError(status, body, reply.headers)
        found.lost = reply.lost
        return found
    text = " ".join(body[: 4 * _QUOTED].decode(errors="replace").split())[:_QUOTED]
    kind = reply.headers.get("content-type", "no type")
    found = UpstreamError.shaped(
        502, "api_error", f"Claude answered 200 with {kind} where a stream was asked for: {text}"
    )
    found.headers = {**reply.headers, **found.headers}
    found.lost = reply.lost + 1
    return found
