"""Python client. Besides the standard library it imports `httpx2` only.

Promises: works without the `server` extra; both clients raise the same errors.
"""

from cacheserver.client.client import AsyncClient, Client, Options
from cacheserver.client.stream import AsyncStream, Stream
from cacheserver.client.types import (
    Answer,
    AuthenticationError,
    BadRequestError,
    ClientError,
    ConnectionFailed,
    Decision,
    NotCachedError,
    NotFoundError,
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
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Decision",
    "NotCachedError",
    "NotFoundError",
    "Options",
    "RateLimitError",
    "StatusError",
    "Stream",
    "UnexpectedAnswer",
    "UpstreamFailed",
]
