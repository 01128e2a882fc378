"""Prices that only some days have, tables that are refused by the line, and the simulated books."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cacheserver.calibration.wrong_hit_rate import WrongShare, estimate, share_of
from cacheserver.core.errors import SettingsError
from cacheserver.core.evidence import Evidence
from cacheserver.core.types import Entry, Usage
from cacheserver.ledger.prompt_cache_warmth import PromptCacheWarmth
from cacheserver.matching.calibration import Label
from cacheserver.pricing.estimate import chars_per_token, prompt_tokens
from cacheserver.pricing.prices import Pricer, billable, load_overrides
from cacheserver.simulated.books import charged


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("usage", "day", "nanodollars"),
    [
        (Usage(cache_read_tokens=1_000), "2026-10-06", 200_000),
        (Usage(cache_read_tokens=1_000), "2026-10-07", 100_000),
        (Usage(cache_read_tokens=1_000, service_tier="batch"), "2026-10-06", 100_000),
        (Usage(cache_read_tokens=1_000, service_tier="batch"), "2026-10-13", 50_000),
        (Usage(cache_read_tokens=1_000, inference_geo="us"), "2026-10-06", 220_000),
        (Usage(1_000), "2026-10-06", 2_000_000),  # nothing else was cut
    ],
)
def test_sonnet_read_its_cache_at_twice_the_price_until_october(
    usage: Usage, day: str, nanodollars: int
) -> None:
    assert Pricer().cost("claude-sonnet-5-5", usage, at(day)) == nanodollars


@pytest.mark.parametrize(("day", "billed"), [("2026-09-23", False), ("2026-09-24", True)])
def test_refusals_of_some_categories_are_billed_since_a_day(day: str, billed: bool) -> None:
    refused = {"stop_reason": "refusal", "content": [], "stop_details": {"category": "bio"}}
    assert billable(refused, at(day)) is billed


_TABLE = """# ours
[[price]]
model = "m"
input = 1
output = 1
cache_write_5m = 1
cache_write_1h = 1
cache_read = 1

[[price]]  # the second
model = "n"
input = 1
output = 1
cache_write_5m = 1
cache_write_1h = 1
cache_read = 1
"""


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        (_TABLE.replace("output = 1", "output = -1", 1), 5, "`price[0].output`"),
        (
            _TABLE[::-1].replace("1 = daer_ehcac", "1- = daer_ehcac", 1)[::-1],
            16,
            "`price[1].cache_read`",
        ),
        (_TABLE.replace('model = "n"', 'model = "n"\ncolour = 1'), 12, "`price[1].colour`"),
        (_TABLE.replace('model = "n"\n', ""), 10, "`price[1].model`"),
        (_TABLE.replace('"n"', '"m"'), 10, "`price[1]`"),
        ("price = [{model = 3}]", 1, "`price[0].model`"),
        (f"{_TABLE}\n[discount]\nall = 0.1\n", 18, "`discount`"),
        (f"# ours\n\nrate = 3\n{_TABLE}", 3, "`rate`"),
        ("# one\n[price]\nmodel = 3\n", 2, "`price`"),
    ],
)
def test_a_wrong_price_is_refused_with_its_line(text: str, line: int, named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_overrides(text)
    assert str(refused.value).startswith(f"line {line}: {named}")


def message(**given: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": "global",
        "speed": "standard",
        **given.pop("usage", {}),
    }
    return {
        "id": "msg",
        "model": "claude-haiku-5-5",
        "stop_reason": "end_turn",
        "stop_details": None,
        "content": [{"type": "text", "text": "x"}],
        "usage": usage,
        **given,
    }


@pytest.mark.parametrize(
    ("given", "nanodollars"),
    [
        ({}, 100_000 + 50_000),
        ({"model": "claude-opus-5-5", "usage": {"speed": "fast"}}, 8_000_000 + 4_000_000),
        ({"usage": {"service_tier": "batch"}}, 75_000),
        ({"usage": {"inference_geo": "us"}}, 165_000),
        ({"usage": {"input_tokens": 100_001}}, 5 * (10_000_100 + 50_000)),
        ({"usage": {"server_tool_use": {"web_search_requests": 2}}}, 20_150_000),
        # 1 x 125 in a batch in the US: 68.75
        (
            {
                "usage": {
                    "input_tokens": 0,
                    "output_tokens": 0,
                    "inference_geo": "us",
                    "service_tier": "batch",
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 1,
                        "ephemeral_1h_input_tokens": 0,
                    },
                }
            },
            69,
        ),
        ({"stop_reason": "refusal", "content": [], "stop_details": {"category": "cyber"}}, 0),
        ({"stop_reason": "refusal", "content": [], "stop_details": {"category": "bio"}}, 150_000),
    ],
)
def test_the_simulated_claude_charges_by_its_own_list(
    given: dict[str, Any], nanodollars: int
) -> None:
    assert charged(message(**given), at("2026-11-21")) == nanodollars


@pytest.mark.parametrize(("tokens", "nanodollars"), [(1, 62), (3, 188)])  # 62.5 and 187.5
def test_the_simulated_claude_rounds_to_the_even_one_of_two_as_near(
    tokens: int, nanodollars: int
) -> None:
    written = {"ephemeral_5m_input_tokens": tokens, "ephemeral_1h_input_tokens": 0}
    usage = {"input_tokens": 0, "output_tokens": 0, "service_tier": "batch"}
    answer = message(usage={**usage, "cache_creation": written})
    assert charged(answer, at("2026-11-21")) == nanodollars


@pytest.mark.parametrize(
    ("model", "ratio"),
    [
        ("claude-haiku-5-5", 2.5),
        ("claude-opus-5", 2.5),
        ("claude-opus-4-7", 2.5),
        ("claude-opus-4-8", 2.5),
        ("claude-sonnet-4-6", 3.4),
        ("claude-haiku-4-5-20251001", 3.4),
        ("claude-sonnet-4-20250514", 3.4),
        ("claude-3-5-haiku-latest", 3.4),
        ("auto", 2.5),
    ],
)
def test_a_models_tokenizer_is_told_by_its_version(model: str, ratio: float) -> None:
    assert chars_per_token(model) == ratio


def test_a_prompts_estimate_counts_all_that_is_read() -> None:
    body = {
        "system": [{"type": "text", "text": "s" * 25, "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "t"}],
        "messages": [
            {"role": "user", "content": "x" * 50},
            {"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]},
        ],
    }
    assert prompt_tokens(body, "claude-haiku-5-5") == 10 + 6 + 20 + 1_600
    assert prompt_tokens({"messages": "no list"}, "m") == 0


def label(*, right: bool, served: bool = True, weight: float = 1.0) -> Label:
    evidence = Evidence(0.9, 0.1, 1.0, 1.0, 0.8, 2.0)
    return Label(evidence, right, weight, "audit", served, "embedder")


def test_the_share_of_wrong_hits_is_that_of_labelled_hits() -> None:
    labels = [label(right=True)] * 99 + [label(right=False)] + [label(right=False, served=False)]
    found = share_of(labels)
    assert found is not None
    assert (found.share, found.labels) == (0.01, 100)
    assert found.low < 0.01 < found.high < 0.06
    assert share_of(labels[-1:]) is None


def test_a_label_that_stands_for_twenty_counts_as_twenty_and_widens_the_interval() -> None:
    alike = share_of([label(right=True)] * 80 + [label(right=False)] * 20)
    drawn = share_of([label(right=True)] * 80 + [label(right=False, weight=20.0)])
    assert alike is not None
    assert drawn is not None
    assert drawn.share == alike.share == 0.2
    assert drawn.high - drawn.low > 2 * (alike.high - alike.low)


def test_wrong_hits_cost_their_price_and_without_labels_any_may_be_wrong() -> None:
    found = estimate(1_000, WrongShare(0.01, 0.005, 0.02, 100), 3_000_000_000)
    assert (found.wrong, found.low, found.high) == (10, 5, 20)
    assert (found.cost, found.cost_low, found.cost_high) == (
        30_000_000_000,
        15_000_000_000,
        60_000_000_000,
    )
    unknown = estimate(1_000, None, 1)
    assert (unknown.wrong, unknown.low, unknown.high) == (0, 0, 1_000)


def entry(usage: Usage, created_at: float) -> Entry:
    return Entry(
        "id", "t", "n", "f", "s", None, "m", b"{}", usage, 0, (), created_at, created_at + 10**6
    )


def test_a_prefix_is_warm_while_requests_kept_coming() -> None:
    warmth, five = PromptCacheWarmth(), Usage(cache_write_5m_tokens=1_000)
    made = entry(five, 0.0)
    assert warmth.warm("s", made, 299)  # by the call that made the entry
    assert not warmth.warm("s", made, 300)
    for now in (200.0, 400.0, 600.0):
        warmth.note("s", five, now)
    assert warmth.warm("s", made, 899)
    assert not warmth.warm("s", made, 900)
    assert not warmth.warm("s", entry(Usage(50), 0.0), 1)  # nothing was marked
    hour = entry(Usage(cache_write_1h_tokens=1), 0.0)
    assert warmth.warm("other", hour, 3_599)
    assert not warmth.warm("other", hour, 3_600)
