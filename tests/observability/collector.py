"""What takes traces and metrics in: OTLP over HTTP, decoded with OpenTelemetry's own messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.house import serving


@dataclass(frozen=True)
class Seen:
    """A span as it came in. Ids are hexadecimal; no parent is ""."""

    name: str
    kind: int  # 2: server, 3: client
    trace_id: str
    span_id: str
    parent: str
    failed: bool
    seconds: float
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Point:
    attributes: dict[str, Any]
    value: float  # of a histogram, its sum
    count: int = 0
    bounds: tuple[float, ...] = ()


@dataclass
class Collector:
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    spans: list[Seen] = field(default_factory=list)
    metrics: dict[str, list[Point]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Collector]:
        self = cls()
        routes = [
            Route("/v1/traces", self.take_traces, methods=["POST"]),
            Route("/v1/metrics", self.take_metrics, methods=["POST"]),
        ]
        async with serving(Starlette(routes=routes)) as self.url:
            yield self

    def of(self, kind: int) -> list[Seen]:
        return [span for span in self.spans if span.kind == kind]

    @property
    def requests(self) -> list[Seen]:
        return self.of(2)

    @property
    def calls(self) -> list[Seen]:
        return self.of(3)

    async def take_traces(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = _attributes_of(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += (
                    Seen(
                        span.name,
                        span.kind,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.status.code == 2,
                        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                        _attributes_of(span.attributes),
                    )
                    for span in scope.spans
                )
        return Response()

    async def take_metrics(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    self.metrics[metric.name] = [
                        Point(
                            _attributes_of(one.attributes),
                            one.sum,
                            one.count,
                            tuple(one.explicit_bounds),
                        )
                        for one in metric.histogram.data_points
                    ] + [
                        Point(_attributes_of(one.attributes), one.as_int or one.as_double)
                        for one in metric.sum.data_points
                    ]
        return Response()


def _attributes_of(attributes: Iterable[Any]) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
