"""OpenTelemetry as its variables ask for it, in providers of our own.

The SDK reads endpoint, headers, timeouts, samplers, resource and intervals itself. Nothing global
is set: a process that has the cache inside keeps its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.trace import NoOpTracerProvider, Tracer

from cacheserver.claude.upstream import Upstream
from cacheserver.config.otel import OtelChoice
from cacheserver.core.errors import SettingsError
from cacheserver.core.ledger_row import Row
from cacheserver.core.request_context import ItemEnd, Observer
from cacheserver.observability.otel.calls import TracedUpstream
from cacheserver.observability.otel.export import CountedMetrics, CountedSpans, Dropped
from cacheserver.observability.otel.instruments import Sums
from cacheserver.observability.otel.requests import Items, Requests

logger = logging.getLogger(__name__)

_SCOPE = "cacheserver"
_END_S = 5.0  # for what waits to leave; an exporter that is down must not hold a stop up


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Telemetry parts for `bootstrap`. `close` sends queued data for a few seconds at most."""

    observers: Sequence[Observer]
    listeners: Sequence[Callable[[Row], None]]
    items: Callable[[ItemEnd], None]
    upstream: Callable[..., Upstream]  # takes the arguments of `Upstream`
    close: Callable[[], Any]


def start(choice: OtelChoice, dropped: Dropped) -> Telemetry:
    """Start exporting. Raises `SettingsError` for what the SDK refuses."""
    try:
        tracing, metering = _providers(choice, dropped)
    except ValueError as error:
        raise SettingsError(f"OpenTelemetry (`OTEL_*`): {error}") from error
    tracer: Tracer = (tracing or NoOpTracerProvider()).get_tracer(_SCOPE)
    meter: Meter = (metering or NoOpMeterProvider()).get_meter(_SCOPE)
    sums = Sums(meter)
    ends = [one.shutdown for one in (tracing, metering) if one is not None]
    return Telemetry(
        observers=[Requests(tracer, sums.record_request)],
        listeners=[sums.booked],
        items=Items(tracer).ended,
        upstream=partial(TracedUpstream, tracer=tracer, sums=sums),
        close=lambda: _end(ends),
    )


def _providers(
    choice: OtelChoice, dropped: Dropped
) -> tuple[TracerProvider | None, MeterProvider | None]:
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _SCOPE}))
    tracing, metering = None, None
    if choice.traces is not None:
        spans = OTLPSpanExporter() if choice.traces == "otlp" else ConsoleSpanExporter()
        tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracing.add_span_processor(CountedSpans(spans, dropped, most=choice.max_queue))
    if choice.metrics is not None:
        sums = OTLPMetricExporter() if choice.metrics == "otlp" else ConsoleMetricExporter()
        reader = PeriodicExportingMetricReader(CountedMetrics(sums, dropped))
        metering = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    return tracing, metering


async def _end(ends: Sequence[Callable[[], None]]) -> None:
    """Send what waits. In a thread of its own: the SDK waits where it stands."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        for end in ends:
            try:
                end()
            except Exception as error:  # the task boundary: a stop goes on
                logger.warning("OpenTelemetry did not end well: %s", type(error).__name__)
        with contextlib.suppress(RuntimeError):  # the loop has not waited for us
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="otel:end", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await done.wait()
