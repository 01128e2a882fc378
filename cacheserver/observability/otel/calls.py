"""Calls to Claude with a span each, below the request or the work they are made for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import orjson
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from cacheserver.claude import sse
from cacheserver.claude.upstream import Call, Reply, StreamReply, Upstream
from cacheserver.core import request_context
from cacheserver.core.errors import UpstreamError
from cacheserver.core.types import Usage
from cacheserver.core.usage import usage_of
from cacheserver.observability.otel import names
from cacheserver.observability.otel.instruments import Sums
from cacheserver.observability.otel.names import ERROR, Value
from cacheserver.observability.otel.requests import trace_of

_START, _DELTA, _ERROR = b"event: message_start", b"event: message_delta", b"event: error"


class TracedUpstream(Upstream):
    """The way to Claude; each call tells who asked for it, and of what came back its figures."""

    def __init__(self, *, tracer: Tracer, sums: Sums, base_url: str, **settings: Any) -> None:
        super().__init__(base_url=base_url, **settings)
        self._tracer = tracer
        self._sums = sums
        self._server = names.server(base_url)

    async def create(self, call: Call) -> Reply:
        with self._chat(call, stream=False) as observation:
            reply = await super().create(observation.call)
            observation.message(_object(reply.body))
            return reply

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[StreamReply]:
        with self._chat(call, stream=True) as observation:
            async with super().stream(observation.call) as reply:
                yield reply.watched(observation.event)

    async def forward(self, method: str, path: str, query: str, call: Call) -> Reply:
        with self._plain(method, path, call) as (span, sent):
            reply = await super().forward(method, path, query, sent)
            span.set_attribute("http.response.status_code", reply.status)
            return reply

    async def create_batch(self, call: Call) -> Reply:
        with self._plain("POST", "/v1/messages/batches", call) as (_, sent):
            return await super().create_batch(sent)

    async def batch_lines(self, batch_id: str, call: Call) -> AsyncGenerator[bytes, None]:
        with self._plain("GET", f"/v1/messages/batches/{batch_id}/results", call) as (_, sent):
            async with aclosing(super().batch_lines(batch_id, sent)) as lines:
                async for line in lines:
                    yield line

    @contextmanager
    def _chat(self, call: Call, *, stream: bool) -> Iterator[_CallObservation]:
        about = names.request_attributes(_object(call.body), stream=stream)
        model = str(about[names.REQUEST_MODEL])
        span = self._start(f"chat {model}", about)
        observation, began, error = (
            _CallObservation(span, _placed(call, span)),
            time.perf_counter(),
            None,
        )
        try:
            yield observation
            error = observation.error
        except BaseException as raised:
            error = _mark(span, raised)
            raise
        finally:
            span.end()
            took = time.perf_counter() - began
            self._sums.called(
                model,
                took,
                server=self._server,
                by=observation.by,
                usage=observation.usage,
                error=error,
            )

    @contextmanager
    def _plain(self, method: str, path: str, call: Call) -> Iterator[tuple[Span, Call]]:
        """A call that generates nothing by itself: an ordinary HTTP request."""
        route = names.route(path)
        about: dict[str, Value] = {"http.request.method": method, "url.template": route}
        span = self._start(f"{method} {route}", about)
        try:
            yield span, _placed(call, span)
        except BaseException as raised:
            _mark(span, raised)
            raise
        finally:
            span.end()

    def _start(self, title: str, about: dict[str, Value]) -> Span:
        seen = request_context.current()
        parent = Context()
        if seen is not None and seen.span is not None:
            parent = set_span_in_context(seen.span, parent)
        attributes = {**about, **self._server}
        if (task := _task()) is not None:
            attributes["cacheserver.task"] = task
        return self._tracer.start_span(
            title, context=parent, kind=SpanKind.CLIENT, attributes=attributes
        )


class _CallObservation:
    """Observation of one call while its answer arrives."""

    def __init__(self, span: Span, call: Call) -> None:
        self.call = call  # with its place in the trace
        self.by: str | None = None
        self.usage: Usage | None = None
        self.error: str | None = None  # Claude's own, in a stream
        self._span = span
        self._began = time.perf_counter()
        self._opening: dict[str, Any] = {}

    def message(self, message: dict[str, Any]) -> None:
        """Take a whole message's figures."""
        about = names.response_attributes(message)
        if isinstance(message.get("usage"), dict):
            self.usage = usage_of(message)
            about |= names.used(self.usage)
        if names.RESPONSE_MODEL in about:
            self.by = str(about[names.RESPONSE_MODEL])
        self._span.set_attributes(dict(about))

    def event(self, raw: bytes) -> None:
        """Look at one event of a stream: at its first, at its figures, and at an error."""
        if raw.startswith(_START):
            took = time.perf_counter() - self._began
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", took)
            self._opening = _part(raw, "message")
            self.message(self._opening)
        elif raw.startswith(_DELTA):
            delta, usage = _part(raw, "delta"), _part(raw, "usage")
            grown = {**_dict(self._opening.get("usage")), **usage}
            self.message({**self._opening, **delta, "usage": grown})
        elif raw.startswith(_ERROR):
            self.error = names.word(_part(raw, "error").get("type"))
            self._span.set_attribute(ERROR, self.error)
            self._span.set_status(StatusCode.ERROR)


def _placed(call: Call, span: Span) -> Call:
    """Return the call with the trace context for Claude; unchanged if there is no trace."""
    at = trace_of(span)
    if at is None:
        return call
    return replace(call, headers={**call.headers, "traceparent": at.header})


def _mark(span: Span, error: BaseException) -> str:
    """Say how a call failed; who was stopped has not failed."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        kind = "cancelled"
    else:
        kind = names.failed(error)
        span.set_status(StatusCode.ERROR)
    if isinstance(error, UpstreamError):
        span.set_attribute("http.response.status_code", error.status)
    span.set_attribute(ERROR, kind)
    return kind


def _task() -> str | None:
    """Return the work a call is made for, by its task's name: `fill`, `learning`, `trials:gold`."""
    task = asyncio.current_task()
    title = "" if task is None else task.get_name()
    if not title or title.startswith("Task-"):
        return None
    first, _, rest = title.partition(":")
    # What follows these names one request.
    return first if first in ("fill", "batch", "webhook") else f"{first}:{rest}".rstrip(":")


def _part(raw: bytes, name: str) -> dict[str, Any]:
    event = sse.decode(raw)
    return {} if event is None else _dict(event.get(name))


def _object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; empty for anything else."""
    try:
        return _dict(orjson.loads(body))
    except ValueError:
        return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
