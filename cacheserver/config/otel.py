"""The switch for OpenTelemetry, by its own standard variables; the SDK reads the rest of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cacheserver.core.errors import SettingsError

Exporter: TypeAlias = Literal["otlp", "console"]

_PROTOCOL = "http/protobuf"
_MAX_QUEUE = 2_048  # the specification's


@dataclass(frozen=True, slots=True)
class OtelChoice:
    """The destination of each signal; None: none. `max_queue` bounds the spans that wait."""

    traces: Exporter | None
    metrics: Exporter | None
    source: str  # the variable that asks for it
    max_queue: int = _MAX_QUEUE


def otel(environ: Mapping[str, str] | None = None) -> OtelChoice | None:
    """Return the choice in the environment; None: off. Raises `SettingsError` if unsupported."""
    environ = os.environ if environ is None else environ
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    traces, traces_by = _signal("TRACES", environ)
    metrics, metrics_by = _signal("METRICS", environ)
    if traces is None and metrics is None:
        return None
    return OtelChoice(traces, metrics, traces_by or metrics_by, _queue(environ))


def _signal(name: str, environ: Mapping[str, str]) -> tuple[Exporter | None, str]:
    """The exporter of a signal, and the variable that asks for it."""
    variable = f"OTEL_{name}_EXPORTER"
    match environ.get(variable, "").strip().lower():
        case "none":
            return None, ""
        case "console":
            return "console", variable
        case "otlp":
            source = variable
        case "":
            endpoints = f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
            source = next((one for one in endpoints if environ.get(one, "").strip()), "")
            if not source:
                return None, ""
        case _:
            hint = "; Prometheus finds its own at `/metrics`" if name == "METRICS" else ""
            raise SettingsError(f"`{variable}`: must be `otlp`, `console` or `none`{hint}")
    for variable in (f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := environ.get(variable, "").strip().lower():
            if protocol != _PROTOCOL:
                raise SettingsError(f"`{variable}`: must be `{_PROTOCOL}`, the one we speak")
            break
    return "otlp", source


def _queue(environ: Mapping[str, str]) -> int:
    given = environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "").strip()
    if not given:
        return _MAX_QUEUE
    if not given.isascii() or not given.isdecimal() or int(given) == 0:
        raise SettingsError("`OTEL_BSP_MAX_QUEUE_SIZE`: must be a whole number above 0")
    return int(given)
