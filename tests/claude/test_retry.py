from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.claude.retry import pause_s, requested_wait_s, retryable

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, math.inf),
        ({"retry-after": "1e300"}, 1e300),
        ({"retry-after": "9" * 400}, math.inf),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, None),
        ({"retry-after": "Wed, 99 Foo 99999999999999999999 99:99:99 GMT"}, None),
    ],
)
def test_what_an_answer_asks_for_is_a_wait_or_nothing(
    headers: dict[str, str], expected: float | None
) -> None:
    assert requested_wait_s(headers, NOW) == expected


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (429, "", True),
        (408, "", True),
        (409, "", True),
        (500, "", True),
        (529, "", True),
        (529, "false", False),
        (400, "", False),
        (400, "true", True),
        (400, " TRUE ", True),
        (404, "perhaps", False),
        (307, "", False),
    ],
)
def test_what_may_succeed_is_tried_again(status: int, said: str, expected: bool) -> None:
    assert retryable(status, {"x-should-retry": said} if said else {}) is expected


@given(text=st.text(max_size=40) | st.floats().map(str) | st.integers().map(str))
def test_whatever_a_header_says_a_wait_is_above_zero_or_none(text: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        wait = requested_wait_s({name: text}, NOW)
        assert wait is None or wait > 0


@given(
    asked=st.none() | st.floats(min_value=0, exclude_min=True),
    left=st.floats(0, 600),
    retries=st.integers(1, 50),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_all_waits_of_a_call_stay_within_what_it_may_wait(
    asked: float | None, left: float, retries: int, chance: float
) -> None:
    whole, waited = left, 0.0
    for tries in range(1, retries + 1):
        pause = pause_s(tries, asked, left, chance)
        if pause is None:
            assert left <= 0 or (asked is not None and asked > left)
            break
        assert 0 < pause <= left
        assert asked is None or pause >= asked  # never sooner than we were asked to
        waited, left = waited + pause, left - pause
    assert waited <= whole + 1e-6


def test_without_being_told_the_wait_doubles_as_the_sdks_does() -> None:
    assert [pause_s(n, None, 600, 0.0) for n in range(1, 7)] == [0.5, 1, 2, 4, 8, 8]
    assert pause_s(1, None, 600, 0.999) == pytest.approx(0.375, abs=0.001)
    assert pause_s(10_000, None, 600, 0.0) == 8
