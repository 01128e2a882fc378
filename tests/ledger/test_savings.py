"""What a request saved: worked out by hand, and the sums that must always hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.ledger_row import CAUSES, Bounds
from cacheserver.core.types import Controls, Declaration, Usage
from cacheserver.ledger import savings
from cacheserver.ledger.counterfactual import (
    Levers,
    counterfactual_bills,
    rescale_tokens,
    usage_for,
    usage_of_miss,
)
from cacheserver.pricing.prices import Pricer
from tests.cache.queries import query
from tests.ledger.rows import usages

NOW = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
PRICER = Pricer()


def price(model: str, usage: Usage) -> int | None:
    return PRICER.cost(model, usage, NOW)


def of_call(model: str, usage: Usage, levers: Levers) -> dict[str, int]:
    cost = price(model, usage)
    assert cost is not None
    return dict(savings.call_savings(price, model, usage, cost, levers))


@pytest.mark.parametrize(
    ("model", "usage", "levers", "parts"),
    [
        # Left alone, nothing is ours.
        (HAIKU, Usage(1_000, 100), Levers(), {}),
        # 1,000 x 4 + 100 x 20 on Opus = 6,000,000; on Haiku 1,000 x 0.1 + 100 x 0.5 = 150,000.
        (HAIKU, Usage(1_000, 100), Levers(baseline=OPUS), {"routing": 5_850_000}),
        # A tier up costs more, and is shown so.
        (OPUS, Usage(1_000, 100), Levers(baseline=HAIKU), {"routing": -5_850_000}),
        # 2,000 tokens written: 2,000 x 2.5 = 5,000,000 where 2,000 x 2 = 4,000,000 were due.
        (SONNET, Usage(0, 0, 2_000), Levers(planned=True), {"prompt-caching": -1_000_000}),
        # ... and read: 2,000 x 0.10 = 200,000 instead.
        (
            SONNET,
            Usage(0, 0, cache_read_tokens=2_000),
            Levers(planned=True),
            {"prompt-caching": 3_800_000},
        ),
        # Marks of the caller's own are no saving of ours.
        (SONNET, Usage(0, 0, cache_read_tokens=2_000), Levers(), {}),
        # A batch of ours: half of 1,000 x 2 + 100 x 10 = 3,000,000. The caller's own: nothing.
        (
            SONNET,
            Usage(1_000, 100, service_tier="batch"),
            Levers(queued=True),
            {"batch": 1_500_000},
        ),
        (SONNET, Usage(1_000, 100, service_tier="batch"), Levers(), {}),
        # 500 tokens left out x 2; an answer of 400 cut to 100: 300 x 10.
        (
            SONNET,
            Usage(1_000, 100),
            Levers(trimmed=500, uncut=400),
            {"compaction": 1_000_000, "output-cap": 3_000_000},
        ),
        # A cap that nothing ran into saved nothing.
        (SONNET, Usage(1_000, 100), Levers(uncut=50), {}),
        # All at once. Opus, 3,500 + 400 out: 14,000 + 8,000; Sonnet: 7,000 + 4,000;
        # without 500: 10,000; 100 out: 7,000; 2,000 of 3,000 read: 2,000 + 200 + 1,000 = 3,200;
        # batch: 1,600. In thousands of nanodollars.
        (
            SONNET,
            Usage(1_000, 100, cache_read_tokens=2_000, service_tier="batch"),
            Levers(baseline=OPUS, planned=True, queued=True, trimmed=500, uncut=400),
            {
                "routing": 11_000_000,
                "compaction": 1_000_000,
                "output-cap": 3_000_000,
                "prompt-caching": 3_800_000,
                "batch": 1_600_000,
            },
        ),
        # Sonnet 4.6 has the older tokenizer: 2,500 of ours are 1,838 of its tokens, x 3.
        (
            HAIKU,
            Usage(2_500),
            Levers(baseline="claude-sonnet-4-6"),
            {"routing": 1_838 * 3_000 - 250_000},
        ),
        # A baseline without a price: from there on.
        (
            SONNET,
            Usage(0, 0, cache_read_tokens=2_000),
            Levers(baseline="gpt-9", planned=True),
            {"prompt-caching": 3_800_000},
        ),
    ],
)
def test_a_call_saved_what_the_bills_differ_by(
    model: str, usage: Usage, levers: Levers, parts: dict[str, int]
) -> None:
    assert of_call(model, usage, levers) == parts


def test_with_iterations_only_the_batch_is_told_apart() -> None:
    legs = ((HAIKU, Usage(1_000)), (OPUS, Usage(0, 10)))
    usage = Usage(1_000, 10, service_tier="batch", iterations=legs)
    parts = of_call(HAIKU, usage, Levers(baseline=OPUS, planned=True, queued=True))
    assert parts == {"batch": (1_000 * 100 + 10 * 20_000) // 2}


def test_a_free_call_saved_nothing_by_its_levers() -> None:
    assert savings.call_savings(price, HAIKU, Usage(1_000), 0, Levers(baseline=OPUS)) == {}


def test_the_last_bill_is_the_one_that_was_paid() -> None:
    parts = savings.call_savings(price, SONNET, Usage(1_000), 123, Levers(baseline=OPUS))
    assert parts == {"routing": 2_000_000, "batch": 2_000_000 - 123}
    assert sum(parts.values()) + 123 == 4_000_000


levers = st.builds(
    Levers,
    baseline=st.none() | st.sampled_from([HAIKU, SONNET, OPUS, "claude-sonnet-4-6", "gpt-9"]),
    planned=st.booleans(),
    queued=st.booleans(),
    trimmed=st.integers(0, 100_000),
    uncut=st.none() | st.integers(0, 100_000),
)


@given(st.sampled_from([HAIKU, SONNET, OPUS]), usages, levers)
def test_the_parts_and_the_cost_sum_to_the_first_bill_that_has_a_price(
    model: str, usage: Usage, levers: Levers
) -> None:
    cost = price(model, usage)
    if cost is None:  # fast, where there is no such price
        return
    parts = savings.call_savings(price, model, usage, cost, levers)
    assert set(parts) <= set(CAUSES[CAUSES.index("routing") :])
    assert all(parts.values())
    if cost == 0:
        assert parts == {}
        return
    bills = [
        price(world.model, world.usage) for world in counterfactual_bills(model, usage, levers)
    ]
    first = next(bill for bill in bills if bill is not None)
    assert cost + sum(parts.values()) == first


@given(st.sampled_from([HAIKU, SONNET, OPUS]), usages, levers)
def test_each_part_is_one_lever_switched_on_and_nothing_else(
    model: str, usage: Usage, levers: Levers
) -> None:
    chain = list(counterfactual_bills(model, usage, levers))
    assert (chain[-1].model, chain[-1].usage) == (model, usage)
    untouched = {
        "routing": levers.baseline in (None, model),
        "compaction": levers.trimmed == 0,
        "output-cap": levers.uncut is None or levers.uncut <= usage.output_tokens,
        "prompt-caching": not levers.planned,
        "batch": not levers.queued or usage.service_tier == "standard",
    }
    for before, after in pairwise(chain):
        if untouched[after.cause]:
            assert (before.model, before.usage) == (after.model, after.usage)


def test_a_hit_on_a_prefix_kept_warm_would_have_read_it() -> None:
    made = Usage(50, 100, cache_write_5m_tokens=2_000)
    assert usage_of_miss(made, warm=True) == Usage(50, 100, cache_read_tokens=2_000)
    assert usage_of_miss(made, warm=False) == made
    read = Usage(50, 100, cache_read_tokens=2_000)
    assert usage_of_miss(read, warm=True) == read
    assert usage_of_miss(read, warm=False) == Usage(50, 100, cache_write_5m_tokens=2_000)
    hour = Usage(50, 100, 0, 500, 2_000)
    assert usage_of_miss(hour, warm=False) == Usage(50, 100, cache_write_1h_tokens=2_500)


def test_a_hit_stands_for_this_callers_own_way_of_asking() -> None:
    made = Usage(100, 20, service_tier="batch")
    assert usage_of_miss(made, warm=False) == Usage(100, 20)
    assert usage_of_miss(Usage(100, 20), warm=False, batch=True, speed="fast") == made
    assert usage_of_miss(Usage(100, 20), warm=False, speed="fast") == Usage(100, 20, speed="fast")
    longer = usage_of_miss(Usage(100, 20), warm=False, longer_chars=25, model=HAIKU)
    assert longer == Usage(110, 20)
    assert usage_of_miss(Usage(4, 20), warm=False, longer_chars=-25, model=HAIKU) == Usage(0, 20)


def test_a_declared_question_has_a_prompt_of_its_own() -> None:
    plain = query("x" * 2_500, model=HAIKU)
    declared = replace(plain, controls=Controls(declared=Declaration("What?")))
    made = Usage(20_000, 50)
    assert usage_for(plain, made, HAIKU) == made
    assert usage_for(declared, made, HAIKU) == Usage(1_000, 50)
    cached = Usage(20_000, 50, cache_read_tokens=800)  # of a prefix that this prompt may share
    assert usage_for(declared, cached, HAIKU) == Usage(200, 50, cache_read_tokens=800)
    longer = Usage(100, 50, cache_write_5m_tokens=1_200)  # it cannot share this one
    assert usage_for(declared, longer, HAIKU) == Usage(1_000, 50)


@given(usages, st.booleans())
def test_a_missed_prompt_has_as_many_tokens_as_the_one_that_was_asked(
    usage: Usage, warm: bool
) -> None:
    def prompt(of: Usage) -> int:
        return (
            of.input_tokens
            + of.cache_write_5m_tokens
            + of.cache_write_1h_tokens
            + of.cache_read_tokens
        )

    found = usage_of_miss(usage, warm=warm)
    assert prompt(found) == prompt(usage)
    assert found.output_tokens == usage.output_tokens


@pytest.mark.parametrize("kind", ["exact", "semantic", "coalesced"])
def test_a_hit_saves_its_whole_miss(kind: str) -> None:
    assert savings.hit_savings(kind, 700) == {kind: 700}
    assert savings.hit_savings(kind, None) == {}


def test_a_stale_answer_saves_nothing_for_the_failed_call_was_free() -> None:
    assert savings.hit_savings("stale", 700) == {}


def test_tokens_of_one_tokenizer_are_not_those_of_another() -> None:
    assert rescale_tokens(Usage(340, 34), "claude-haiku-4-5", HAIKU) == Usage(462, 46)
    assert rescale_tokens(Usage(340, 34), OPUS, HAIKU) == Usage(340, 34)


def test_what_a_lost_call_may_cost_is_bounded_by_its_bytes_and_its_cap() -> None:
    def bounds(**given: object) -> Bounds:
        whole = {
            "requested": Usage(),
            "prompt": None,
            "body_bytes": 1_000,
            "max_tokens": 100,
            "opaque": False,
        }
        return savings.cost_bounds(price, HAIKU, **{**whole, **given})  # type: ignore[arg-type]

    # 1,000 bytes as one-hour writes at 0.20, and 100 tokens at 0.50
    assert bounds() == Bounds(0, 200_000 + 50_000)
    assert bounds(attempts=3) == Bounds(0, 750_000)
    # The prompt is known: 40 x 0.1, and one token written for certain
    heard = Usage(40, 1)
    assert bounds(prompt=heard) == Bounds(4_500, 4_000 + 50_000)
    assert bounds(prompt=heard, attempts=2) == Bounds(4_500, 54_000 + 250_000)
    assert bounds(opaque=True) == bounds(max_tokens=None) == Bounds(0, None)
    assert bounds(requested=Usage(inference_geo="us")) == Bounds(0, 275_000)
    # No answer is longer than Claude's window, whatever a caller allows.
    assert bounds(max_tokens=10**9) == bounds(max_tokens=10**6)
    assert bounds(prompt=heard, max_tokens=10**9) == bounds(prompt=heard, max_tokens=10**6)


# Of one step: what has several (a compaction, an adviser) is opaque, and has no upper bound.
@given(
    usages.map(lambda usage: replace(usage, speed="standard", iterations=())),
    st.integers(0, 10**6),
)
def test_no_prompt_that_fits_into_the_bytes_costs_more_than_the_bound(
    usage: Usage, more: int
) -> None:
    prompt = (
        usage.input_tokens
        + usage.cache_write_5m_tokens
        + usage.cache_write_1h_tokens
        + usage.cache_read_tokens
    )
    found = savings.cost_bounds(
        price,
        HAIKU,
        requested=Usage(inference_geo=usage.inference_geo),
        prompt=None,
        body_bytes=prompt + more,
        max_tokens=usage.output_tokens,
        opaque=False,
    )
    cost = price(HAIKU, replace(usage, web_searches=0))
    assert found.most is not None
    assert cost is not None
    assert found.least <= cost <= found.most
