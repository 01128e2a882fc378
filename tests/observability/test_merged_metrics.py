"""Metrics of several processes as those of one."""

from __future__ import annotations

import json
import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cacheserver.observability.merged_metrics import Families, counted, exported, merged


def process(count: int, waiting: float, budgets: float) -> Families:
    registry = CollectorRegistry()
    counter = Counter("cacheserver_requests", "h", ["outcome"], registry=registry)
    counter.labels("exact").inc(count)
    if count > 1:
        counter.labels("miss").inc()
    seconds = Histogram("cacheserver_request_seconds", "h", buckets=(1, 2), registry=registry)
    for _ in range(count):
        seconds.observe(1.5)
    Gauge("cacheserver_connections", "h", registry=registry).set(waiting)
    Gauge("cacheserver_lease_held", "h", registry=registry).set(waiting % 2)
    Gauge("cacheserver_stored_bytes", "h", registry=registry).set(budgets)
    found: Families = json.loads(json.dumps(exported(registry.collect())))
    return found


def values(*processes: Families) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in merged(processes)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_each_kind_is_merged_by_what_it_counts() -> None:
    found = values(process(1, 3, math.nan), process(2, 4, 7))
    assert found["cacheserver_requests_total", "exact"] == 3
    assert found["cacheserver_requests_total", "miss"] == 1
    assert found["cacheserver_request_seconds_bucket", "1.0"] == 0
    assert found["cacheserver_request_seconds_bucket", "2.0"] == 3
    assert found["cacheserver_request_seconds_count",] == 3
    assert found["cacheserver_request_seconds_sum",] == 4.5
    assert found["cacheserver_connections",] == 7
    assert found["cacheserver_lease_held",] == 0
    assert found["cacheserver_stored_bytes",] == 7  # where it is known


def test_what_has_ended_leaves_its_counts_and_no_gauge() -> None:
    ended = counted(process(5, 100, 100))
    found = values(process(1, 3, 2), ended)
    assert found["cacheserver_requests_total", "exact"] == 6
    assert found["cacheserver_connections",] == 3
    assert found["cacheserver_stored_bytes",] == 2
