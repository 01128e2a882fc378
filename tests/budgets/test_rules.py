"""Whose money a request spends, until when, and which of several ends decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.budgets import rules as budget
from cacheserver.budgets.rules import Balance, accounts, periods
from cacheserver.cache.budget_verdict import Account, Amount, Full, Verdict
from cacheserver.claude import cheapest
from cacheserver.core.errors import BadRequest
from cacheserver.core.ledger_row import Bounds
from cacheserver.core.rules.budgets import ACTIONS, AtLimit, BudgetRules, KeyBudget, Limit
from cacheserver.core.rules.routing import RoutingRules, Tiers
from cacheserver.core.types import Tenant, Usage
from cacheserver.tenants import tenant_json
from tests.ledger.rows import hit, row

KEY, OTHER = "00112233aabbccdd", "ffeeddccbbaa9988"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "offset", "day", "resets", "month", "month_resets"),
    [
        ("2026-01-31T23:59:59", 0, "d20260131", "2026-02-01", "m202601", "2026-02-01"),
        ("2026-02-01T00:00:00", 0, "d20260201", "2026-02-02", "m202602", "2026-03-01"),
        ("2028-02-29T12:00:00", 0, "d20280229", "2028-03-01", "m202802", "2028-03-01"),
        ("2026-12-31T23:30:00", 60, "d20270101", "2027-01-01T23:00", "m202701", "2027-01-31T23:00"),
        (
            "2026-03-01T02:00:00",
            -300,
            "d20260228",
            "2026-03-01T05:00",
            "m202602",
            "2026-03-01T05:00",
        ),
    ],
)
def test_days_and_months_begin_in_the_tenants_time(
    now: str, offset: int, day: str, resets: str, month: str, month_resets: str
) -> None:
    found_day, found_month = periods(at(now), offset)
    assert (found_day.id, found_day.end) == (day, at(resets))
    assert (found_month.id, found_month.end) == (month, at(month_resets))


@given(now=st.floats(0, 4e9), offset=st.integers(-720, 840))
def test_now_lies_in_its_periods_and_a_day_in_its_month(now: float, offset: int) -> None:
    day, month = periods(now, offset)
    assert month.start <= day.start <= now < day.end <= month.end
    assert day.end - day.start == 86_400
    assert periods(day.end, offset)[0].start == day.end


def test_a_request_counts_against_its_tenant_and_its_key() -> None:
    rules = BudgetRules(
        daily=Limit(usd=2.5),
        at_limit="refuse",
        keys={KEY: KeyBudget(monthly=Limit(tokens=9), at_limit="warn")},
        each_key=KeyBudget(daily=Limit(usd=1.0)),
    )
    found = accounts("acme", KEY, rules, 0.0)
    assert [(a.key_id, a.period.span, a.nano, a.tokens, a.at_limit) for a in found] == [
        (None, "day", 2_500_000_000, None, "refuse"),
        (None, "month", None, None, "refuse"),
        (KEY, "day", None, None, "warn"),
        (KEY, "month", None, 9, "warn"),
    ]
    unnamed = accounts("acme", OTHER, rules, 0.0)
    assert [(a.nano, a.at_limit) for a in unnamed[2:]] == [
        (1_000_000_000, "refuse"),
        (None, "refuse"),
    ]
    assert len(accounts("acme", None, rules, 0.0)) == 2
    assert not any(a.limited for a in accounts("acme", KEY, replace(rules, enabled=False), 0.0))


def test_only_what_is_limited_is_asked_about() -> None:
    by_key = BudgetRules(keys={KEY: KeyBudget(daily=Limit(usd=1.0))})
    assert not budget.wanted(BudgetRules(), KEY)
    assert budget.wanted(BudgetRules(monthly=Limit(tokens=1)), None)
    assert budget.wanted(by_key, KEY)
    assert not budget.wanted(by_key, OTHER)
    assert not budget.wanted(by_key, None)
    assert budget.wanted(BudgetRules(each_key=KeyBudget(daily=Limit(usd=1))), OTHER)
    assert not budget.wanted(replace(by_key, enabled=False), KEY)


def account(**given: Any) -> Account:
    return Account("acme", None, periods(0.0)[0], **given)


@pytest.mark.parametrize(
    ("limits", "spent", "reserved", "expected"),
    [
        ({"nano": 10}, (9, 0), (0, 0), None),
        ({"nano": 10}, (10, 0), (0, 0), ("usd", False)),
        ({"nano": 10}, (9, 0), (1, 0), ("usd", True)),
        ({"tokens": 10}, (99, 9), (0, 0), None),
        ({"tokens": 10}, (0, 3), (0, 7), ("tokens", True)),
        ({"nano": 10, "tokens": 10}, (0, 11), (0, 0), ("tokens", False)),
        ({"nano": 0}, (0, 0), (0, 0), ("usd", False)),
        ({}, (10**15, 10**15), (0, 0), None),
    ],
)
def test_a_budget_is_at_its_end_when_spent_and_held_reach_it(
    limits: dict[str, int],
    spent: tuple[int, int],
    reserved: tuple[int, int],
    expected: tuple[str, bool] | None,
) -> None:
    found = budget.full(account(**limits), Balance(Amount(*spent), Amount(*reserved)))
    assert (found and (found.unit, found.held)) == expected


def test_of_several_ends_the_strictest_decides_and_then_the_longest() -> None:
    day, month = periods(0.0)
    warn = Full(Account("a", None, month, 1, None, "warn"), "usd", held=False)
    only = Full(Account("a", None, day, 1, None, "cache-only"), "usd", held=False)
    held = Full(Account("a", None, month, 1, None, "refuse"), "usd", held=True)
    refuse = Full(Account("a", "k", day, 1, None, "refuse"), "usd", held=False)
    later = Full(Account("a", None, month, 1, None, "refuse"), "tokens", held=False)
    assert budget.strictest([warn, only]) is only
    assert budget.strictest([held, refuse, only]) is refuse
    assert budget.strictest([refuse, later]) is later
    assert budget.strictest([]) is None
    assert "resets at 1970-02-01T00:00:00Z" in budget.describe(later)
    assert "this key's daily budget in dollars is used up" in budget.describe(refuse)
    assert "held by requests under way" in budget.describe(held)


def test_the_most_a_request_may_cost_is_its_prompt_and_all_the_output_it_allows() -> None:
    body = {"max_tokens": 1_000, "messages": [{"role": "user", "content": "x" * 250}]}
    seen: list[Usage] = []

    def price(model: str, usage: Usage) -> int | None:
        seen.append(usage)
        return None if model == "unknown" else usage.input_tokens + 5 * usage.output_tokens

    assert budget.most(body, "claude-haiku-5-5", price) == Amount(100 + 5_000, 1_100)
    assert budget.most(body, "unknown", price).nano == 0
    # What a caller names beyond Claude's window would be held for days by a call that is cut off.
    assert budget.most({**body, "max_tokens": 10**9}, "claude-haiku-5-5", price).tokens == 1_000_100
    assert budget.most({**body, "max_tokens": "all"}, "claude-haiku-5-5", price).tokens == 100
    budget.most({**body, "speed": "fast"}, "claude-opus-5-5", price)
    assert seen[-1].speed == "fast"


def test_what_a_row_spent_is_its_cost_its_helpers_and_every_token() -> None:
    usage = Usage(1, 2, 4, 8, 16)
    assert budget.of_row(row(usage=usage, cost=100, spent={"retry": 7})) == Amount(107, 31)
    legs = replace(usage, iterations=(("a", Usage(1, 1)), ("b", Usage(2, 2))))
    assert budget.of_row(row(usage=legs, cost=None)) == Amount(0, 6)
    assert budget.of_row(hit()) == Amount(0, 0)
    lost = row(cost=None, usage=Usage(1), unknown=Bounds(5))
    assert budget.of_row(lost) == Amount(5, 1)
    assert budget.of_row(lost, Amount(9, 90)) == Amount(9, 91)
    assert budget.of_row(replace(lost, unknown=Bounds(5, 7)), Amount(9)) == Amount(7, 1)


def test_a_verdict_says_which_budget_until_when_and_whether_to_come_back() -> None:
    day, _ = periods(0.0)
    spent = Full(Account("a", "k", day, 1, None, "refuse"), "usd", held=False)
    assert Verdict("refuse", "", spent).headers == {
        "x-should-retry": "false",
        "x-budget": "key/day/usd",
        "x-budget-resets-at": "1970-01-02T00:00:00Z",
    }
    held = replace(spent, held=True, account=replace(spent.account, key_id=None))
    assert Verdict("refuse", "", held).headers["x-budget"] == "tenant/day/usd"
    assert Verdict("refuse", "", held).headers["retry-after"] == "1"
    assert Verdict("refuse", "").headers == {"x-should-retry": "true", "retry-after": "1"}


def test_the_cheapest_model_is_the_lowest_tier_that_can() -> None:
    rules = RoutingRules()
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}

    def route(asked: str, **more: Any) -> tuple[str, str, str | None]:
        found = cheapest.route(asked, {**body, **more}, rules, default_model="claude-haiku-5-5")
        return found.model, found.reason, found.baseline

    assert route("claude-opus-5-5") == ("claude-haiku-5-5", "budget", "claude-opus-5-5")
    assert route("auto") == ("claude-haiku-5-5", "budget", None)
    assert route("claude-haiku-5-5") == ("claude-haiku-5-5", "named", None)
    older = RoutingRules(tiers=Tiers(low="claude-haiku-4-5"))  # it reads 200,000 tokens
    long = {**body, "messages": [{"role": "user", "content": "x" * 1_500_000}]}
    found = cheapest.route("claude-opus-5-5", long, older, default_model="claude-haiku-5-5")
    assert (found.model, found.tier) == ("claude-sonnet-5-5", "middle")
    found = cheapest.route("claude-sonnet-5-5", long, older, default_model="claude-haiku-5-5")
    assert (found.model, found.reason) == ("claude-sonnet-5-5", "named")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"daily": {"usd": -0.01}}, "budgets.daily.usd"),
        ({"monthly": {"tokens": -1}}, "budgets.monthly.tokens"),
        ({"daily": {"tokens": 1.5}}, "budgets.daily.tokens"),
        ({"daily": {"usd": "5"}}, "budgets.daily.usd"),
        ({"keys": {KEY: {"at_limit": "warn"}}}, f"budgets.keys.{KEY}"),
        ({"keys": {"nobody": {"daily": {"usd": 1}}}}, "budgets.keys.nobody"),
        ({"at_limit": "stop"}, "budgets.at_limit"),
        ({"alert_at": 0}, "budgets.alert_at"),
        ({"alert_at": 1.1}, "budgets.alert_at"),
        ({"utc_offset_min": 900}, "budgets.utc_offset_min"),
        ({"dayly": {"usd": 1}}, "budgets.dayly"),
        ({"alerts": {"email": ["nobody"]}}, "budgets.alerts.email.0"),
        ({"alerts": {"spend_times": 0.5}}, "budgets.alerts.spend_times"),
    ],
)
def test_a_budget_that_will_not_do_is_refused_by_its_name(given: Any, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        tenant_json.change("acme", {}, {"budgets": given}, Tenant("default"))
    assert refused.value.field.startswith(field)


def test_budgets_survive_being_kept() -> None:
    given = {
        "daily": {"usd": 0, "tokens": 5},
        "keys": {KEY: {"monthly": {"usd": 1.5}, "at_limit": "refuse"}},
        "at_limit": "cheaper",
        "alerts": {"email": ["ops@example.com"], "webhook": "https://example.com/x"},
    }
    tenant = tenant_json.change("acme", {}, {"budgets": given}, Tenant("default")).tenant
    assert tenant.budgets.daily == Limit(usd=0, tokens=5)
    record = tenant_json.encode(tenant_json.changes(Tenant("default"), tenant))
    assert tenant_json.decode("acme", record, Tenant("default")).tenant == tenant


def test_every_action_at_a_limit_is_in_the_table_and_on_the_page() -> None:
    assert tuple(ACTIONS) == get_args(AtLimit)
    page = (Path(__file__).parents[2] / "docs/budgets.md").read_text()
    for action in ACTIONS:
        assert f"| `{action}`" in page, action
