"""Counts of a server at one moment, and the latency of the requests between two moments. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cacheserver.core.types import Nanodollars


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counts of a server since its start."""

    requests: Mapping[str, int]  # by outcome
    cost: Nanodollars
    saved: Nanodollars  # on balance
    seconds: Mapping[str, Sequence[int]]  # by outcome: requests that took at most each bound
    bounds: Sequence[float]  # seconds, rising; the last is infinite

    def latency(self, outcome: str, since: Snapshot | None = None) -> Latency | None:
        """Return the latency of an outcome's requests since then; None if there were none."""
        counts = self.seconds[outcome]
        if since is not None:
            before = since.seconds[outcome]
            counts = [now - then for now, then in zip(counts, before, strict=True)]
        if not counts[-1]:
            return None
        return Latency(
            counts[-1], quantile(self.bounds, counts, 0.5), quantile(self.bounds, counts, 0.95)
        )

    def latencies(self, since: Snapshot | None = None) -> dict[str, Any]:
        """Return the latency by outcome, for JSON; null for one without requests."""
        found = {outcome: self.latency(outcome, since) for outcome in self.seconds}
        return {name: None if one is None else one.as_json() for name, one in found.items()}


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of some requests, in seconds."""

    requests: int
    p50_s: float
    p95_s: float

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "p50_ms": round(self.p50_s * 1_000, 3),
            "p95_ms": round(self.p95_s * 1_000, 3),
        }


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """Return the seconds within which `share` of the requests ended, interpolated in a bucket.

    `counts` are cumulative, as Prometheus has them, and not all zero. Above the last finite bound
    it is that bound.
    """
    rank = share * counts[-1]
    low, below = 0.0, 0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= rank and count > below:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
