"""The error tree, by who is at fault. `api/errors.py` turns it into Anthropic-shaped responses.

CacheServerError
├── CallerError            the request
│   ├── BadRequest         400  `field` names what was wrong
│   │   └── Unknown        400  a name that stands for nothing; lists those that do
│   ├── Unauthenticated    401
│   ├── OverBudget         402  what may be spent is spent
│   ├── Forbidden          403
│   ├── NotFound           404
│   │   └── SwitchedOff    404  the operator has switched this capability off
│   ├── NotCached          404  `only-if-cached` and it was not
│   ├── Conflict           409  what is under way must end first
│   ├── Withheld           409  the tenant keeps no content, and this would show or keep some
│   ├── TooLarge           413
│   ├── Encoded            415  a body packed in a way we do not read
│   ├── RateLimited        429  the tenant or the key asks faster than it may
│   ├── Busy               503  as many streams as may be are open
│   ├── DiskFull           507  the disk has no room for an upload
│   └── Loop               508  the request has been through a cacheserver already
├── UpstreamError          Claude: its own status, headers and body
│   ├── Overloaded         529  our own queue to Claude is full, or did not move
│   └── CircuitOpen        503  Claude has been failing and is not asked for a while
├── StoreError             Redis; on the request path a miss, never an error
├── SettingsError          a setting; the server does not start
└── Unavailable            503  we cannot tell who is asking, so we answer nobody
    └── KeyLost            503  a tenant's settings are sealed, and their key is not here
        └── SettingsDamaged  503  a tenant's settings are none
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, Literal, TypeAlias

from cacheserver.core.planned_call import PlannedCall
from cacheserver.core.usage import Usage

# Why Claude was not asked though the cache had no answer.
NotSent: TypeAlias = Literal["queue-full", "queue-wait", "circuit-open"]

_LISTED = 10  # names of a kind, in a message: what was meant is among the nearest
_SHOWN = 64  # characters of the name that was given


class CacheServerError(Exception):
    """Base of all errors that this package raises on purpose."""


class CallerError(CacheServerError):
    """The request is at fault. `status` and `type` are what the caller sees."""

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})  # sent with the error


class BadRequest(CallerError):
    """Raised for a malformed request; `field` names the part.

    `others` are those of other parts that are wrong as well, where all were looked for.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"`{field}`: {message}")
        self.field = field
        self.others: tuple[BadRequest, ...] = ()

    @staticmethod
    def of(errors: Sequence[BadRequest]) -> BadRequest:
        """Return the first of some errors, with the others: one for each field."""
        by_field: dict[str, BadRequest] = {}
        for error in errors:
            for one in (error, *error.others):
                by_field.setdefault(one.field, one)
        first, *others = by_field.values()
        first.others = tuple(others)
        return first


def unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """Return the message for a name that stands for nothing."""
    names = sorted(known)
    near = get_close_matches(given[:_SHOWN], names, n=_LISTED)
    listed = [*near, *(name for name in names if name not in near)][:_LISTED]
    more = len(names) - len(listed)
    shown = f"{', '.join(listed) or 'none'}{f' and {more} more' if more > 0 else ''}"
    return f"there is no {kind} {given[:_SHOWN]!r}; known: {shown}"


class Unknown(BadRequest):
    """Raised for a name that does not exist; the message lists the ten most similar."""

    def __init__(self, field: str, kind: str, given: str, valid: Iterable[str]) -> None:
        super().__init__(field, unknown(kind, given, valid))


class Unauthenticated(CallerError):
    status = 401
    type = "authentication_error"


class OverBudget(CallerError):
    """The budget of the tenant or key is spent. The message says until when."""

    status = 402
    type = "billing_error"


class Forbidden(CallerError):
    status = 403
    type = "permission_error"


class NotFound(CallerError):
    status = 404
    type = "not_found_error"


class SwitchedOff(NotFound):
    """The request needs a capability that the operator has switched off."""

    def __init__(self, feature: str) -> None:
        super().__init__(
            f"`{feature}` is switched off on this server: `CACHESERVER_FEATURES_OFF` names it, or "
            "its upstream has none"
        )
        self.feature = feature


class NotCached(CallerError):
    """Raised for `only-if-cached` if no stored answer may be served. A retry is useless."""

    status = 404
    type = "not_found_error"


class Conflict(CallerError):
    status = 409
    type = "conflict_error"


class Withheld(CallerError):
    """The tenant keeps no content, and what was asked for would show some or keep some."""

    status = 409

    def __init__(self, message: str) -> None:
        super().__init__(message, {"x-cache": "bypass", "x-cache-reason": "no-content"})


class TooLarge(CallerError):
    status = 413
    type = "request_too_large"


class Encoded(CallerError):
    """A `content-encoding` that we do not read; the message names those we do."""

    status = 415


class RateLimited(CallerError):
    """A tenant or a key asks faster than it may; `headers` say which limit and until when."""

    status = 429
    type = "rate_limit_error"


class Busy(CallerError):
    """No more of something long-lived may be open."""

    status = 503
    type = "api_error"


class DiskFull(CallerError):
    status = 507
    type = "api_error"


class Loop(CallerError):
    status = 508


class Unavailable(CacheServerError):
    """We cannot know who is asking (the store is away), and isolation fails closed."""


class KeyLost(Unavailable):
    """A tenant's settings are sealed with a key that is not here: what it allows is not known."""


class SettingsDamaged(KeyLost):
    """A tenant's settings open, or were never sealed, and are none."""


class StoreError(CacheServerError):
    """Redis did not do what was asked. Callers on the request path treat it as a miss."""


class NotReplicated(StoreError):
    """A change was made, and too few replicas have it. The message says what that means."""


class SettingsError(CacheServerError):
    """A setting is wrong; the message names it and says what to do."""


class UpstreamError(CacheServerError):
    """Claude failed or refused. Carries what goes back to the caller unchanged."""

    reason: NotSent | None = None  # None: it was asked

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"upstream answered {status}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        self.worded: tuple[str, str] | None = None  # type and message, where they are ours
        self.lost = 0  # tries that were sent and never answered: Claude may bill each
        self.heard: Usage | None = None  # of the last of them, what its `message_start` said
        self.planned: PlannedCall | None = None  # the call that failed; None: none was made

    @property
    def ours(self) -> bool:
        """True where retrying or an older answer may help: 5xx and what never got through."""
        return self.status >= 500

    def with_headers(self, headers: Mapping[str, str]) -> UpstreamError:
        """The same error, telling more."""
        error = UpstreamError(self.status, self.body, {**self.headers, **headers})
        error.reason, error.worded = self.reason, self.worded
        return error

    @classmethod
    def shaped(cls, status: int, type: str, message: str) -> UpstreamError:
        """An error that Claude did not word: a timeout, a lost connection."""
        error = UpstreamError(status, _shape(type, message), {"content-type": "application/json"})
        error.worded = (type, message)
        return error


class _Unasked(UpstreamError):
    """We did not ask Claude. `retry_after_s` is when to come back."""

    def __init__(self, status: int, type: str, message: str, *, retry_after_s: float) -> None:
        headers = {
            "content-type": "application/json",
            "retry-after": str(max(1, math.ceil(retry_after_s))),
        }
        super().__init__(status, _shape(type, message), headers)
        self.worded = (type, message)


class Overloaded(_Unasked):
    """More calls to Claude than we hold in flight and in the queue, or none ends in time."""

    def __init__(self, reason: Literal["queue-full", "queue-wait"]) -> None:
        message = "too many requests are waiting for Claude; try again shortly"
        super().__init__(529, "overloaded_error", message, retry_after_s=1)
        self.reason = reason


class CircuitOpen(_Unasked):
    """Claude has been failing; it is asked again after `retry_after_s`."""

    reason: NotSent | None = "circuit-open"

    def __init__(self, retry_after_s: float) -> None:
        message = "Claude has been failing and is not asked for a moment; try again shortly"
        super().__init__(503, "api_error", message, retry_after_s=retry_after_s)


def _shape(type: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": type, "message": message}}).encode()
