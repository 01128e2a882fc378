"""A clock that differs from the store's is counted, and logged once."""

from __future__ import annotations

import pytest

from cacheserver.peers.clock_check import MOST_S, ClockCheck


def test_a_clock_that_differs_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[str] = []
    check = ClockCheck(counted.append, now=lambda: 10_000.0)
    check.note(10_000.0 - MOST_S)
    assert counted == []
    for _ in range(3):
        check.note(2_800.0)
    check.note(10_000.0)
    check.note(17_200.0)
    assert counted == ["clock"] * 4
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        "this machine's clock is 7200 s ahead of the store's",
        "this machine's clock is 7200 s behind the store's",
    ]
