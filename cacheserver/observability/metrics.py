"""Counters and histograms for Prometheus.

    requests = exact + semantic + coalesced + stale + miss + bypass + failed

`cacheserver_requests_total{outcome}` has each request that got as far as the cache under exactly
one outcome, so its sum is the number of requests. What was refused before (400, 401, 413 ...) is
`cacheserver_refused_total{status}`. Tenants, tags and models asked for are no labels: a caller
could make up as many as they like.

    saved - lost = sum over requests of what each saved on balance

Counters of ledger rows are in `observability.ledger_metrics`, gauges in `observability.gauges`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest

from cacheserver.core.types import Nanodollars, Usage
from cacheserver.observability.gauges import Gauges
from cacheserver.observability.ledger_metrics import LedgerMetrics
from cacheserver.observability.snapshot import Snapshot

OUTCOMES = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed")

UPSTREAM_EVENTS = (
    *("retry", "abandoned", "queue-full", "queue-wait", "circuit-open"),
    *("opened", "closed"),  # the circuit breaker
    # Calls that a cloud's client could not send (`claude.platforms.failures`).
    *("credentials-missing", "credentials-expired", "credentials-unreachable"),
    *("region-wrong", "client-failed"),
)

# From an exact hit (under 1 ms) to the longest stream Claude is given time for (600 s).
_SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)

_MONEY = {f"cacheserver_{kind}_nanodollars_total": kind for kind in ("cost", "saved", "lost")}

# Reasons are constants of our code; this bounds them if one were ever made from a request.
_MAX_REASONS = 200


class Metrics:
    """Metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._family = requests = Counter(
            "cacheserver_requests_total",
            "Requests, each under the one outcome it had",
            ["outcome"],
            registry=self._registry,
        )
        self._duration = seconds = Histogram(
            "cacheserver_request_seconds",
            "From the request read to its end; of a stream, to its last event",
            ["outcome"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Bound once: looking a label up costs as much as counting.
        self._requests = {outcome: requests.labels(outcome) for outcome in OUTCOMES}
        self._seconds = {outcome: seconds.labels(outcome) for outcome in OUTCOMES}
        self._by_reason = Counter(
            "cacheserver_decisions_total",
            "The same requests, also by why",
            ["outcome", "reason"],
            registry=self._registry,
        )
        self._reasons: dict[tuple[str, str], Counter] = {}
        self._cost = Counter(
            "cacheserver_cost_nanodollars_total",
            "Paid to Claude, in 1e-9 US dollars",
            registry=self._registry,
        )
        self._saved = Counter(
            "cacheserver_saved_nanodollars_total",
            "Not paid to Claude, in 1e-9 US dollars",
            registry=self._registry,
        )
        self._unpriced = Counter(
            "cacheserver_unpriced_total",
            "Calls to a model that has no price: their cost is in no sum",
            registry=self._registry,
        )
        self._lost = Counter(
            "cacheserver_lost_nanodollars_total",
            "Savings below zero, in 1e-9 US dollars: what was saved on balance is saved - lost",
            registry=self._registry,
        )
        self._tokens = Counter(
            "cacheserver_tokens_total",
            "Tokens Claude reported for calls that were made, by kind",
            ["kind"],
            registry=self._registry,
        )
        self._upstream = Counter(
            "cacheserver_upstream_calls_total",
            "Calls to Claude by the status they ended with",
            ["status"],
            registry=self._registry,
        )
        self._upstream_seconds = Histogram(
            "cacheserver_upstream_seconds",
            "How long calls to Claude took",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._upstream_events = Counter(
            "cacheserver_upstream_events_total",
            "Tries made again, calls refused or abandoned, the circuit breaker opened or closed",
            ["event"],
            registry=self._registry,
        )
        self._refused = Counter(
            "cacheserver_refused_total",
            "Requests refused before they got to the cache",
            ["status"],
            registry=self._registry,
        )
        self._swallowed = Counter(
            "cacheserver_swallowed_total",
            "Failures that cost nobody an answer, by where",
            ["site"],
            registry=self._registry,
        )
        self._verifications = Counter(
            "cacheserver_verifications_total",
            "Misses that a model was asked about before they were filled, by verdict and mode",
            ["verdict", "mode"],
            registry=self._registry,
        )
        self._verify_seconds = Histogram(
            "cacheserver_verification_seconds",
            "Seconds that a request waited for a verification, by verdict",
            ["verdict"],
            registry=self._registry,
            buckets=(0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5),
        )
        self._unreadable = Counter(
            "cacheserver_unreadable_total",
            "Encrypted values that did not open, each a miss or absent, by why",
            ["reason"],
            registry=self._registry,
        )
        self._vetoed = Counter(
            "cacheserver_vetoed_total",
            "Candidates that were passed over, by the veto that caught them",
            ["veto"],
            registry=self._registry,
        )
        self._dropped = Counter(
            "cacheserver_dropped_total",
            "Records given up because their buffer was full",
            ["buffer"],
            registry=self._registry,
        )
        self._batched = Counter(
            "cacheserver_batch_total",
            "What became of queued work, item by item, and of the webhooks that tell of it",
            ["event"],
            registry=self._registry,
        )
        self._alerts = Counter(
            "cacheserver_alerts_total",
            "Alerts that were raised, each once in its period, by this server",
            ["kind"],
            registry=self._registry,
        )
        self._closed = Counter(
            "cacheserver_connections_closed_total",
            "Connections that were refused or ended by a bound, by which",
            ["reason"],
            registry=self._registry,
        )
        self._scope_seconds = Histogram(
            "cacheserver_index_load_seconds",
            "How long it took to load a scope of the index into memory",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self._registry,
        )
        self._scopes_evicted = Counter(
            "cacheserver_index_evictions_total",
            "Scopes of the index that were dropped from memory under its limit",
            registry=self._registry,
        )
        self.rows = LedgerMetrics(self._registry)
        self.gauges = Gauges(self._registry)
        # Shown as 0 until they happen: a rate needs a beginning, and alerts ask for these.
        for site in (
            "embed",
            "embedder-changed",
            "get",
            "near",
            "put",
            "ledger",
            "store-sync",
            "store-lost",
        ):
            self._swallowed.labels(site)
        for reason in ("off", "key", "changed", "torn"):
            self._unreadable.labels(reason)
        for event in UPSTREAM_EVENTS:
            self._upstream_events.labels(event)
        for buffer in ("journal", "ledger", "budget", "alert", "decisions", "jobs"):
            self._dropped.labels(buffer)

    def settled(self, outcome: str, reason: str, seconds: float) -> None:
        """Count one request, at its end. `outcome` is one of `OUTCOMES`, else a `KeyError`."""
        self._requests[outcome].inc()
        self._seconds[outcome].observe(seconds)
        counter = self._reasons.get((outcome, reason))
        if counter is None:
            counter = self._reason(outcome, reason)
        counter.inc()

    def money(self, cost: Nanodollars, saved: Nanodollars) -> None:
        """Add what a request cost and saved. A counter is exact up to 9 million dollars."""
        if cost:
            self._cost.inc(cost)
        if saved > 0:
            self._saved.inc(saved)
        elif saved:
            self._lost.inc(-saved)

    def tokens(self, usage: Usage) -> None:
        """Add what one call to Claude used."""
        usage = usage.billed
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_write_5m", usage.cache_write_5m_tokens),
            ("cache_write_1h", usage.cache_write_1h_tokens),
            ("cache_read", usage.cache_read_tokens),
        ):
            if count:
                self._tokens.labels(kind).inc(count)

    def upstream(self, status: int, seconds: float) -> None:
        """Count one call to Claude, retries included; a lost connection has the status we gave."""
        self._upstream.labels(str(status)).inc()
        self._upstream_seconds.observe(seconds)

    def upstream_event(self, event: str) -> None:
        """Count an event of the upstream client. `event` is one of `UPSTREAM_EVENTS`."""
        self._upstream_events.labels(event).inc()

    def abandoned(self) -> None:
        """Count a call to Claude that was stopped because nobody waited for it any more."""
        self.upstream_event("abandoned")

    def refused(self, status: int) -> None:
        self._refused.labels(str(status)).inc()

    def connection_closed(self, reason: str) -> None:
        """Count a connection that passed a bound. `reason` is one of a fixed list of names."""
        self._closed.labels(reason).inc()

    def unpriced(self) -> None:
        self._unpriced.inc()

    def swallowed(self, site: str) -> None:
        self._swallowed.labels(site).inc()

    def unreadable(self, reason: str) -> None:
        """Count an encrypted value that did not open. `reason` is one of a fixed list of names."""
        self._unreadable.labels(reason).inc()

    def vetoed(self, veto: str) -> None:
        """Count a vetoed candidate. `veto` is one of a fixed list of names."""
        self._vetoed.labels(veto).inc()

    def verified(self, verdict: str, mode: str, seconds: float | None) -> None:
        """Count a verification and the time that its request waited for a call."""
        self._verifications.labels(verdict, mode).inc()
        if seconds is not None:
            self._verify_seconds.labels(verdict).observe(seconds)

    def dropped(self, buffer: str, count: int = 1) -> None:
        self._dropped.labels(buffer).inc(count)

    def batched(self, event: str, count: int = 1) -> None:
        """Count queued work. `event` is one of a fixed list of names."""
        self._batched.labels(event).inc(count)

    def alerted(self, kind: str) -> None:
        """Count an alert. `kind` is one of a fixed list of names."""
        self._alerts.labels(kind).inc()

    def index_size(self, vectors: int, scopes: Mapping[str, int], size: int) -> None:
        """Set the size of the index: questions, scopes by state, and bytes in memory."""
        self.gauges.index(vectors, scopes, size)

    def scope_loaded(self, seconds: float) -> None:
        """Count a scope of the index that was loaded into memory."""
        self._scope_seconds.observe(seconds)

    def scope_evicted(self) -> None:
        self._scopes_evicted.inc()

    def embedder_left(self, questions: int) -> None:
        self.gauges.embedder_left(questions)

    def counts(self) -> dict[str, int]:
        """Return requests by outcome, and their sum as `requests`."""
        found = {
            sample.labels["outcome"]: int(sample.value)
            for family in self._family.collect()
            for sample in family.samples
            if sample.name == "cacheserver_requests_total"
        }
        return {"requests": sum(found.values()), **found}

    def snapshot(self) -> Snapshot:
        """Return the counts of requests, money and latency at this moment."""
        kept = (self._family, self._duration, self._cost, self._saved, self._lost)
        return snapshot_of(family for one in kept for family in one.collect())

    def families(self) -> list[Metric]:
        """Return all metrics as they are now."""
        return list(self._registry.collect())

    def render(self) -> bytes:
        """Render all metrics in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def _reason(self, outcome: str, reason: str) -> Counter:
        if len(self._reasons) >= _MAX_REASONS:
            reason = "other"
        counter = self._reasons[outcome, reason] = self._by_reason.labels(outcome, reason)
        return counter


def snapshot_of(families: Iterable[Metric]) -> Snapshot:
    """Return the counts of requests, money and latency among families."""
    requests: dict[str, int] = {}
    seconds: dict[str, list[int]] = {outcome: [] for outcome in OUTCOMES}
    totals = dict.fromkeys(("cost", "saved", "lost"), 0)
    for family in families:
        for sample in family.samples:
            match sample.name:
                case "cacheserver_requests_total":
                    requests[sample.labels["outcome"]] = int(sample.value)
                case "cacheserver_request_seconds_bucket":
                    seconds[sample.labels["outcome"]].append(int(sample.value))
                case name if (kind := _MONEY.get(name)) is not None:
                    totals[kind] = int(sample.value)
    return Snapshot(
        requests,
        cost=totals["cost"],
        saved=totals["saved"] - totals["lost"],
        seconds=seconds,
        bounds=(*_SECONDS, float("inf")),
    )
