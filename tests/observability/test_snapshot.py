"""Counts of a server at a moment, and quantiles of what was counted in buckets."""

from __future__ import annotations

import pytest

from cacheserver.observability.metrics import Metrics
from cacheserver.observability.snapshot import quantile

BOUNDS = (1.0, 2.0, 4.0, float("inf"))


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((10, 10, 10, 10), 0.5, 0.5),  # half-way in the first bucket
        ((0, 10, 10, 10), 0.5, 1.5),
        ((0, 0, 20, 20), 0.95, 3.9),
        ((5, 10, 10, 10), 0.5, 1.0),  # at a bound
        ((0, 0, 0, 7), 0.5, 4.0),  # longer than the last bound: at least that
        ((0, 0, 1, 2), 0.95, 4.0),
    ],
)
def test_a_quantile_lies_between_the_bounds_of_its_bucket(
    counts: tuple[int, ...], share: float, expected: float
) -> None:
    assert quantile(BOUNDS, counts, share) == pytest.approx(expected)


def test_latency_is_that_of_the_requests_between_two_moments() -> None:
    metrics = Metrics()
    metrics.settled("exact", "identical", 0.0004)
    before = metrics.snapshot()
    assert before.latency("miss") is None
    for _ in range(3):
        metrics.settled("exact", "identical", 0.004)
    metrics.settled("miss", "empty", 2.0)
    metrics.money(7, 11)
    metrics.money(0, -4)
    after = metrics.snapshot()
    found = after.latency("exact", before)
    assert found is not None
    assert found.requests == 3
    assert 0.0025 < found.p50_s < found.p95_s <= 0.005
    whole = after.latency("exact")
    assert whole is not None
    assert whole.requests == 4
    assert (after.requests["exact"], after.requests["miss"]) == (4, 1)
    assert (after.cost, after.saved) == (7, 7)
    assert after.latency("semantic", before) is None
