"""Python client. Besides the standard library it imports `httpx2` only.

Promises: works without the `server` extra; both clients raise the same errors.
Used by callers of the server, by `in_process` and by `commands`.
"""

from cacheserver.client.client import AsyncClient, Client, Report
from cacheserver.client.stream import AsyncStream, Stream
from cacheserver.client.types import (
    Answer,
    Asked,
    AuthenticationError,
    BadRequestError,
    CacheMode,
    ClientError,
    ConnectionFailed,
    Decision,
    NotCachedError,
    NotFoundError,
    Options,
    PutOptions,
    RateLimitError,
    StatusError,
    Stored,
    UnexpectedAnswer,
    UpstreamFailed,
)

__all__ = [
    "Answer",
    "Asked",
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
    "PutOptions",
    "RateLimitError",
    "Report",
    "StatusError",
    "Stored",
    "Stream",
    "UnexpectedAnswer",
    "UpstreamFailed",
]
