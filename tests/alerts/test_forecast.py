"""What a period will come to, and how sure that is."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from cacheserver.alerts.forecast import forecast

HOUR, DAY, WEEK = 3_600, 86_400, 7 * 86_400
START = 2_960 * WEEK  # a Thursday's midnight, UTC


def hours(days: int, of: object) -> dict[int, int]:
    first = START // HOUR
    return {first + at: int(of(at)) for at in range(24 * days)}  # type: ignore[operator]


def test_with_nothing_behind_the_forecast_is_what_was_spent() -> None:
    found = forecast(70, {}, START, START + DAY)
    assert (found.total, found.low, found.high, found.method) == (70, 70, 70, "spent")
    assert forecast(70, {START // HOUR: 5}, START, START + DAY).method == "spent"


def test_a_steady_rate_goes_on_as_it_was() -> None:
    now = START + 2 * DAY
    found = forecast(100, hours(2, lambda at: 10), now, now + 10 * HOUR)
    assert (found.total, found.low, found.high, found.method) == (200, 200, 200, "linear")


def test_hours_without_spending_count_as_hours() -> None:
    now = START + DAY
    found = forecast(0, {START // HOUR: 240, START // HOUR + 1: 0}, now, now + 24 * HOUR)
    assert found.total == 240


def test_the_hour_under_way_is_not_taken_for_a_whole_one() -> None:
    known = hours(2, lambda at: 10)
    now = START + 2 * DAY + HOUR // 2
    known[START // HOUR + 48] = 1  # half an hour of it
    assert forecast(0, known, now, now + HOUR / 2).total == 5


def test_with_two_weeks_known_a_weekend_is_expected_to_be_one() -> None:
    def shape(at: int) -> int:
        weekday = (at // 24) % 7  # Thursday is 0
        return 0 if weekday in (2, 3) or not 8 <= at % 24 < 18 else 100

    now = START + 3 * WEEK + 2 * DAY  # Saturday
    known = {hour: value for hour, value in hours(28, shape).items() if hour < now // HOUR}
    weekend = forecast(0, known, now, now + 2 * DAY)
    assert (weekend.total, weekend.method) == (0, "seasonal")
    assert forecast(0, known, now, now + WEEK).total == 5 * 10 * 100
    assert forecast(0, known, now + 2 * DAY + 12 * HOUR, now + 3 * DAY).total == 6 * 100


def test_thirteen_days_are_not_yet_a_season() -> None:
    now = START + 14 * DAY
    known = hours(14, lambda at: 10)
    assert forecast(0, known, now, now + DAY).method == "seasonal"
    del known[START // HOUR]
    assert forecast(0, known, now, now + DAY).method == "linear"


def test_the_interval_holds_the_end_about_as_often_as_it_says() -> None:
    """On days that differ, with hours that rise and fall together."""
    for days in (5, 21):
        inside = 0
        for trial in range(300):
            chance = random.Random(trial)

            def day(number: int, chance: random.Random = chance) -> list[int]:
                size = max(0.1, chance.gauss(1, 0.3))
                return [int(size * 1_000 * (1 + math.sin(h / 4))) for h in range(24)]

            values = [v for number in range(days) for v in day(number)]
            first = START // HOUR
            now = START + days * DAY
            found = forecast(0, {first + at: v for at, v in enumerate(values)}, now, now + 9 * DAY)
            actual = sum(sum(day(number)) for number in range(9))
            inside += found.low <= actual <= found.high
        assert 0.9 <= inside / 300 <= 0.995, (days, inside)


@given(
    values=st.lists(st.integers(0, 10**12), max_size=800),
    spent=st.integers(0, 10**15),
    into=st.floats(0, 3_599),
    left_s=st.floats(0, 31 * DAY),
)
def test_a_forecast_lies_in_its_interval_and_never_below_what_is_spent(
    values: list[int], spent: int, into: float, left_s: float
) -> None:
    now = START + len(values) * HOUR + into
    known = {START // HOUR + at: value for at, value in enumerate(values)}
    found = forecast(spent, known, now, now + left_s)
    assert spent <= found.low <= found.total <= found.high
    assert forecast(spent, known, now, now).total == spent
