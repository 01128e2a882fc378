"""The circuit breaker, on a clock moved by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.claude.circuit_breaker import CircuitBreaker
from cacheserver.core.errors import CircuitOpen


def breaker(**given: float) -> CircuitBreaker:
    return CircuitBreaker(**{"share": 0.5, "least": 10, "open_s": 5.0, **given})  # type: ignore[arg-type]


def tried(breaker: CircuitBreaker, tenant: str, now: float, *, good: bool | None) -> None:
    probe = breaker.enter(tenant, now)
    breaker.leave(tenant, now, good=good, probe=probe)


def opened(**given: float) -> CircuitBreaker:
    made = breaker(**given)
    for _ in range(10):
        tried(made, "a", 0.0, good=False)
    return made


def test_it_opens_where_most_of_enough_tries_failed() -> None:
    made = breaker()
    for n in range(9):
        tried(made, "a", float(n), good=False)
        assert made.state(n) == "closed"
    tried(made, "a", 9.0, good=False)
    assert made.state(9.0) == "open"
    assert made.opening is not None
    assert (made.opening.failed, made.opening.tries) == (10, 10)
    with pytest.raises(CircuitOpen) as refused:
        made.enter("a", 10.0)
    assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "4")
    assert refused.value.reason == "circuit-open"


def test_half_is_not_most_and_limits_count_for_nothing() -> None:
    made = breaker()
    for n in range(40):
        tried(made, "a", 0.0, good=n % 2 == 0)
        tried(made, "a", 0.0, good=None)
    assert made.state(0.0) == "closed"
    tried(made, "a", 0.0, good=False)
    assert made.state(0.0) == "open"


def test_what_is_half_a_minute_old_is_forgotten() -> None:
    made = breaker()
    for _ in range(9):
        tried(made, "a", 0.0, good=False)
    tried(made, "a", 30.0, good=False)
    assert made.state(30.0) == "closed"


def test_one_probes_and_an_answer_closes_it() -> None:
    made = opened()
    assert made.state(5.0) == "half-open"
    assert made.enter("a", 5.0) is True
    with pytest.raises(CircuitOpen):  # one at a time
        made.enter("a", 5.0)
    made.leave("a", 6.0, good=True, probe=True)
    assert made.state(6.0) == "closed"
    assert made.enter("a", 6.0) is False


def test_failed_probes_double_the_time_up_to_a_minute() -> None:
    made, now, waits = opened(), 0.0, []
    for _ in range(6):
        began = now
        while made.state(now) == "open":
            now += 0.5
        waits.append(now - began)
        tried(made, "a", now, good=False)
    assert waits == [5, 10, 20, 40, 60, 60]


def test_a_claude_that_flaps_is_left_alone_for_longer_each_time() -> None:
    made, now = opened(), 5.0
    tried(made, "a", now, good=True)
    for _ in range(12):
        if made.state(now) == "closed":
            tried(made, "a", now, good=False)
    assert made.opening is not None
    assert (made.opening.number, made.opening.open_s) == (2, 10)
    tried(made, "a", 15.0, good=True)
    for _ in range(40):
        tried(made, "a", 100.0, good=True)
    for _ in range(41):
        if made.state(200.0) == "closed":
            tried(made, "a", 200.0, good=False)
    assert made.opening.open_s == 5  # long after


def test_a_probe_that_hangs_or_is_given_up_leaves_room_for_another() -> None:
    made = opened()
    assert made.enter("a", 5.0)
    with pytest.raises(CircuitOpen):
        made.enter("a", 9.0)
    assert made.enter("a", 10.0)  # it hangs
    made.leave("a", 10.0, good=None, probe=True)  # its caller left
    assert made.enter("a", 10.0)


def test_what_was_begun_before_says_nothing_after() -> None:
    made = opened()
    made.leave("a", 1.0, good=True, probe=False)
    made.broke("a", 1.0)
    assert made.state(1.0) == "open"


def test_a_stream_that_breaks_off_takes_back_that_it_was_good() -> None:
    made = breaker()
    for _ in range(10):
        tried(made, "a", 0.0, good=True)
        made.broke("a", 0.0)
    assert made.state(0.0) == "open"


@given(st.lists(st.floats(0, 29), min_size=1, max_size=200))
def test_a_tenant_whose_calls_all_fail_shuts_nobody_else_out(times: list[float]) -> None:
    """One answer of another's keeps it closed or closes it, however many failed."""
    made, ends = breaker(), max(times)
    for now in sorted(times):
        if made.state(now) == "closed":
            tried(made, "hostile", now, good=False)
    probe = made.enter("good", ends)  # never refused
    made.leave("good", ends, good=True, probe=probe)
    assert made.state(ends) == "closed"
    for _ in range(200):
        if made.state(ends) == "closed":
            tried(made, "hostile", ends, good=False)
    assert made.state(ends) == "closed"


def test_tenants_with_few_calls_do_not_outvote_many_good_ones() -> None:
    made = breaker()
    for _ in range(98):
        tried(made, "busy", 0.0, good=True)
    for tenant in ("b", "c"):
        tried(made, tenant, 0.0, good=False)
    assert made.state(0.0) == "closed"


def test_a_stranger_whose_probe_fails_is_one_of_them() -> None:
    made = opened()
    tried(made, "b", 1.0, good=False)
    for tenant in ("a", "b"):
        with pytest.raises(CircuitOpen):
            made.enter(tenant, 1.0)
    assert made.state(5.0) == "half-open"  # when it was to be


def test_a_share_of_all_never_opens() -> None:
    assert opened(share=1.0).state(0.0) == "closed"
