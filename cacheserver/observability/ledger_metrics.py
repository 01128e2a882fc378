"""Counters of ledger rows since the start, for Prometheus.

    sum by cause (saved - lost)   = what `/v1/usage` calls saved
    sum by kind (spent)           = what it calls spent
    sum by model (cost)           = what it calls cost

Rule: labels are words of ours, and the names of models that Claude answered with, so many at most.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from cacheserver.core.ledger_row import CAUSES, SPENDS, Row

_MAX_MODELS = 50  # Claude has a dozen; a gateway in its place may have any number
OTHER = "other"


class LedgerMetrics:
    """Counters of rows. A listener of `ledger.fan_out.LedgerFanOut`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help: str, label: str) -> Counter:
            return Counter(f"cacheserver_{name}_total", help, [label], registry=registry)

        saved = counter(
            "saved_by_cause_nanodollars", "What each cause saved, in 1e-9 US dollars", "cause"
        )
        lost = counter(
            "lost_by_cause_nanodollars", "What it cost instead, where it saved less than 0", "cause"
        )
        spent = counter(
            "spent_nanodollars", "Paid to Claude for something beside an answer", "kind"
        )
        # Bound once, and shown as 0 until then: a rate needs a beginning.
        self._saved = {cause: saved.labels(cause) for cause in CAUSES}
        self._lost = {cause: lost.labels(cause) for cause in CAUSES}
        self._spent = {kind: spent.labels(kind) for kind in SPENDS}
        self._cost = counter(
            "model_cost_nanodollars", "Paid to Claude for answers, by who answered", "model"
        )
        self._calls = counter("model_calls", "Calls that Claude answered, by who did", "model")
        self._unknown = Counter(
            "cacheserver_usage_unknown_total",
            "Requests of which something may be billed that nobody told us of",
            registry=registry,
        )
        self._models: set[str] = set()

    def booked(self, row: Row) -> None:
        """Count one row."""
        for cause, amount in row.saved.items():
            if amount > 0:
                self._saved[cause].inc(amount)
            elif amount:
                self._lost[cause].inc(-amount)
        for kind, amount in row.spent.items():
            if amount:
                self._spent[kind].inc(amount)
        if row.unknown is not None:
            self._unknown.inc()
        if row.call is not None:
            model = self._model_label(row.model or row.asked)
            self._calls.labels(model).inc()
            if row.cost:
                self._cost.labels(model).inc(row.cost)

    def _model_label(self, model: str) -> str:
        if model not in self._models:
            if len(self._models) >= _MAX_MODELS:
                return OTHER
            self._models.add(model)
        return model
