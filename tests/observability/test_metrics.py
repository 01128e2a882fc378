"""What is counted, and the arithmetic that holds between the counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from cacheserver.core.types import Usage
from cacheserver.observability.metrics import OUTCOMES, Metrics


def scraped(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """What Prometheus reads: sample name -> label values -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def above_zero(samples: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    return {labels: value for labels, value in samples.items() if value}


settlements = st.tuples(
    st.sampled_from(OUTCOMES),
    st.sampled_from(["identical", "similar", "empty", "no-store"]) | st.text(max_size=5),
    st.floats(0, 1000),
)


@given(st.lists(settlements, max_size=30))
def test_requests_are_the_sum_of_their_outcomes(all_settled: list[tuple[str, str, float]]) -> None:
    metrics = Metrics()
    for settled in all_settled:
        metrics.settled(*settled)
    counts = metrics.counts()
    parts = [counts[o] for o in ("exact", "semantic", "coalesced", "stale")]
    assert counts["requests"] == len(all_settled)
    assert counts["requests"] == sum(parts) + sum(counts[o] for o in ("miss", "bypass", "failed"))
    seen = scraped(metrics)
    for outcome in OUTCOMES:
        number = sum(settled[0] == outcome for settled in all_settled)
        by_reason = seen.get("cacheserver_decisions_total", {}).items()
        assert counts[outcome] == number
        assert seen["cacheserver_requests_total"][outcome,] == number
        assert seen["cacheserver_request_seconds_count"][outcome,] == number
        assert sum(value for labels, value in by_reason if labels[0] == outcome) == number


def test_an_outcome_that_is_none_is_not_counted() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        metrics.settled("hit", "identical", 0.1)
    assert metrics.counts()["requests"] == 0


def test_reasons_are_bounded_and_none_is_lost() -> None:
    metrics = Metrics()
    for number in range(1_000):
        metrics.settled("miss", f"made-up-{number}", 0.1)
    reasons = scraped(metrics)["cacheserver_decisions_total"]
    assert len(reasons) <= 201
    assert sum(reasons.values()) == 1_000
    assert reasons["miss", "other"] == 800


money = st.tuples(st.integers(0, 10**12), st.integers(-(10**9), 10**12))


@given(st.lists(money, max_size=20))
def test_money_is_counted_to_the_nanodollar(amounts: list[tuple[int, int]]) -> None:
    metrics = Metrics()
    for cost, saved in amounts:
        metrics.money(cost, saved)
    seen = scraped(metrics)
    balance = (
        seen["cacheserver_saved_nanodollars_total"][()]
        - seen["cacheserver_lost_nanodollars_total"][()]
    )
    assert seen["cacheserver_cost_nanodollars_total"][()] == sum(cost for cost, _ in amounts)
    assert balance == sum(saved for _, saved in amounts)


def test_everything_else_is_counted_where_it_belongs() -> None:
    metrics = Metrics()
    metrics.tokens(Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3))
    metrics.tokens(Usage(cache_write_5m_tokens=4, cache_write_1h_tokens=5, output_tokens=6))
    metrics.upstream(200, 1.5)
    metrics.upstream(529, 0.1)
    metrics.refused(401)
    metrics.swallowed("put")
    metrics.swallowed("put")
    metrics.dropped("journal", 7)
    metrics.index_size(8, {"loaded": 2, "unloaded": 1}, 9_000)
    metrics.scope_loaded(0.02)
    metrics.scope_evicted()
    seen = scraped(metrics)
    assert seen["cacheserver_tokens_total"] == {
        ("input",): 1,
        ("output",): 8,
        ("cache_write_5m",): 4,
        ("cache_write_1h",): 5,
        ("cache_read",): 3,
    }
    assert seen["cacheserver_upstream_calls_total"] == {("200",): 1, ("529",): 1}
    assert seen["cacheserver_upstream_seconds_count"] == {(): 2}
    assert seen["cacheserver_refused_total"] == {("401",): 1}
    assert above_zero(seen["cacheserver_swallowed_total"]) == {("put",): 2}
    assert above_zero(seen["cacheserver_dropped_total"]) == {("journal",): 7}
    assert seen["cacheserver_index_vectors"] == {(): 8}
    assert seen["cacheserver_index_scopes"] == {("loaded",): 2, ("unloaded",): 1}
    assert seen["cacheserver_memory_bytes"] == {("index",): 9_000}
    assert seen["cacheserver_index_load_seconds_count"] == {(): 1}
    assert seen["cacheserver_index_evictions_total"] == {(): 1}


def test_two_servers_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.settled("exact", "identical", 0.001)
    assert two.counts()["requests"] == 0
