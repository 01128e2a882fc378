"""When work is batched, sent and asked after, and which traffic could have been."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cacheserver.batches import schedule
from cacheserver.batches.eligibility import Series
from cacheserver.cache import fingerprint
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.types import Controls, Query, Tenant
from cacheserver.english.language import english
from cacheserver.tenants import tenant_json

NOW = 1_800_000_000.0
RULES = BatchRules()


def choose(**given: Any) -> schedule.Way:
    asked: dict[str, Any] = {
        "wait": False,
        "deadline": NOW + RULES.patience_s,
        "now": NOW,
        "rules": RULES,
        "controls": Controls(),
        "headroom": 1.0,
        "batchable": True,
    }
    return schedule.choose(**{**asked, **given})


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ({"wait": True, "deadline": None}, "batch"),
        ({}, "batch"),
        ({"wait": True}, "batch"),
        ({"deadline": NOW + RULES.patience_s - 1}, "direct"),
        ({"wait": True, "deadline": NOW + 1}, "direct"),
        ({"deadline": NOW + RULES.low_patience_s, "headroom": 0.09}, "batch"),
        ({"deadline": NOW + RULES.low_patience_s, "headroom": 0.1}, "direct"),
        ({"deadline": NOW + RULES.low_patience_s - 1, "headroom": 0.0}, "direct"),
        ({"rules": replace(RULES, enabled=False)}, "direct"),
        ({"controls": Controls(off=("batching",))}, "direct"),
        ({"batchable": False}, "direct"),
    ],
)
def test_the_way_work_is_asked(given: dict[str, Any], way: str) -> None:
    assert choose(**given) == way


@given(
    left_s=st.floats(0, 500_000),
    headroom=st.floats(0, 1),
    patience_s=st.integers(0, 86_400),
    low_s=st.integers(0, 86_400),
)
def test_what_is_batched_for_a_deadline_has_the_patience_the_rules_ask(
    left_s: float, headroom: float, patience_s: int, low_s: int
) -> None:
    rules = replace(RULES, patience_s=patience_s, low_patience_s=low_s)
    way = choose(deadline=NOW + left_s, headroom=headroom, rules=rules)
    left_s = NOW + left_s - NOW  # as floats have it
    if way == "batch":
        assert left_s >= min(patience_s, low_s)
    if left_s >= patience_s:
        assert way == "batch"
    due = schedule.flush_at(NOW, NOW + left_s, rules)
    assert NOW <= due <= NOW + rules.flush_age_s


@given(polls=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_polls_slow_down_to_a_bound(polls: int, chance: float) -> None:
    wait = schedule.next_poll_s(polls, chance, first_s=5, longest_s=300)
    assert 4 * 0.999 <= wait <= 360 * 1.001
    later = schedule.next_poll_s(polls + 1, chance, first_s=5, longest_s=300)
    assert later >= wait * 0.999


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    most=st.integers(1, 20),
    max_bytes=st.integers(1, 200),
)
def test_batches_keep_both_limits_and_take_as_much_as_they_may(
    sizes: list[int], most: int, max_bytes: int
) -> None:
    count = schedule.parts(sizes, most=most, max_bytes=max_bytes)
    assert 1 <= count <= len(sizes)
    if count > 1:
        assert count <= most
        assert sum(sizes[:count]) <= max_bytes
    if count < len(sizes):
        assert count == most or sum(sizes[: count + 1]) > max_bytes


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_whatever_is_sent_as_a_batch_is_read_or_refused(requests: Any) -> None:
    try:
        found = schedule.read_requests({"requests": requests})
    except BadRequest:
        return
    assert found


@pytest.mark.parametrize(
    "given",
    [
        {"flush_size": 0},
        {"flush_size": 100_001},
        {"flush_age_s": -1},
        {"low_percent": 101},
        {"keep_s": 10},
        {"webhook_networks": ["everything"]},
        {"webhook_hosts": ["a b"]},
        {"surprise": 1},
        {"enabled": "yes"},
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        tenant_json.change("shop", {}, {"batching": given}, Tenant("shop"))
    assert f"batching.{next(iter(given))}" in refused.value.field


def test_rules_are_kept_as_they_were_set() -> None:
    given = {
        "flush_size": 5,
        "webhook_hosts": ["*.example.com"],
        "webhook_networks": ["10.0.0.0/8"],
    }
    tenant = tenant_json.change("shop", {}, {"batching": given}, Tenant("shop")).tenant
    record = tenant_json.encode(tenant_json.changes(Tenant("shop"), tenant))
    assert tenant_json.decode("shop", record, Tenant("shop")).tenant == tenant


def query(text: str, *, system: str = "Sum up the day.", turns: int = 1) -> Query:
    messages = [
        {"role": "user" if n % 2 == 0 else "assistant", "content": f"turn {n}"}
        for n in range(turns)
    ]
    messages[-1]["content"] = text
    body = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": messages, "system": system}
    return fingerprint.read(
        body,
        b"",
        headers={},
        tenant=Tenant("shop"),
        controls=Controls(),
        upstream="u",
        language=english(),
        key_id="key",
    )


def watched(gaps: list[float], **given: Any) -> tuple[Series, float]:
    series, now = Series(), NOW
    for n, gap in enumerate([0.0, *gaps]):
        now += gap
        series.note(query(f"What happened on day {n}?", **given), now, 1_000)
    return series, now


def test_a_nightly_job_is_eligible_and_says_what_it_would_have_saved() -> None:
    series, now = watched([86_400, 86_390, 86_420, 86_400, 86_405])
    (found,) = series.eligible(now)
    assert (found.tenant, found.key_id, found.requests) == ("shop", "key", 6)
    assert found.every_s == pytest.approx(86_400, rel=0.01)
    assert (found.cost, found.saving) == (6_000, 3_000)
    assert series.eligible(now, "other") == []


def test_a_burst_counts_as_one_and_its_cost_in_full() -> None:
    series, now = Series(), NOW
    for _ in range(6):
        for n in range(50):
            series.note(query(f"What happened in hour {n}?"), now + n, 1_000)
        now += 3_600
    (found,) = series.eligible(now)
    assert (found.requests, found.cost) == (300, 300_000)
    assert found.every_s == pytest.approx(3_600)


@pytest.mark.parametrize(
    "gaps",
    [
        [3_600, 3_600, 3_600],  # too few
        [100, 5_000, 900, 20_000, 300, 7_000],  # as people come
        [3_600, 3_600, 3_600, 3_600, 12_000],  # it has become irregular
        [10, 10, 10, 10, 10, 10, 10],  # one burst that goes on
    ],
)
def test_what_is_not_regular_is_not_eligible(gaps: list[float]) -> None:
    series, now = watched(gaps)
    assert series.eligible(now) == []


def test_a_conversation_is_not_eligible_however_regular() -> None:
    series, now = watched([3_600] * 8, turns=3)
    assert series.eligible(now) == []


def test_what_has_stopped_is_not_eligible_any_more() -> None:
    series, now = watched([3_600] * 8)
    assert series.eligible(now + 7_000)
    assert series.eligible(now + 7_300) == []


@given(st.lists(st.floats(61, 100_000), min_size=4, max_size=30))
def test_what_is_eligible_comes_at_its_pace_within_the_spread(gaps: list[float]) -> None:
    series, now = watched(gaps)
    for found in series.eligible(now):
        assert found.spread <= 0.15
        assert min(gaps) * 0.99 <= found.every_s <= max(gaps) * 1.01


@given(st.integers(61, 90_000), st.integers(5, 30), st.floats(-0.02, 0.02))
def test_what_is_steady_is_found(gap: int, times: int, drift: float) -> None:
    gaps = [gap * (1 + (drift if n % 2 else -drift)) for n in range(times)]
    assume(min(gaps) > 60)
    series, now = watched(gaps)
    assert len(series.eligible(now)) == 1


def test_no_more_series_are_remembered_than_were_asked_for() -> None:
    series = Series(most=3)
    for n in range(10):
        series.note(query("What?", system=f"System {n}"), NOW + n, 1)
    assert len(series._series) == 3
