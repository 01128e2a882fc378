"""The instruments: the conventions' own, and what the ledger's rows add up to."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.metrics import Meter

from cacheserver.core.ledger_row import Row
from cacheserver.core.request_context import RequestContext
from cacheserver.core.types import Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.observability.otel import names
from cacheserver.observability.otel.names import (
    ERROR,
    OPERATION,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    Names,
    Value,
)

_MAX_REASONS = 200  # as in `metrics`: words of ours, but for a mistake


class Sums:
    """Records. Cheap: hits pay for it."""

    def __init__(self, meter: Meter) -> None:
        self._models = Names()
        self._reasons: set[str] = set()
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKENS,
        )
        self._took = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=names.SECONDS,
        )
        self._http = meter.create_histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=names.HTTP_SECONDS,
        )
        self._requests = meter.create_counter(
            "cacheserver.requests", unit="{request}", description="Requests by outcome and reason."
        )
        self._cost = meter.create_counter(
            "cacheserver.cost", unit="{nanodollar}", description="Paid to Claude for answers."
        )
        self._spent = meter.create_counter(
            "cacheserver.spent",
            unit="{nanodollar}",
            description="Paid to Claude for something beside an answer, by kind.",
        )
        self._saved = meter.create_up_down_counter(
            "cacheserver.saved",
            unit="{nanodollar}",
            description="Saved by cause; below zero it cost more than it saved.",
        )

    def called(
        self,
        model: str,
        seconds: float,
        *,
        server: Mapping[str, Value],
        by: str | None,
        usage: Usage | None,
        error: str | None,
    ) -> None:
        """Record a call to Claude at `server`. `by` is the model that answered."""
        if by is not None and error is None:
            self._models.learn(model, by)
        attributes: dict[str, Value] = {
            OPERATION: "chat",
            PROVIDER: "anthropic",
            REQUEST_MODEL: self._models.label(model),
            **server,
        }
        if by is not None:
            attributes[RESPONSE_MODEL] = self._models.label(by)
        if usage is not None:
            self._tokens.record(prompt_tokens(usage), {**attributes, names.TOKEN_TYPE: "input"})
            self._tokens.record(usage.output_tokens, {**attributes, names.TOKEN_TYPE: "output"})
        self._took.record(seconds, attributes if error is None else {**attributes, ERROR: error})

    def record_request(self, context: RequestContext) -> None:
        attributes: dict[str, Value] = {
            "http.request.method": context.method,
            "http.response.status_code": context.shown_status,
        }
        if context.route is not None:
            attributes["http.route"] = context.route
        self._http.record(context.seconds, attributes)

    def booked(self, row: Row) -> None:
        """Add a row of the ledger up. A listener of `ledger.fan_out.LedgerFanOut`."""
        if row.outcome != "background":
            reason = row.reason
            if reason not in self._reasons:
                if len(self._reasons) < _MAX_REASONS:
                    self._reasons.add(reason)
                else:
                    reason = "other"
            self._requests.add(1, {"outcome": row.outcome, "reason": reason})
        if row.cost:
            self._cost.add(row.cost)
        for cause, amount in row.saved.items():
            if amount:
                self._saved.add(amount, {"cause": cause})
        for kind, amount in row.spent.items():
            if amount:
                self._spent.add(amount, {"kind": kind})
