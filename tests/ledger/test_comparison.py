"""Cost of the same requests at one model: worked out by hand, and through a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.cache.answer import Settlement
from cacheserver.cache.request import Request
from cacheserver.core.ledger_row import Comparison, Row
from cacheserver.core.types import (
    Candidate,
    Decision,
    Hit,
    HitKind,
    Mark,
    Miss,
    Plan,
    PlannedCall,
    Route,
    Trim,
    Usage,
)
from cacheserver.ledger import row_codec, sums
from cacheserver.ledger.comparison import OPUS, SONNET, Comparisons, compare, compared_sums
from cacheserver.ledger.counterfactual import Levers, counterfactual_bills, usage_without_levers
from cacheserver.ledger.prompt_cache_warmth import PromptCacheWarmth
from cacheserver.ledger.recorder import LedgerRecorder
from cacheserver.pricing.prices import Pricer
from cacheserver.storage import stored_row
from tests.batches.house import BatchHouse, item
from tests.cache.entries import entry
from tests.cache.queries import query
from tests.house import ADMIN_KEY, MODEL, House
from tests.ledger.rows import hit, row, usages

NOW = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
HAIKU = "claude-haiku-5-5"
OLD = "claude-sonnet-4-6"  # of the older tokenizer: 2.5 characters of ours are 3.4 of its
PRICER = Pricer()


def price(model: str, usage: Usage) -> int | None:
    return PRICER.cost(model, usage, NOW)


@pytest.mark.parametrize(
    ("model", "usage", "opus", "sonnet"),
    [
        # Opus: 1,000 x 4,000 + 100 x 20,000 nanodollars. Sonnet: half of both rates.
        (HAIKU, Usage(1_000, 100), 6_000_000, 3_000_000),
        (OPUS, Usage(1_000, 100), 6_000_000, 3_000_000),
        # A batch of the caller's is half the price at each model.
        (HAIKU, Usage(1_000, 100, service_tier="batch"), 3_000_000, 1_500_000),
        # In the US: 11/10.
        (HAIKU, Usage(1_000, 100, inference_geo="us"), 6_600_000, 3_300_000),
        # Opus has a fast price, twice its own; Sonnet has none and is compared as it is.
        (OPUS, Usage(1_000, 100, speed="fast"), 12_000_000, 3_000_000),
        # 1,000 written for 5 minutes (5 and 2.5), 1,000 for an hour (8 and 4), 10,000 read (0.2
        # and 0.1), in thousands: 5,000 + 8,000 + 2,000 and 2,500 + 4,000 + 1,000.
        (HAIKU, Usage(0, 0, 1_000, 1_000, 10_000), 15_000_000, 7_500_000),
        # A long prompt is five times dearer at Haiku, and at no other model.
        (HAIKU, Usage(200_000), 800_000_000, 400_000_000),
        # Ten searches for 10 dollars a thousand, at any model.
        (HAIKU, Usage(0, 0, web_searches=10), 100_000_000, 100_000_000),
        # 250 tokens of the older tokenizer are 340 of Opus' and Sonnet's.
        (OLD, Usage(250), 1_360_000, 680_000),
        # Every step is at the one model: 1,000 in, and 10 out.
        (
            HAIKU,
            Usage(9, 9, iterations=((HAIKU, Usage(1_000)), (OPUS, Usage(0, 10)))),
            4_200_000,
            2_100_000,
        ),
        # The same where one step was counted by the older tokenizer.
        (HAIKU, Usage(1, iterations=((OLD, Usage(250)),)), 1_360_000, 680_000),
    ],
)
def test_tokens_are_priced_at_another_model(
    model: str, usage: Usage, opus: int, sonnet: int
) -> None:
    assert compare(price, model, usage) == Comparison(opus, sonnet)


def test_the_named_model_has_a_bill_if_it_has_a_price() -> None:
    # 340 tokens are 250 of the older tokenizer, x 3,000.
    assert compare(price, HAIKU, Usage(340), OLD) == Comparison(
        1_360_000, 680_000, model=OLD, named=750_000
    )
    assert compare(price, HAIKU, Usage(340), "gpt-9") == Comparison(1_360_000, 680_000)


levers = st.builds(
    Levers,
    planned=st.booleans(),
    queued=st.booleans(),
    trimmed=st.integers(0, 100_000),
    uncut=st.none() | st.integers(0, 100_000),
)


@given(usages, levers)
def test_a_call_is_compared_with_the_tokens_of_its_bill_without_levers(
    usage: Usage, levers: Levers
) -> None:
    first = next(counterfactual_bills(HAIKU, usage, levers))
    assert usage_without_levers(usage, levers) == first.usage


@given(usages, st.sampled_from([HAIKU, OPUS, OLD]), st.sampled_from([None, OLD, "gpt-9"]))
def test_a_remembered_comparison_is_the_one_that_is_worked_out(
    usage: Usage, model: str, named: str | None
) -> None:
    known = Comparisons(PRICER)
    for _ in range(2):
        assert known.of(model, usage, named, NOW) == compare(price, model, usage, named)


def test_a_comparison_has_the_prices_of_its_own_day() -> None:
    """Cache reads of Sonnet 5.5 became cheaper on 2026-10-07."""
    known, read = Comparisons(PRICER), Usage(cache_read_tokens=1_000)
    before = known.of(HAIKU, read, None, datetime(2026, 10, 6, 23, 59, tzinfo=UTC).timestamp())
    after = known.of(HAIKU, read, None, datetime(2026, 10, 7, tzinfo=UTC).timestamp())
    assert before is not None
    assert after is not None
    assert (before.sonnet, after.sonnet) == (200_000, 100_000)


def added(*rows: Row) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in rows:
        for place, number in sums.row_sums(one):
            found[sums.NAMES[place]] = found.get(sums.NAMES[place], 0) + number
    return found


def test_bills_stand_beside_the_cost_of_the_same_requests() -> None:
    rows = (
        row(cost=10, compared=Comparison(100, 50, model=HAIKU, named=20)),
        hit(compared=Comparison(200, 100)),  # before a model was named
        row(cost=7),  # of an earlier version: compared with nothing
    )
    opus, sonnet, named = compared_sums(added(*rows), [SONNET, HAIKU])
    assert (opus.model, opus.requests, opus.cost, opus.bill) == (OPUS, 2, 10, 300)
    assert (sonnet.model, sonnet.requests, sonnet.cost, sonnet.bill) == (SONNET, 2, 10, 150)
    assert (named.model, named.requests, named.cost, named.bill) == (HAIKU, 1, 10, 20)
    assert compared_sums(added(row(cost=7)), []) == []


def test_a_sum_over_several_named_models_is_no_models() -> None:
    one = row(compared=Comparison(1, 1, model=HAIKU, named=5))
    other = row(compared=Comparison(1, 1, model=OLD, named=7))
    models = [HAIKU, OLD, OPUS, SONNET]
    (*_, mixed) = compared_sums(added(one, other, one), models)
    assert (mixed.model, mixed.requests, mixed.bill) == (None, 3, 17)
    (*_, same) = compared_sums(added(other, other), models)
    assert (same.model, same.bill) == (OLD, 14)


def test_a_row_keeps_its_comparison_and_exports_it() -> None:
    for compared in (None, Comparison(3, 2), Comparison(3, 2, model=HAIKU, named=0)):
        one = row(compared=compared)
        assert stored_row.decode(one.id, stored_row.encode(one)) == one
    flat = row_codec.flat(row(compared=Comparison(3, 2, model=HAIKU, named=1)))
    assert {name: flat[name] for name in flat if name.startswith("compared_")} == {
        "compared_opus_nanodollars": 3,
        "compared_sonnet_nanodollars": 2,
        "compared_model": HAIKU,
        "compared_model_nanodollars": 1,
    }
    unnamed = row_codec.flat(row(compared=Comparison(3, 2)))
    assert unnamed["compared_model_nanodollars"] is None


def settled(decision: Decision, **given: Any) -> Comparison | None:
    """The comparison of a request that ended so."""
    request = Request(query("What is a rake?", model=HAIKU), NOW)
    recorder = LedgerRecorder(PRICER, PromptCacheWarmth())
    return recorder.row(request, Settlement(decision, **given)).compared


def test_a_call_is_compared_without_our_marks_and_with_what_was_left_out() -> None:
    planned = PlannedCall(
        b"{}",
        Route(SONNET, "task", baseline=OPUS),
        plan=Plan((Mark(("system", 0), "5m"),), "prefix"),
        trim=Trim("window", 2, 1_500),
    )
    usage = Usage(0, 100, 2_000, service_tier="batch")
    # 3,500 tokens in and 100 out, at the full price: 14,000 + 2,000 thousand at Opus.
    found = settled(
        Miss("empty"),
        model=SONNET,
        usage=usage,
        cost=price(SONNET, usage),
        call="msg_1",
        planned=planned,
        way="queued",
    )
    assert found == Comparison(16_000_000, 8_000_000)


@pytest.mark.parametrize(
    ("kind", "way", "expected"),
    [
        ("exact", "direct", Comparison(6_000_000, 3_000_000)),
        ("semantic", "batch", Comparison(3_000_000, 1_500_000)),  # the caller's own
        ("exact", "queued", Comparison(6_000_000, 3_000_000)),  # ours
        ("stale", "direct", None),
    ],
)
def test_a_hit_is_compared_as_it_would_have_been_asked(
    kind: HitKind, way: str, expected: Comparison | None
) -> None:
    usage = Usage(1_000, 100)
    found = entry(text="What is a rake?", model=HAIKU, usage=usage)
    hit = Hit(Candidate(found, 1.0), kind, "identical")
    assert settled(hit, model=HAIKU, usage=usage, cost=0, saved=1, way=way) == expected


@pytest.mark.parametrize(
    ("way", "opus"), [("direct", 3_000_000), ("batch", 3_000_000), ("queued", 6_000_000)]
)
def test_a_coalesced_request_has_the_tokens_of_the_call_it_waited_for(way: str, opus: int) -> None:
    hit, usage = Hit(None, "coalesced", "under-way"), Usage(1_000, 100, service_tier="batch")
    found = settled(hit, model=HAIKU, usage=usage, cost=0, saved=1, way=way)
    assert found == Comparison(opus, opus // 2)
    assert settled(hit, cost=0) is None  # its caller left before the answer


async def put(house: House, tenant: str, **fields: Any) -> Any:
    headers = {"x-api-key": ADMIN_KEY}
    return await house.http.put(f"/admin/v1/tenants/{tenant}", headers=headers, json=fields)


async def usage(house: House, key: str = "any", **params: str) -> dict[str, Any]:
    got = await house.http.get("/v1/usage", params=params, headers={"x-api-key": key})
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


async def rows_of(house: House) -> list[dict[str, Any]]:
    got = await house.http.get("/v1/usage/export", params={"format": "jsonl"})
    return [json.loads(line) for line in got.text.splitlines()]


def at_opus(usage: dict[str, Any]) -> Decimal:
    return Decimal(usage["input_tokens"] * 4_000 + usage["output_tokens"] * 20_000) / 10**9


async def test_hits_count_as_the_calls_they_would_have_been(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        assert (await put(house, "default", compare_with=OLD)).status_code == 200
        first = await house.ask("Capital of France?")
        for _ in range(2):
            await house.ask("Capital of France?")
        found = await usage(house, group_by="day")
        totals = found["totals"]
        compared = totals["comparisons"]
        bill = at_opus(first.json()["usage"])
        assert compared["estimate"] is True
        assert (compared["opus"]["model"], compared["opus"]["requests"]) == (OPUS, 3)
        assert Decimal(compared["opus"]["usd"]) == 3 * bill
        assert Decimal(compared["sonnet"]["usd"]) == 3 * bill / 2
        assert compared["named"]["model"] == OLD
        assert compared["opus"]["cost_usd"] == totals["cost_usd"] == compared["named"]["cost_usd"]
        assert Decimal(compared["opus"]["difference_usd"]) == 3 * bill - Decimal(totals["cost_usd"])
        assert found["groups"][0]["comparisons"] == compared
        exported = await rows_of(house)
        for name in ("opus", "sonnet"):
            summed = sum(one[f"compared_{name}_nanodollars"] for one in exported)
            assert Decimal(summed) / 10**9 == Decimal(compared[name]["usd"])
        named = sum(one["compared_model_nanodollars"] for one in exported)
        assert Decimal(named) / 10**9 == Decimal(compared["named"]["usd"])
        # Another name from now on: a sum over both is shown as no model's.
        assert (await put(house, "default", compare_with=SONNET)).status_code == 200
        await house.ask("Capital of France?")
        compared = (await usage(house))["totals"]["comparisons"]
        assert (compared["named"]["model"], compared["named"]["requests"]) == (None, 4)


async def test_a_curated_answer_counts_as_the_call_it_replaces(house: House) -> None:
    first = await house.ask("Capital of France?")
    id = first.headers["x-cache-entry"]
    headers = {"x-api-key": ADMIN_KEY}
    path = f"/admin/v1/entries/default/{id}/answer"
    done = await house.http.put(path, json={"text": "Paris."}, headers=headers)
    assert done.status_code == 200, done.text
    again = await house.ask("Capital of France?")
    assert again.headers["x-cache"] == "exact"
    compared = (await usage(house))["totals"]["comparisons"]
    assert Decimal(compared["opus"]["usd"]) == 2 * at_opus(first.json()["usage"])


async def test_what_is_not_known_or_free_has_no_bill(house: House) -> None:
    free = await house.ask("What? [[sim refusal=cyber]]")
    assert free.status_code == 200
    assert (await house.ask("What? [[sim error=500 should_retry=false]]")).status_code == 500
    await house.ask("What else?", model="claude-unheard-of-9", headers={"x-cache-tags": "u"})
    compared = (await usage(house))["totals"]["comparisons"]
    assert compared["opus"] == {
        "model": OPUS,
        "requests": 1,
        "cost_usd": "0.000000000",
        "usd": "0.000000000",
        "difference_usd": "0.000000000",
    }
    assert compared["named"] is None


async def test_a_model_of_ours_that_costs_nothing_is_not_free_elsewhere(house: House) -> None:
    kinds = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    prices = {MODEL: dict.fromkeys(kinds, 0)}
    headers = {"x-api-key": ADMIN_KEY}
    done = await house.http.put("/admin/v1/prices", headers=headers, json={"prices": prices})
    assert done.status_code == 200, done.text
    # One is asked, and the other joins it or is served by it.
    first, _ = await asyncio.gather(*(house.ask("Capital of France?") for _ in range(2)))
    totals = (await usage(house))["totals"]
    assert totals["cost_usd"] == "0.000000000"
    opus = totals["comparisons"]["opus"]
    assert opus["requests"] == 2
    assert Decimal(opus["usd"]) == 2 * at_opus(first.json()["usage"])


async def test_an_item_of_a_callers_batch_keeps_its_half_price(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        key = await house.key("acme")
        items = [item("a", "What is a rake?"), item("b", "What is a spade?")]
        made = await house.sdk(key).messages.batches.create(requests=items)
        await house.ended(made.id, key=key)
        exported = await house.http.get(
            "/v1/usage/export", params={"format": "jsonl"}, headers={"x-api-key": key}
        )
        for line in map(json.loads, exported.text.splitlines()):
            assert line["service_tier"] == "batch"
            whole = at_opus({name: line[name] for name in ("input_tokens", "output_tokens")})
            assert Decimal(line["compared_opus_nanodollars"]) / 10**9 == whole / 2


async def test_a_job_that_we_queued_is_compared_at_the_full_price(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        key = await house.key("acme")
        await house.send_at_once("acme")
        taken = await house.job("What is a rake?", key=key, when="batch")
        await house.ended(taken.json()["id"], key=key)
        exported = await house.http.get(
            "/v1/usage/export", params={"format": "jsonl"}, headers={"x-api-key": key}
        )
        (line,) = map(json.loads, exported.text.splitlines())
        whole = at_opus({name: line[name] for name in ("input_tokens", "output_tokens")})
        assert Decimal(line["compared_opus_nanodollars"]) / 10**9 == whole


async def test_a_model_without_a_price_is_not_compared_with(house: House) -> None:
    refused = await put(house, "acme", compare_with="claude-unheard-of-9")
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("`compare_with`")
    wrong = await put(house, "acme", compare_with=7)
    assert wrong.json()["error"]["message"].startswith("`compare_with`")


async def test_the_server_names_a_model_for_tenants_that_do_not(tmp_path: Path) -> None:
    async with House.open(tmp_path, compare_with=SONNET) as house:
        await house.ask("Capital of France?")
        compared = (await usage(house, ADMIN_KEY))["totals"]["comparisons"]
        assert compared["named"]["model"] == SONNET
        assert compared["named"]["usd"] == compared["sonnet"]["usd"]


async def test_cache_writes_for_five_minutes_and_an_hour_are_apart(house: House) -> None:
    system = "A catalogue of garden tools, page after page. " * 400
    for ttl in ("5m", "1h"):
        mark = {"type": "ephemeral", "ttl": ttl}
        block = {"type": "text", "text": f"{ttl} {system}", "cache_control": mark}
        await house.ask("What is a rake?", system=[block])
    found = await usage(house)
    exported = await rows_of(house)
    (model,) = found["models"]
    assert model["model"] == MODEL
    for name in ("cache_write_5m", "cache_write_1h"):
        written = [one[f"{name}_tokens"] for one in exported]
        assert sorted(map(bool, written)) == [False, True]
        assert sum(written) == found["totals"]["tokens"][name] == model["tokens"][name]


def test_a_stored_row_of_an_earlier_version_has_no_comparison() -> None:
    one = row()
    values = json.loads(stored_row.encode(one))
    earlier = json.dumps(values[: 1 + stored_row.STORED.index("compared")]).encode()
    assert stored_row.decode(one.id, earlier) == replace(one, compared=None)
