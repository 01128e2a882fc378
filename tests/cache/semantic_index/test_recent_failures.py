"""Scopes that failed lately."""

from __future__ import annotations

from cacheserver.cache.semantic_index.recent_failures import RecentFailures
from tests.cache.semantic_index.servers import Clock


def test_a_scope_counts_for_a_minute_or_until_it_is_asked_with_success() -> None:
    clock = Clock()
    failures = RecentFailures(clock)
    assert not failures
    failures.note("a")
    failures.note("b")
    failures.clear("b")
    failures.clear("c")
    assert failures
    clock.now += 59
    assert failures
    clock.now += 1
    assert not failures
    failures.note("a")
    failures.clear("a")
    assert not failures


def test_of_many_scopes_the_last_ones_are_known() -> None:
    failures = RecentFailures(Clock())
    for n in range(1_000):
        failures.note(str(n))
    assert len(failures._at) == 100
    for n in range(900, 1_000):
        failures.clear(str(n))
    assert not failures
