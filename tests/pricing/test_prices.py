"""Prices, worked out by hand in each case: USD per million tokens x tokens x 1,000 nanodollars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import genai_prices
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheserver.core.errors import SettingsError
from cacheserver.core.types import Usage
from cacheserver.core.usage import usage_of
from cacheserver.pricing import prices
from cacheserver.pricing.price_table import PriceTable
from cacheserver.pricing.prices import Pricer, billable, load_overrides

NOV = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def price(
    model: str, usage: Usage, at: datetime, overrides: PriceTable | None = None
) -> prices.Priced | None:
    return Pricer(overrides).price(model, usage, at.timestamp())


MIXED = Usage(
    input_tokens=1_000,
    output_tokens=500,
    cache_write_5m_tokens=2_000,
    cache_write_1h_tokens=3_000,
    cache_read_tokens=10_000,
    web_searches=2,
)


@pytest.mark.parametrize(
    ("model", "usage", "nanodollars"),
    [
        # 1,000 x 0.10 + 500 x 0.50 + 2,000 x 0.125 + 3,000 x 0.20 + 10,000 x 0.01 = 1,300 per Mtok
        # -> 1,300,000 nanodollars; two searches at $10 per 1,000 -> 20,000,000
        ("claude-haiku-5-5", MIXED, 1_300_000 + 20_000_000),
        # 1,000 x 2 + 500 x 10 + 2,000 x 2.5 + 3,000 x 4 + 10,000 x 0.10 = 25,000
        ("claude-sonnet-5-5", MIXED, 25_000_000 + 20_000_000),
        # 1,000 x 4 + 500 x 20 + 2,000 x 5 + 3,000 x 8 + 10,000 x 0.20 = 50,000
        ("claude-opus-5-5", MIXED, 50_000_000 + 20_000_000),
        # 1,000 x 8 + 500 x 40 + 2,000 x 10 + 3,000 x 16 + 10,000 x 0.20 = 98,000
        ("claude-fable-5-2", MIXED, 98_000_000 + 20_000_000),
        # A dated id and a gateway's prefix: Haiku 4.5 at 1 / 5 (not 0.80 / 4, which was Haiku 3.5)
        ("claude-haiku-4-5-20251001", Usage(1_000, 500), 1_000_000 + 2_500_000),
        ("anthropic/claude-haiku-4-5", Usage(1_000, 500), 1_000_000 + 2_500_000),
        # Opus 4.7 at 5 / 25 (not 15 / 75, which was Opus 4.1)
        ("claude-opus-4-7", Usage(1_000, 500), 5_000_000 + 12_500_000),
        # The long-prompt tier counts reads: 99,999 + 1 is not above 100,000, 99,999 + 2 is.
        # 99,999 x 0.10 x 1,000 + 1 x 0.01 x 1,000 + 1 x 0.50 x 1,000
        ("claude-haiku-5-5", Usage(99_999, 1, cache_read_tokens=1), 9_999_900 + 10 + 500),
        # 99,999 x 0.50 x 1,000 + 2 x 0.05 x 1,000 + 1 x 2.50 x 1,000: every token at five times
        ("claude-haiku-5-5", Usage(99_999, 1, cache_read_tokens=2), 49_999_500 + 100 + 2_500),
        # ... and writes: 50,001 x 1.00 x 1,000 + 50,000 x 0.625 x 1,000
        (
            "claude-haiku-5-5",
            Usage(cache_write_5m_tokens=50_000, cache_write_1h_tokens=50_001),
            31_250_000 + 50_001_000,
        ),
        # In the US only: 1.1 x (1,000 x 2 + 500 x 10) = 7,700; the search is not a token
        (
            "claude-sonnet-5-5",
            Usage(1_000, 500, web_searches=1, inference_geo="us"),
            7_700_000 + 10_000_000,
        ),
        # Fast: 1,000 x 8 + 500 x 40
        ("claude-opus-5-5", Usage(1_000, 500, speed="fast"), 28_000_000),
        # Batch: half of 1,000 x 2 + 500 x 10
        ("claude-sonnet-5-5", Usage(1_000, 500, service_tier="batch"), 3_500_000),
        # Batch above the long-prompt tier: 200,000 x 0.25 + 10 x 1.25
        ("claude-haiku-5-5", Usage(200_000, 10, service_tier="batch"), 50_000_000 + 12_500),
        # A search is no token: neither halved in a batch, nor dearer in the US
        ("claude-haiku-5-5", Usage(web_searches=3, service_tier="batch"), 30_000_000),
        ("claude-haiku-5-5", Usage(web_searches=3, inference_geo="us"), 30_000_000),
        # To the nearest nanodollar: 0.0625 x 1.1 x 1,000 = 68.75
        (
            "claude-haiku-5-5",
            Usage(cache_write_5m_tokens=1, service_tier="batch", inference_geo="us"),
            69,
        ),
        ("claude-haiku-5-5", Usage(), 0),
    ],
)
def test_a_call_costs_what_the_price_list_says(model: str, usage: Usage, nanodollars: int) -> None:
    priced = price(model, usage, NOV)
    assert priced is not None
    assert priced.cost == nanodollars


def test_the_parts_of_a_mixed_call_are_told_apart() -> None:
    priced = price("claude-haiku-5-5", MIXED, NOV)
    assert priced is not None
    assert priced.parts == {
        "input": 100_000,
        "output": 250_000,
        "cache_write_5m": 250_000,
        "cache_write_1h": 600_000,
        "cache_read": 100_000,
        "web_search": 20_000_000,
    }
    assert priced.version == f"genai-prices-{genai_prices.__version__}"


def test_a_price_holds_from_its_day_in_utc() -> None:
    # Sonnet 4.6 above 200,000 prompt tokens was 6 per million until the premium went on 2026-03-13.
    before = price("claude-sonnet-4-6", Usage(300_000), datetime(2026, 3, 12, 23, 59, tzinfo=UTC))
    after = price("claude-sonnet-4-6", Usage(300_000), datetime(2026, 3, 13, 0, 0, tzinfo=UTC))
    assert before is not None
    assert after is not None
    assert (before.cost, after.cost) == (1_800_000_000, 900_000_000)


def test_a_batch_before_batch_rates_were_published_costs_half() -> None:
    september = datetime(2026, 9, 1, tzinfo=UTC)
    usage = Usage(1_000, 500, web_searches=1, service_tier="batch")
    priced = price("claude-opus-5", usage, september)
    assert priced is not None
    assert priced.cost == (1_000 * 5 + 500 * 25) * 1_000 // 2 + 10_000_000


@pytest.mark.parametrize("model", ["", "auto", "gpt-5", "claude-mythos-9", "claude-haiku-7"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert price(model, MIXED, NOV) is None


def test_a_speed_without_a_published_rate_has_no_price() -> None:
    assert price("claude-sonnet-5-5", Usage(1, 1, speed="fast"), NOV) is None


def test_iterations_are_the_bill_each_at_its_own_models_price() -> None:
    usage = usage_of(
        {
            "model": "claude-sonnet-5-5",
            "usage": {
                "input_tokens": 10,
                "output_tokens": 20,
                "iterations": [
                    {"type": "compaction", "input_tokens": 50_000, "output_tokens": 1_000},
                    {"type": "advisor_message", "model": "claude-opus-5-5", "output_tokens": 100},
                    {"type": "message", "input_tokens": 10, "output_tokens": 20},
                ],
            },
        }
    )
    priced = price("claude-sonnet-5-5", usage, NOV)
    assert priced is not None
    # Sonnet (50,010 x 2 + 1,020 x 10) + Opus (100 x 20), in nanodollars
    assert priced.cost == (50_010 * 2 + 1_020 * 10 + 100 * 20) * 1_000


def test_one_iteration_of_an_unknown_model_leaves_the_call_unpriced() -> None:
    legs = (("claude-haiku-5-5", Usage(1, 1)), ("claude-haiku-7", Usage(1, 1)))
    assert price("claude-haiku-5-5", Usage(2, 2, iterations=legs), NOV) is None


def test_each_iteration_has_its_own_prompt_length() -> None:
    leg = ("claude-haiku-5-5", Usage(60_000))
    priced = price("claude-haiku-5-5", Usage(120_000, iterations=(leg, leg)), NOV)
    assert priced is not None
    assert priced.cost == 2 * 60_000 * 100  # 0.10 per million, not the 0.50 of a long prompt


def test_what_rounding_leaves_goes_to_the_largest_part() -> None:
    # Batch at 1.1: 1 x 0.05 -> 55; 1 x 0.25 -> 275; 1 x 0.0625 -> 68.75; 1 x 0.005 -> 5.5.
    # The sum, 404.25, is 404; rounded down they are 55 + 275 + 68 + 5 = 403.
    usage = Usage(1, 1, 1, 0, 1, service_tier="batch", inference_geo="us")
    priced = price("claude-haiku-5-5", usage, NOV)
    assert priced is not None
    assert priced.cost == 404
    assert priced.parts["output"] == 276
    assert sum(priced.parts.values()) == 404


def test_the_usage_of_a_full_message_is_read_by_kind() -> None:
    message = {
        "model": "claude-sonnet-5-5",
        "usage": {
            "input_tokens": 7,
            "output_tokens": 11,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "cache_read_input_tokens": 40,
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9},
            "service_tier": "batch",
            "speed": "fast",
            "inference_geo": "us",
        },
    }
    assert usage_of(message) == Usage(7, 11, 10, 20, 40, 3, "batch", "fast", "us")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"usage": None},
        {"usage": []},
        {"usage": {"input_tokens": None, "cache_creation": None, "server_tool_use": None}},
        {"usage": {"input_tokens": "12", "output_tokens": -1, "cache_read_input_tokens": True}},
        {"usage": {"iterations": None, "service_tier": None, "speed": None, "inference_geo": None}},
        {"usage": {"iterations": [None, 3]}},
    ],
)
def test_what_claude_did_not_count_is_nothing(message: dict[str, Any]) -> None:
    assert usage_of(message) == Usage()


def test_a_cache_write_without_its_split_is_the_five_minute_kind() -> None:
    assert usage_of({"usage": {"cache_creation_input_tokens": 9}}).cache_write_5m_tokens == 9


@pytest.mark.parametrize(
    ("message", "billed"),
    [
        ({"stop_reason": "end_turn", "content": []}, True),
        ({"stop_reason": "refusal", "content": [{"type": "text", "text": "I"}]}, True),
        ({"stop_reason": "refusal", "content": []}, False),
        ({"stop_reason": "refusal", "content": [], "stop_details": {"category": None}}, False),
        ({"stop_reason": "refusal", "content": [], "stop_details": {"category": "cyber"}}, False),
        ({"stop_reason": "refusal", "content": [], "stop_details": {"category": "bio"}}, True),
        (
            {
                "stop_reason": "refusal",
                "content": [],
                "stop_details": {"category": "reasoning_extraction"},
            },
            True,
        ),
    ],
)
def test_a_refusal_before_any_output_is_free_but_for_some_categories(
    message: dict[str, Any], billed: bool
) -> None:
    assert billable(message) is billed
    message = {**message, "model": "claude-haiku-5-5", "usage": {"input_tokens": 10}}
    priced = Pricer().bill(message, NOV.timestamp())
    assert priced is not None
    assert priced.cost == (1_000 if billed else 0)


OVERRIDES = """
[[price]]
model = "claude-haiku-7"
input = 0.20
output = 1
cache_write_5m = 0.25
cache_write_1h = 0.40
cache_read = 0.02

[[price]]
model = "claude-haiku-7"
from = 2027-01-15
input = 0.10
output = 0.50
cache_write_5m = 0.125
cache_write_1h = 0.20
cache_read = 0.01

[[price]]
model = "claude-haiku-7"
from = 2027-01-15
over_prompt_tokens = 1000
input = 0.30
output = 1.50
cache_write_5m = 0.375
cache_write_1h = 0.60
cache_read = 0.03
web_search = 5
"""


@pytest.mark.parametrize(
    ("model", "usage", "day", "nanodollars"),
    [
        ("claude-haiku-7", Usage(1_000, 10), "2026-11-21", 200_000 + 10_000),
        ("claude-haiku-7-20270101", Usage(1_000, 10), "2026-11-21", 200_000 + 10_000),
        ("anthropic/claude-haiku-7", Usage(1_000, 10), "2027-01-14", 200_000 + 10_000),
        ("claude-haiku-7", Usage(1_000, 10), "2027-01-15", 100_000 + 5_000),
        ("claude-haiku-7", Usage(1_001, 10), "2027-01-15", 300_300 + 15_000),
        ("claude-haiku-7", Usage(1_001, web_searches=1), "2027-01-15", 300_300 + 5_000_000),
        ("claude-haiku-7", Usage(1_000, service_tier="batch"), "2027-01-15", 50_000),
        ("claude-haiku-5-5", Usage(1_000, 10), "2027-01-15", 100_000 + 5_000),  # still bundled
    ],
)
def test_the_operators_price_wins_from_its_day(
    model: str, usage: Usage, day: str, nanodollars: int
) -> None:
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    priced = price(model, usage, at, load_overrides(OVERRIDES))
    assert priced is not None
    assert priced.cost == nanodollars


def test_a_newer_price_ends_the_older_ones_long_prompt_tier() -> None:
    older = OVERRIDES.replace("over_prompt_tokens = 1000", "over_prompt_tokens = 500")
    older = older.replace("2027-01-15", "2026-01-01")
    newer = OVERRIDES.split("[[price]]")[2]
    table = load_overrides(f"{older}[[price]]{newer}")
    priced = price("claude-haiku-7", Usage(1_000), datetime(2027, 2, 1, tzinfo=UTC), table)
    assert priced is not None
    assert priced.cost == 100_000


def test_a_model_priced_by_the_operator_is_never_priced_by_half() -> None:
    # The operator wrote no fast row, so a fast call has no price rather than the bundled one.
    text = OVERRIDES.replace("claude-haiku-7", "claude-opus-5-5")
    assert price("claude-opus-5-5", Usage(1, speed="fast"), NOV, load_overrides(text)) is None


def test_another_table_is_another_version() -> None:
    one, two = load_overrides(OVERRIDES), load_overrides(OVERRIDES.replace("0.20", "0.21"))
    assert len({Pricer().version, Pricer(one).version, Pricer(two).version}) == 3
    assert load_overrides("").digest == load_overrides("# only words").digest


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[price]\n", "line 1"),
        ("[prices]", "`prices`"),
        ("price = 3", "`price`"),
        ("[price]", "`price`"),
        (OVERRIDES.replace("output = 1\n", "output = -1\n"), "`price[0].output`"),
        (OVERRIDES.replace("output = 1\n", "output = nan\n"), "`price[0].output`"),
        (OVERRIDES.replace("output = 1\n", "output = true\n"), "`price[0].output`"),
        (OVERRIDES.replace("output = 1\n", 'output = "1"\n'), "`price[0].output`"),
        (OVERRIDES.replace("output = 1\n", ""), "`price[0].output`"),
        (OVERRIDES.replace("output = 1\n", "outputs = 1\n"), "`price[0].outputs`"),
        (OVERRIDES.replace('"claude-haiku-7"', '""', 1), "`price[0].model`"),
        (OVERRIDES.replace("2027-01-15", '"2027-01-15"', 1), "`price[1].from`"),
        (OVERRIDES.replace("2027-01-15", "2027-01-15T00:00:00Z", 1), "`price[1].from`"),
        (OVERRIDES.replace("= 1000", "= -1"), "`price[2].over_prompt_tokens`"),
        (OVERRIDES.replace("over_prompt_tokens = 1000", 'speed = "quick"'), "`price[2].speed`"),
        (OVERRIDES.replace("over_prompt_tokens = 1000", ""), "`price[2]`"),
    ],
)
def test_a_wrong_price_table_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_overrides(text)
    assert named in str(refused.value)


def test_a_pricer_remembers_no_more_than_it_may_and_stays_right() -> None:
    pricer = Pricer(remember=3)
    now = NOV.timestamp()
    for tokens in [1, 2, 3, 4, 5, 1, 5]:
        priced = pricer.price("claude-haiku-5-5", Usage(tokens), now)
        assert priced is not None
        assert priced.cost == tokens * 100
        assert pricer.cost("claude-haiku-5-5", Usage(tokens), now) == tokens * 100
    assert (len(pricer._now.priced), len(pricer._now.costs)) == (3, 3)


def test_a_pricer_sees_a_price_change_at_its_hour() -> None:
    pricer = Pricer(load_overrides(OVERRIDES))
    midnight = datetime(2027, 1, 15, tzinfo=UTC).timestamp()
    before = pricer.price("claude-haiku-7", Usage(1_000), midnight - 1)
    after = pricer.price("claude-haiku-7", Usage(1_000), midnight)
    assert before is not None
    assert after is not None
    assert (before.cost, after.cost) == (200_000, 100_000)


tokens = st.integers(min_value=0, max_value=2_000_000)
usages = st.builds(
    Usage,
    input_tokens=tokens,
    output_tokens=tokens,
    cache_write_5m_tokens=tokens,
    cache_write_1h_tokens=tokens,
    cache_read_tokens=tokens,
    web_searches=st.integers(min_value=0, max_value=50),
    service_tier=st.sampled_from(["standard", "priority", "batch"]),
    inference_geo=st.sampled_from(["", "us", "global"]),
)
models = st.sampled_from(
    ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-2"]
)


@given(models, usages)
def test_the_parts_always_sum_to_the_cost_and_none_is_negative(model: str, usage: Usage) -> None:
    priced = price(model, usage, NOV)
    assert priced is not None
    assert sum(priced.parts.values()) == priced.cost
    assert min(priced.parts.values()) >= 0
    assert tuple(priced.parts) == prices.KINDS


@given(
    models,
    usages,
    st.sampled_from(
        [
            "input_tokens",
            "output_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "cache_read_tokens",
            "web_searches",
        ]
    ),
    st.integers(min_value=1, max_value=200_000),
)
def test_more_of_anything_never_costs_less(model: str, usage: Usage, kind: str, more: int) -> None:
    larger = replace(usage, **{kind: getattr(usage, kind) + more})
    one, two = price(model, usage, NOV), price(model, larger, NOV)
    assert one is not None
    assert two is not None
    assert one.cost < two.cost


ODD = (
    OVERRIDES
    + """
[[price]]
model = "claude-odd-1"
from = 2026-01-01
input = 0.1234567890123
output = 1.5
cache_write_5m = 0.333333333333
cache_write_1h = 0.2
cache_read = 0.01
web_search = 5
"""
)


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            *("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-7"),
            *("claude-odd-1", "claude-unknown"),
        ]
    ),
    usages,
    st.booleans(),
    st.sampled_from(["2026-10-01", "2026-11-21", "2027-02-01"]),
)
def test_the_cost_alone_is_that_of_the_parts(
    model: str, usage: Usage, searched: bool, day: str
) -> None:
    usage = usage if searched else replace(usage, web_searches=0)
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    whole = price(model, usage, at, load_overrides(ODD))
    found = QUICK.cost(model, usage, at.timestamp())
    assert found == (None if whole is None else whole.cost)


QUICK = Pricer(load_overrides(ODD), remember=8)
