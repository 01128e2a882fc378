"""Export of spans and metrics: bounded, in the background, with every loss counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

Dropped = Callable[[str, int], None]  # a buffer's name and how many

_BATCH = 512  # the specification's


class Outage:
    """Says once that an exporter fails, and once that it works again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failing = False

    def note(self, *, failed: bool) -> None:
        if failed and not self._failing:
            logger.warning("%s cannot be exported; until they can, they are dropped", self._what)
        elif self._failing and not failed:
            logger.warning("%s are exported again", self._what)
        self._failing = failed


class CountedSpans(SpanProcessor):
    """Hands spans to a batch processor, as many as there is room for, and counts the others."""

    def __init__(self, exporter: SpanExporter, dropped: Dropped, *, most: int) -> None:
        self._dropped = dropped
        self._most = most
        self._waiting = 0
        self._lock = threading.Lock()
        self._inner = BatchSpanProcessor(
            _Exporter(exporter, self._left),
            max_queue_size=most,
            max_export_batch_size=min(most, _BATCH),
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: a span is exported when it ends."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            room = self._waiting < self._most
            self._waiting += room
        if room:
            self._inner.on_end(span)
        else:
            self._dropped("otel-spans", 1)

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def _left(self, count: int, *, failed: bool) -> None:
        with self._lock:
            self._waiting -= count
        if failed:
            self._dropped("otel-spans", count)


class _Exporter(SpanExporter):
    def __init__(self, inner: SpanExporter, left: Callable[..., None]) -> None:
        self._inner = inner
        self._left = left
        self._outage = Outage("spans")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            failed = result is not SpanExportResult.SUCCESS
            self._left(len(spans), failed=failed)
            self._outage.note(failed=failed)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class CountedMetrics(MetricExporter):
    """An exporter of metrics; a round that fails is counted. Sums go on: the next has them."""

    def __init__(self, inner: MetricExporter, dropped: Dropped) -> None:
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)
        self._inner = inner
        self._dropped = dropped
        self._outage = Outage("metrics")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        result = MetricExportResult.FAILURE
        try:
            result = self._inner.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
        finally:
            failed = result is not MetricExportResult.SUCCESS
            if failed:
                self._dropped("otel-metrics", 1)
            self._outage.note(failed=failed)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._inner.shutdown(timeout_millis, **kwargs)
