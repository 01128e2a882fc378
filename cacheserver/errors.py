"""The error tree, by who is at fault. `api/errors.py` turns it into Anthropic-shaped responses.

CacheServerError
├── CallerError            the request
│   ├── BadRequest         400  `field` names what was wrong
│   │   └── Unknown        400  a name that stands for nothing; lists those that do
│   ├── Unauthenticated    401
│   ├── OverBudget         402  what may be spent is spent
│   ├── Forbidden          403
│   ├── NotFound           404
│   ├── NotCached          404  `only-if-cached` and it was not
│   ├── TooLarge           413
│   ├── RateLimited        429  the tenant or the key asks faster than it may
│   └── Loop               508  the request has been through a cacheserver already
├── UpstreamError          Claude: its own status, headers and body
│   └── Overloaded         529  our own queue to Claude is full
├── StoreError             Redis; on the request path a miss, never an error
├── SettingsError          a setting; the server does not start
└── Unavailable            503  we cannot tell who is asking, so we answer nobody
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # what an error carries for the ledger; importing it would turn the layers around
    from cacheserver.types import Asked, Usage

_LISTED = 40  # names of a kind, in a message: all vetoes, and no more of a tenant's scopes
_SHOWN = 64  # characters of the name that was given


class CacheServerError(Exception):
    """Anything this package raises on purpose."""


class CallerError(CacheServerError):
    """The request is at fault. `status` and `type` are what the caller sees."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})  # sent with the error


class BadRequest(CallerError):
    """Something in the request is malformed; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"`{field}`: {message}")
        self.field = field


class Unknown(BadRequest):
    """A name that stands for nothing; the message lists the names there are, the first 40."""

    def __init__(self, field: str, kind: str, given: str, known: Iterable[str]) -> None:
        first, *rest = sorted(known) or ["none"]
        listed = ", ".join([first, *rest[: _LISTED - 1]])
        more = len(rest) + 1 - _LISTED
        shown = f"{listed}{f' and {more} more' if more > 0 else ''}"
        super().__init__(field, f"there is no {kind} {given[:_SHOWN]!r}; known: {shown}")


class Unauthenticated(CallerError):
    status = 401
    type = "authentication_error"


class OverBudget(CallerError):
    """What the tenant or the key may spend is spent. The message says until when."""

    status = 402
    type = "billing_error"


class Forbidden(CallerError):
    status = 403
    type = "permission_error"


class NotFound(CallerError):
    status = 404
    type = "not_found_error"


class NotCached(CallerError):
    """`only-if-cached`, and no stored answer may be served. Never worth a retry."""

    status = 404
    type = "not_found_error"


class TooLarge(CallerError):
    status = 413
    type = "request_too_large"


class RateLimited(CallerError):
    """A tenant or a key asks faster than it may; `headers` say which limit and until when."""

    status = 429
    type = "rate_limit_error"


class Loop(CallerError):
    status = 508


class Unavailable(CacheServerError):
    """We cannot know who is asking (the store is away), and isolation fails closed."""


class StoreError(CacheServerError):
    """Redis did not do what was asked. Callers on the request path treat it as a miss."""


class SettingsError(CacheServerError):
    """A setting is wrong; the message names it and says what to do."""


class UpstreamError(CacheServerError):
    """Claude failed or refused. Carries what goes back to the caller unchanged."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"upstream answered {status}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        self.lost = 0  # tries that were sent and never answered: Claude may bill each
        self.heard: Usage | None = None  # of the last of them, what its `message_start` said
        self.asked: Asked | None = None  # how Claude was asked

    @property
    def ours(self) -> bool:
        """True where retrying or an older answer may help: 5xx and what never got through."""
        return self.status >= 500

    def with_headers(self, headers: Mapping[str, str]) -> UpstreamError:
        """The same error, telling more."""
        return UpstreamError(self.status, self.body, {**self.headers, **headers})

    @classmethod
    def shaped(cls, status: int, type: str, message: str) -> UpstreamError:
        """An error that Claude did not word: a timeout, a lost connection."""
        body = {"type": "error", "error": {"type": type, "message": message}}
        return cls(status, json.dumps(body).encode(), {"content-type": "application/json"})


class Overloaded(UpstreamError):
    """More calls to Claude than we hold in flight and in the queue."""

    def __init__(self) -> None:
        shape = UpstreamError.shaped(
            529, "overloaded_error", "too many requests are waiting for Claude; try again shortly"
        )
        super().__init__(shape.status, shape.body, shape.headers | {"retry-after": "1"})
