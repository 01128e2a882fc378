"""Python client. Besides the standard library it imports `httpx2` only.

Promises: works without the `server` extra; both clients raise the same errors.
Used by callers of the server, by `in_process` and by `commands`.
"""

from cacheserver.client.async_client import AsyncClient
from cacheserver.client.client import Client
from cacheserver.client.operations import Report
from cacheserver.client.stream import AsyncStream, Stream
from cacheserver.client.types import (
    Answer,
    Asked,
    AuthenticationError,
    BadRequestError,
    CacheMode,
    Candidate,
    ClientError,
    ConnectionFailed,
    Decision,
    Erasure,
    Job,
    NotCachedError,
    NotFoundError,
    Options,
    Purge,
    PutOptions,
    RateLimitError,
    StatusError,
    Stored,
    UnexpectedAnswer,
    UpstreamFailed,
)
from cacheserver.client.wrap import wrap

__all__ = [
    "Answer",
    "Asked",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "BadRequestError",
    "CacheMode",
    "Candidate",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Decision",
    "Erasure",
    "Job",
    "NotCachedError",
    "NotFoundError",
    "Options",
    "Purge",
    "PutOptions",
    "RateLimitError",
    "Report",
    "StatusError",
    "Stored",
    "Stream",
    "UnexpectedAnswer",
    "UpstreamFailed",
    "wrap",
]
