"""Access log: one line for each finished request, with tenant, route, outcome and cost.

Rule: no path, query, header or body: what is not a word of ours is a tenant's or a model's name.
"""

from __future__ import annotations

import logging
from typing import Any

from cacheserver.alerts.rules import clean
from cacheserver.core.ledger_row import Row
from cacheserver.core.money import usd
from cacheserver.core.request_context import RequestContext
from cacheserver.core.usage import prompt_tokens

logger = logging.getLogger("cacheserver.access")

# Asked every few seconds by machines; nobody reads that they were.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class AccessLog:
    """Writer of the access log. Health probes are logged at `debug`."""

    def began(self, context: RequestContext) -> None:
        """Do nothing: a request is logged when it ends."""

    def ended(self, context: RequestContext) -> None:
        level = logging.DEBUG if context.route in _PROBES else logging.INFO
        if not logger.isEnabledFor(level):
            return
        logged = fields(context)
        words = [
            str(logged[name]) for name in ("method", "route", "status") if logged[name] is not None
        ]
        shown = [f"{name}={value}" for name, value in logged.items() if name in _SHOWN and value]
        logger.log(level, " ".join(words + shown), extra={"fields": logged})


_SHOWN = (
    "outcome",
    "reason",
    "tenant",
    "model",
    "duration_ms",
    "cost_usd",
    "saved_usd",
    "request_id",
)


def fields(context: RequestContext) -> dict[str, Any]:
    """Fields of a line; None if unknown or absent."""
    return {
        "method": context.method,
        "route": context.route,
        "status": context.shown_status,
        "abandoned": context.status is not None and not context.whole,
        "duration_ms": round(context.seconds * 1_000, 3),
        "request_id": context.id,
        **_settled(context),
    }


def _settled(context: RequestContext) -> dict[str, Any]:
    row = context.row
    return {
        "decision_id": context.decision_id,
        "tenant": context.tenant,
        "outcome": context.cache if row is None else row.outcome,
        "reason": context.reason if row is None else row.reason,
        "similarity": context.similarity,
        "model": None if row is None else clean(row.model or row.asked),
        "cost_usd": None if row is None or row.cost is None else usd(row.cost),
        "saved_usd": None if row is None else usd(row.net),
        **_tokens(row),
    }


def _tokens(row: Row | None) -> dict[str, int | None]:
    usage = None if row is None else row.usage
    return {
        "input_tokens": None if usage is None else prompt_tokens(usage),
        "output_tokens": None if usage is None else usage.output_tokens,
    }
