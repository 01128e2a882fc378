"""A span for each request and each item of a batch: what answered it, and why."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from cacheserver.core.request_context import ItemEnd, RequestContext, Trace
from cacheserver.observability.otel import names
from cacheserver.observability.otel.names import ERROR, Value, name


class Requests:
    """An observer of visits: begins a span with each, and ends it when the last byte has left."""

    def __init__(self, tracer: Tracer, visited: Callable[[RequestContext], None]) -> None:
        self._tracer = tracer
        self._record_request = visited

    def began(self, context: RequestContext) -> None:
        span = self._tracer.start_span(
            context.method,
            context=_callers(context.trace),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": context.method, "url.scheme": "http"},
        )
        context.span = span
        context.trace = trace_of(span)

    def ended(self, context: RequestContext) -> None:
        span: Span = context.span
        if span.is_recording():
            if context.route is not None:
                span.update_name(f"{context.method} {context.route}")
            span.set_attributes(dict(_span_attributes(context)))
            if context.shown_status >= 500:
                span.set_status(StatusCode.ERROR)
        span.end()
        self._record_request(context)


class Items:
    """A span for each item of a batch or job, below the request that brought it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def ended(self, item: ItemEnd) -> None:
        """Tell of an item, from when its job was taken to its end."""
        attributes: dict[str, Value | None] = {
            names.OPERATION: "chat",
            names.PROVIDER: "anthropic",
            names.REQUEST_MODEL: name(item.requested_model),
            names.RESPONSE_MODEL: None if item.model is None else name(item.model),
            **({} if item.usage is None else names.used(item.usage)),
            "cacheserver.job_id": name(item.job),
            "cacheserver.item": item.place,
            "cacheserver.end": item.end,
            "cacheserver.decision_id": item.decision_id,
            "cacheserver.tenant": item.tenant,
            "cacheserver.outcome": item.outcome,
            "cacheserver.reason": item.reason,
            "cacheserver.cost_nanodollars": item.cost,
        }
        span = self._tracer.start_span(
            "batch item",
            context=_callers(item.trace),
            kind=SpanKind.INTERNAL,
            attributes={key: value for key, value in attributes.items() if value is not None},
            start_time=round(item.began * 1e9),
        )
        if item.end == "errored":
            span.set_attribute(ERROR, item.reason)
            span.set_status(StatusCode.ERROR)
        span.end(round(max(item.began, item.ended) * 1e9))


def trace_of(span: Span) -> Trace | None:
    """Return the trace and span ids of a span; None without a trace."""
    at = span.get_span_context()
    if not at.is_valid:
        return None
    return Trace(f"{at.trace_id:032x}", f"{at.span_id:016x}", f"{at.trace_flags:02x}")


def _callers(trace: Trace | None) -> Context:
    """The caller's place in its trace; nothing of what is around us in this process."""
    if trace is None:
        return Context()
    remote = SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(trace.flags, 16)),
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _span_attributes(context: RequestContext) -> dict[str, Value]:
    always: dict[str, Value] = {
        "http.response.status_code": context.shown_status,
        "cacheserver.request_id": name(context.id),
    }
    row = context.row
    optional: dict[str, Value | None] = {
        "http.route": context.route,
        "cacheserver.decision_id": context.decision_id,
        "cacheserver.tenant": context.tenant,
        "cacheserver.outcome": context.cache if row is None else row.outcome,
        "cacheserver.reason": context.reason if row is None else row.reason,
        "cacheserver.similarity": context.similarity,
    }
    if row is not None:
        optional["cacheserver.model"] = None if row.model is None else name(row.model)
        optional["cacheserver.cost_nanodollars"] = row.cost
        optional["cacheserver.saved_nanodollars"] = row.net
    if context.status is None or not context.whole:
        optional["cacheserver.abandoned"] = True
    if context.shown_status >= 500:
        optional[ERROR] = str(context.shown_status)
    return always | {key: value for key, value in optional.items() if value is not None}
