from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cacheserver.ledger.time_range import LIFETIME_S, SECONDS, Grain, align_range, split_range

NOW = 1_795_000_000.0
times = st.integers(int(NOW) - 390 * 86_400, int(NOW) + 86_400)
coarsest = st.sampled_from(["m", "h", "d"])


@given(times, st.integers(1, 40 * 86_400), coarsest)
def test_tiles_cover_a_range_once_and_no_more(start: int, length: int, most: Grain) -> None:
    if most != "d":  # a month of minutes takes long to count here
        length = min(length, 3 * 86_400)
    begin, end = align_range(start, start + length, NOW)
    at = begin
    for tile in split_range(begin, end, most):
        seconds = SECONDS[tile.grain]
        assert tile.first * seconds == at
        assert tile.end > tile.first
        assert seconds <= SECONDS[most]
        at = tile.end * seconds
    assert at == end


@given(times, st.integers(1, 40 * 86_400))
def test_a_range_is_covered_whole_and_read_from_what_is_kept(start: int, length: int) -> None:
    begin, end = align_range(start, start + length, NOW)
    assert begin <= start < start + length <= end
    for tile in split_range(begin, end):
        oldest = tile.first * SECONDS[tile.grain]
        assert NOW - oldest <= LIFETIME_S[tile.grain] + 86_400 or tile.grain == "d"


def test_whole_days_are_read_as_days() -> None:
    day = int(NOW // 86_400) * 86_400
    assert [tile.grain for tile in split_range(day - 30 * 86_400, day)] == ["d"]
    assert [tile.grain for tile in split_range(day - 90, day + 2 * 86_400 + 7_260)] == [
        "m",
        "d",
        "h",
        "m",
    ]
