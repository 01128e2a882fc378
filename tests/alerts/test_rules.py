"""What is unusual, and what is only small, new, or as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.alerts import budget_rules
from cacheserver.alerts import rules as alerts
from cacheserver.alerts.forecast import Forecast
from cacheserver.alerts.rules import Hour, Sums
from cacheserver.alerts.weekly_digest import digest, last_week
from cacheserver.budgets.rules import Balance, periods
from cacheserver.cache.budget_verdict import Account, Amount
from cacheserver.calibration.wrong_hit_rate import WrongShare
from cacheserver.core.rules.alerts import AlertRules
from cacheserver.ledger.sums import model_mark

RULES = AlertRules()
NUMBER = 500_000
USD = 1_000_000_000
DAY, MONTH = periods(NUMBER * 3_600.0)


def hour(sums: Sums, before: dict[int, Sums] | None = None) -> Hour:
    return Hour(sums, before or {}, NUMBER, "2027-01-15")


def days(count: int, at: int, **sums: int) -> dict[int, Sums]:
    """The same hour on the days before."""
    return {NUMBER - 24 * day + at: sums for day in range(1, count + 1)}


def kinds(found: list[alerts.Alert]) -> list[str]:
    return [alert.kind for alert in found]


def spend(cost: int, before: dict[int, Sums]) -> list[str]:
    return kinds(alerts.spend("acme", "model", "m", hour({"cost": cost}, before), RULES))


def test_an_hour_at_several_times_its_usual_is_told() -> None:
    usual = days(10, 0, cost=2 * USD)
    assert spend(8 * USD, usual) == ["spend"]
    assert spend(8 * USD - 1, usual) == []


def test_a_busy_hour_of_the_day_is_usual_where_it_is_busy_every_day() -> None:
    busy = days(10, 0, cost=100 * USD) | days(10, -1, cost=1 * USD)
    assert spend(110 * USD, busy) == []
    assert spend(110 * USD, days(10, -1, cost=1 * USD) | {NUMBER - 241: {}}) == ["spend"]


def test_one_wild_day_behind_does_not_hide_the_next() -> None:
    usual = days(10, 0, cost=USD)
    usual[NUMBER - 24] = {"cost": 500 * USD}
    assert spend(50 * USD, usual) == ["spend"]


def test_what_swings_widely_by_itself_is_not_unusual() -> None:
    costs = (0, 0, 0, 0, 0, 2, 4, 4, 5, 6, 7)  # median 2, MAD 2
    swinging: dict[int, Sums] = {
        NUMBER - 24 * day: {"cost": cost * USD} for day, cost in enumerate(costs, start=1)
    }
    assert spend(14 * USD, swinging) == []
    assert spend(14 * USD + 1, swinging) == ["spend"]


def test_cents_are_not_worth_an_alert_nor_is_a_first_day() -> None:
    assert spend(USD - 1, days(10, 0, cost=1)) == []
    assert spend(50 * USD, {NUMBER - at: {"cost": 1} for at in range(1, 24)}) == []
    assert spend(50 * USD, {NUMBER - at: {"cost": 1} for at in range(1, 25)}) == ["spend"]
    assert spend(50 * USD, {}) == []


def habits(recent: Sums, usual: Sums | None = None, **given: Any) -> list[str]:
    before = {NUMBER - at: usual or {} for at in range(1, 9)}
    watched = hour(recent, before)
    rules = replace(RULES, **given)
    return kinds(alerts.habits("acme", watched, rules, read_ratio=0.3))


@pytest.mark.parametrize(
    ("recent", "usual", "expected"),
    [
        ({"calls": 20, "output": 4_001}, {"calls": 20, "output": 2_000}, ["output-length"]),
        ({"calls": 20, "output": 4_000}, {"calls": 20, "output": 2_000}, []),
        ({"calls": 19, "output": 9_000}, {"calls": 20, "output": 2_000}, []),
        ({"calls": 20, "output": 9_000}, {"calls": 19, "output": 2_000}, []),
        ({"requests": 100, "exact": 24}, {"requests": 100, "semantic": 50}, ["hit-rate"]),
        ({"requests": 100, "exact": 25}, {"requests": 100, "semantic": 50}, []),
        ({"requests": 19, "exact": 0}, {"requests": 100, "semantic": 50}, []),
        ({"requests": 100, "failed": 11}, None, ["errors"]),
        ({"requests": 100, "failed": 10}, None, []),
        ({"requests": 100, "failed": 60, "gone": 50}, None, []),
        ({"requests": 100, "failed": 61, "gone": 50}, None, ["errors"]),
        ({"calls": 20, "cache_write_5m": 51, "input": 49}, None, ["cache-writes"]),
        ({"calls": 20, "cache_write_1h": 51, "cache_read": 52, "input": 0}, None, []),
        ({"calls": 20, "cache_write_5m": 10, "cache_read": 29, "input": 61}, None, ["cache-reads"]),
        ({"calls": 20, "cache_write_5m": 10, "cache_read": 30, "input": 60}, None, []),
        ({"calls": 20, "input": 100}, None, []),  # it uses no prompt cache
        ({"calls": 19, "cache_write_5m": 100}, None, []),
    ],
)
def test_habits_that_change_are_told_where_enough_is_known(
    recent: Sums, usual: Sums | None, expected: list[str]
) -> None:
    assert habits(recent, usual) == expected


def test_reads_are_not_looked_at_where_prompt_caching_is_off() -> None:
    recent = hour({"calls": 20, "cache_write_5m": 10, "cache_read": 1, "input": 90})
    assert alerts.habits("acme", recent, RULES, read_ratio=None) == []


def test_a_model_without_a_price_is_named_and_cannot_write_into_a_log() -> None:
    (found,) = alerts.unpriced("acme", {"gpt\n\x1b[2J": {"unpriced": 2}, "m": {}}, "2027-01-15")
    assert found.about == "gpt<U+000A><U+001B>[2J"
    assert found.text.isprintable()


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (WrongShare(0.05, 0.011, 0.2, 40), ["wrong-hits"]),
        (WrongShare(0.05, 0.01, 0.2, 40), []),
        (WrongShare(0.0, 0.0, 0.9, 1), []),  # few labels are no wrong hits
        (WrongShare(1.0, 0.51, 1.0, 4), []),  # nor are few that all say so
        (WrongShare(1.0, 0.57, 1.0, 5), ["wrong-hits"]),
        (None, []),
    ],
)
def test_wrong_hits_are_told_once_they_are_shown(
    share: WrongShare | None, expected: list[str]
) -> None:
    assert kinds(alerts.wrong_hits("acme", share, 0.01, "2027-01-15")) == expected


def test_a_tier_that_was_taken_back_is_told_for_a_day() -> None:
    rolled = {"at": 1_000.0, "task": "qa", "from_model": "dear", "to_model": "cheap", "count": 9}
    (found,) = alerts.downshifts("acme", [rolled], 1_000.0 + 86_399)
    assert "cheap no longer agrees with dear on qa" in found.text
    assert alerts.downshifts("acme", [rolled], 1_000.0 + 86_400) == []


def test_conversations_that_grow_are_told() -> None:
    assert alerts.conversations("acme", 0, "d") == []
    assert alerts.conversations("acme", 1, "d")[0].text.startswith("A conversation has")
    assert alerts.conversations("acme", 3, "d")[0].facts == {"conversations": 3}


def of(spent: int, expected: Forecast | None = None, limit: int = 10 * USD) -> list[alerts.Alert]:
    ahead = {} if expected is None else {"usd": expected}
    account = Account("acme", None, MONTH, limit, None, "refuse")
    return budget_rules.budget_alerts(account, Balance(Amount(spent), Amount()), ahead, share=0.8)


def test_a_budget_is_told_of_at_its_share_at_its_end_and_ahead_of_it() -> None:
    over = Forecast(11 * USD, 9 * USD, 13 * USD, "linear")
    assert kinds(of(8 * USD - 1)) == []
    assert kinds(of(8 * USD)) == ["budget-near"]
    assert kinds(of(10 * USD, over)) == ["budget-reached"]
    assert kinds(of(USD, over)) == ["budget-forecast"]
    assert kinds(of(USD, replace(over, total=8 * USD))) == ["budget-forecast"]
    assert kinds(of(USD, replace(over, total=8 * USD - 1))) == []
    assert kinds(of(USD, replace(over, method="spent"))) == []
    assert kinds(of(0, limit=0)) == ["budget-reached"]


def test_an_alert_of_another_period_is_another_alert() -> None:
    one = of(8 * USD)[0]
    day = Account("acme", None, DAY, 10 * USD, None, "refuse")
    other = budget_rules.budget_alerts(day, Balance(Amount(8 * USD), Amount()), {}, share=0.8)[0]
    assert one.id != other.id
    assert one.once_s > 31 * 86_400
    assert one.id == of(9 * USD)[0].id


def test_a_weeks_digest_says_what_was_asked_paid_and_saved() -> None:
    sums = {"requests": 10, "calls": 4, "cost": 3 * USD, "exact_saved": 5 * USD, "audit_spent": USD}
    made = digest("acme", {"m": sums, "n": {"requests": 1, "routing_saved": -USD}}, 0)
    assert made.facts == {
        "requests": 11,
        "calls": 4,
        "cost_nanodollars": 3 * USD,
        "saved_nanodollars": 4 * USD,
        "spent_nanodollars": USD,
        "net_saved_nanodollars": 3 * USD,
    }
    assert "m: 4 calls, $3.00." in made.text
    assert "Paid $4.00, $0.3636 a request: $3.00 for answers, $1.00 beside them." in made.text


def test_a_digest_says_what_the_week_would_have_cost_at_other_models() -> None:
    model = "claude-haiku-4-5"
    sums = {"requests": 2, "cost": USD, "compared": 2, "compared_cost": USD} | {
        "opus_bill": 40 * USD,
        "sonnet_bill": 20 * USD,
        "named": 1,
        "named_cost": USD,
        "named_bill": 10 * USD,
        "named_mark": model_mark(model),
    }
    made = digest("acme", {"m": sums}, 0, compare_with=model)
    assert (
        "By estimate, the same requests without the cache: $40.00 as all Opus, "
        "$20.00 as all Sonnet, $10.00 as all claude-haiku-4-5." in made.text
    )
    assert made.facts["opus_nanodollars"] == 40 * USD
    assert (made.facts["named_model"], made.facts["named_nanodollars"]) == (model, 10 * USD)
    another = digest("acme", {"m": sums}, 0, compare_with="claude-opus-5")
    assert "haiku" not in another.text
    assert "By estimate" not in digest("acme", {"m": {"requests": 2, "cost": USD}}, 0).text


def test_a_digest_has_the_wrong_hits_beside_the_savings() -> None:
    sums = {"requests": 300, "semantic": 200, "semantic_saved": 20 * USD}
    made = digest("acme", {"m": sums}, 0, WrongShare(0.01, 0.002, 0.04, 90), USD)
    assert "Of 200 similar hits some 2.0 were wrong (0.4 to 8.0 by 90 labels)." in made.text
    assert "At what a wrong answer costs, net $18.00." in made.text
    assert made.facts["net_saved_less_wrong_nanodollars"] == 18 * USD
    assert (made.facts["wrong_hits_low"], made.facts["wrong_hits_high"]) == (0.4, 8.0)
    free = digest("acme", {"m": sums}, 0, WrongShare(0.01, 0.002, 0.04, 90))
    assert "wrong answer costs" not in free.text
    untold = digest("acme", {"m": sums}, 0)
    assert "were wrong is unknown" in untold.text
    assert untold.facts["wrong_hits_high"] == 200
    assert "wrong" not in digest("acme", {"m": {"requests": 1}}, 0).text


def test_a_week_runs_from_monday_to_monday() -> None:
    monday = 1_795_392_000  # 2026-11-23
    assert last_week(monday) == (monday - 7 * 86_400, monday)
    assert last_week(monday - 1) == (monday - 14 * 86_400, monday - 7 * 86_400)


def strange(recent: Sums, usual: Sums | None = None, **given: Any) -> bool:
    return "unsupported" in habits(recent, usual, **given)


@pytest.mark.parametrize(
    ("recent", "usual", "told"),
    [
        ({"miss": 100, "unsupported": 20}, {"miss": 100}, True),
        ({"miss": 100, "unsupported": 19}, {"miss": 100}, False),  # too few
        ({"miss": 100, "semantic": 300, "unsupported": 20}, {"miss": 100}, False),  # one in 20
        ({"miss": 100, "semantic": 299, "unsupported": 20}, {"miss": 100}, True),
        ({"miss": 100, "unsupported": 30}, {"miss": 100, "unsupported": 10}, False),  # three times
        ({"miss": 100, "unsupported": 31}, {"miss": 100, "unsupported": 10}, True),
        ({"miss": 100, "exact": 9_999, "unsupported": 31}, {"miss": 100}, True),  # hits are known
        ({"miss": 100, "unsupported": 100}, {"miss": 19}, False),  # nothing is known of the usual
        ({"miss": 100, "unsupported": 100}, None, False),
    ],
)
def test_a_wave_of_unsupported_questions_is_told(
    recent: Sums, usual: Sums | None, told: bool
) -> None:
    assert strange(recent, usual) == told


def test_where_unsupported_questions_swing_by_themselves_no_wave_is_told() -> None:
    swinging: dict[int, Sums] = {
        NUMBER - at: {"miss": 100, "unsupported": count}
        for at, count in enumerate((0, 0, 10, 20, 30), start=1)  # median and MAD are 10%
    }

    def told(count: int) -> bool:
        watched = hour({"miss": 100, "unsupported": count}, swinging)
        return "unsupported" in kinds(alerts.habits("acme", watched, RULES, read_ratio=None))

    assert not told(70)
    assert told(71)


def test_a_tenant_may_not_want_to_know_of_unsupported_questions() -> None:
    wave = {"miss": 100, "unsupported": 100}
    assert strange(wave, {"miss": 100})
    assert not strange(wave, {"miss": 100}, unsupported_share=1.0)
    assert not strange({"miss": 100, "unsupported": 50}, {"miss": 100}, unsupported_share=0.5)
    usual = {"miss": 100, "unsupported": 10}
    assert not strange({"miss": 100, "unsupported": 50}, usual, unsupported_times=5.0)
    assert not strange({"miss": 100, "unsupported": 50}, usual, least_calls=51)


@given(
    looked=st.lists(st.integers(20, 500), min_size=5, max_size=60),
    usual=st.floats(0.0, 0.3),
    wave=st.floats(0.0, 1.0),
    size=st.integers(20, 500),
)
def test_only_a_wave_is_told_and_whatever_its_size_by_one_alert_a_day(
    looked: list[int], usual: float, wave: float, size: int
) -> None:
    before: dict[int, Sums] = {
        NUMBER - at: {"miss": count, "unsupported": round(usual * count)}
        for at, count in enumerate(looked, start=1)
    }
    count = round(wave * size)
    found = [
        one
        for minute in range(2)
        for one in alerts.habits(
            "acme",
            hour({"miss": size + minute, "unsupported": count}, before),
            RULES,
            read_ratio=None,
        )
        if one.kind == "unsupported"
    ]
    least, most = usual - 0.5 / 20, usual + 0.5 / 20  # shares that rounding gave
    if count < 20 or count / size <= max(0.05, 3 * least):
        assert found == []
    elif count / (size + 1) > max(0.05, 3 * most, most + 6 * (most - least)):
        assert len(found) == 2
    assert len({one.id for one in found}) <= 1
    assert all(f"{count} of" in one.text and one.facts["unsupported"] == count for one in found)
