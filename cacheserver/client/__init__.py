"""Python client. Besides the standard library it imports `httpx2` only.

Promises: works without the `server` extra; both clients raise the same errors.
Used by callers of the server, by `in_process` and by `cacheserver erase`.
"""

from cacheserver.client.client import AsyncClient, Client, Report
from cacheserver.client.stream import AsyncStream, Stream
from cacheserver.client.types import (
    Answer,
    AuthenticationError,
    BadRequestError,
    CacheMode,
    ClientError,
    ConnectionFailed,
    Decision,
    NotCachedError,
    NotFoundError,
    Options,
    RateLimitError,
    StatusError,
    UnexpectedAnswer,
    UpstreamFailed,
)

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "CacheMode",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Decision",
    "NotCachedError",
    "NotFoundError",
    "Options",
    "RateLimitError",
    "Report",
    "StatusError",
    "Stream",
    "UnexpectedAnswer",
    "UpstreamFailed",
]
