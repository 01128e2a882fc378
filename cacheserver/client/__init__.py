"""The Python client. Imports `httpx2` and nothing else that is not in the standard library.

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
