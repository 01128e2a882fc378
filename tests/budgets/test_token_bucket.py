"""A token bucket: never more than a minute's worth ahead, whatever the requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.budgets.token_bucket import Bucket, adjust, current_level, wait_s


@pytest.mark.parametrize(
    ("bucket", "now", "cost", "expected"),
    [
        (None, 0.0, 60, 0.0),
        (None, 0.0, 600, 0.0),  # more than it ever holds: a full one lets it in
        (Bucket(0, 0.0), 0.0, 1, 1.0),
        (Bucket(0, 0.0), 1.0, 1, 0.0),
        (Bucket(0, 0.0), 0.0, 600, 60.0),
        (Bucket(-60, 0.0), 0.0, 1, 61.0),
        (Bucket(0, 5.0), 0.0, 1, 1.0),  # a clock that went back gives nothing and takes nothing
    ],
)
def test_how_long_a_request_waits(
    bucket: Bucket | None, now: float, cost: int, expected: float
) -> None:
    assert wait_s(bucket, now, per_minute=60, cost=cost) == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.floats(0, 90), st.integers(1, 50)), max_size=30),
    st.integers(1, 100),
)
def test_in_any_stretch_no_more_is_let_in_than_a_full_bucket_and_what_flows_in(
    asks: list[tuple[float, int]], per_minute: int
) -> None:
    bucket: Bucket | None = None
    now = 0.0
    let_in: list[tuple[float, int]] = []
    for gap, cost in asks:
        now += gap
        cost = min(cost, per_minute)
        if wait_s(bucket, now, per_minute=per_minute, cost=cost) == 0:
            bucket = adjust(bucket, now, per_minute=per_minute, by=-cost)
            let_in.append((now, cost))
        assert -1e-6 <= current_level(bucket, now, per_minute) <= per_minute
        for start, _ in let_in:
            since = sum(cost for at, cost in let_in if at >= start)
            assert since <= per_minute + (now - start) * per_minute / 60 + 1e-6


@given(st.floats(-500, 100), st.integers(1, 200), st.integers(1, 100))
def test_who_waits_as_long_as_told_is_let_in(left: float, cost: int, per_minute: int) -> None:
    bucket = Bucket(min(left, per_minute), 0.0)
    wait = wait_s(bucket, 0.0, per_minute=per_minute, cost=cost)
    assert wait_s(bucket, wait, per_minute=per_minute, cost=cost) == pytest.approx(0, abs=1e-6)
