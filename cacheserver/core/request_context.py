"""The request context: facts about an HTTP request for logs and traces.

Rule: it never holds any part of a body, nor the value of a header but for a trace's ids.
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
    """A new request id, as the caller sees it."""
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
    requested_model: str  # the model
    model: str | None  # that answered
    usage: Usage | None  # that was billed for it
    cost: Nanodollars | None


class Observer(Protocol):
    """Observes requests. Raises nothing."""

    def began(self, context: RequestContext) -> None: ...
    def ended(self, context: RequestContext) -> None:
        """Record that the last byte was sent, or that the caller has disconnected."""


# The current request. Tasks that it starts inherit it: a fill belongs to its leader.
_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current() -> RequestContext | None:
    return _current.get()


def request_id() -> str | None:
    """The id of the current request; None outside of one."""
    seen = _current.get()
    return None if seen is None else seen.id


def enter(context: RequestContext) -> None:
    """Make `context` the current one of this task and of the tasks it starts."""
    _current.set(context)


def trace_of(headers: Iterable[tuple[bytes, bytes]]) -> Trace | None:
    """The caller's position in a trace, from `traceparent`; None if it sent none, or two.

    `tracestate` is left out: it is free text of other vendors.
    """
    sent = [value for name, value in headers if name == b"traceparent"]
    return parse_traceparent(sent[0].strip().decode("latin-1")) if len(sent) == 1 else None


def parse_traceparent(traceparent: str) -> Trace | None:
    """Parse the value of a `traceparent` header; None if it is invalid."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else Trace(*found.groups())
