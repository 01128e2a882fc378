"""One HTTP request from its first byte to its last, as logs and traces tell of it.

Rule: nothing of a request's body, and no header's value but a trace's ids, ever gets in here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from cacheserver.core.ledger_row import GONE, Row
from cacheserver.core.types import Nanodollars, Usage

# W3C Trace Context: version, trace, parent, flags. A later version may have more behind them.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """A position in a trace. Ids are lower-case hexadecimal."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def new_request_id() -> str:
    """A new id, as the caller sees it."""
    return f"req_{secrets.token_hex(12)}"


@dataclass(slots=True)
class RequestContext:
    """Facts about the request under way, filled in by each part that learns one."""

    method: str
    id: str = field(default_factory=new_request_id)
    trace: Trace | None = None  # the caller's; where tracing is on, our own span in it
    decision_id: str | None = None
    tenant: str | None = None
    row: Row | None = None  # set where the request is settled
    route: str | None = None  # the template: a path may hold what somebody typed
    status: int | None = None  # None: nothing has been sent
    cache: str | None = None  # `x-cache` and `x-cache-reason`, for what was not settled
    reason: str | None = None
    similarity: float | None = None
    whole: bool = False  # the last byte has left
    seconds: float = 0.0
    span: Any = None  # the tracer's own

    @property
    def shown_status(self) -> int:
        """The status sent; 499 for a caller who left before there was one, as nginx logs it."""
        return GONE if self.status is None else self.status


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """The end of an item of a batch or job. Times are Unix seconds."""

    job: str  # its id
    place: int  # of the item in it, from 0
    tenant: str
    began: float  # when the job was taken
    ended: float
    trace: Trace | None  # of the request that brought it
    end: str  # "succeeded", "errored", "canceled" or "expired"
    decision_id: str
    outcome: str  # as in the ledger
    reason: str
    asked: str  # the model
    model: str | None  # that answered
    usage: Usage | None  # that was billed for it
    cost: Nanodollars | None


class Observer(Protocol):
    """Told of requests. Raises nothing."""

    def began(self, visit: RequestContext) -> None: ...
    def ended(self, visit: RequestContext) -> None:
        """The last byte has left, or the caller has."""


# The request under way. Tasks begun on its behalf carry it on: a fill belongs to who led it.
_current: ContextVar[RequestContext | None] = ContextVar("visit", default=None)


def current() -> RequestContext | None:
    return _current.get()


def request_id() -> str | None:
    """The id of the request under way, as its caller sees it; None outside of one."""
    seen = _current.get()
    return None if seen is None else seen.id


def enter(visit: RequestContext) -> None:
    """Make `visit` the one under way in this task, and in those it begins."""
    _current.set(visit)


def trace_of(headers: Iterable[tuple[bytes, bytes]]) -> Trace | None:
    """The caller's place in a trace, from `traceparent`; None where it sent none, or two.

    `tracestate` is left out: it is free text of other vendors.
    """
    sent = [value for name, value in headers if name == b"traceparent"]
    return placed(sent[0].strip().decode("latin-1")) if len(sent) == 1 else None


def placed(traceparent: str) -> Trace | None:
    """A place in a trace as the header has it; None for what is none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else Trace(*found.groups())
