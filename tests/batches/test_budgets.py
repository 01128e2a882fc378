"""Budgets hold batches and jobs: item by item, at the batch price, for as long as it takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from cacheserver.batches.jobs import Job
from cacheserver.cache.budget_verdict import Reservation
from cacheserver.core import json_text
from cacheserver.core.ledger_row import Row
from cacheserver.ledger.export import LedgerExport
from tests.batches.house import BatchHouse, item
from tests.batches.test_batches import results, until, until_sent, waiting
from tests.batches.test_jobs import pooled
from tests.budgets.test_through_the_door import HAIKU, OPUS, rules, stands

BATCHES = "/v1/messages/batches"
NANO = 1_000_000_000
LONG_S = 80_000.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path) as house:
        yield house


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    """One whose batches take most of a day."""
    async with BatchHouse.start(tmp_path, batch_s=LONG_S) as house:
        yield house


async def sent(house: BatchHouse, *requests: Any, **headers: str) -> str:
    answer = await house.http.post(
        BATCHES,
        json={"requests": list(requests)},
        headers={k.replace("_", "-"): v for k, v in headers.items()},
    )
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return id


async def day(house: BatchHouse) -> tuple[int, int]:
    """What is spent and reserved of the tenant's day, in nanodollars."""
    await house.parts.budgets.flush()
    usd = (await stands(house))[0]["usd"]
    return round(float(usd["spent"]) * NANO), round(float(usd["reserved"]) * NANO)


async def rows(house: BatchHouse) -> list[Row]:
    await house.parts.ledger.flush()
    export = LedgerExport(house.parts.ledger.redis, prefix=house.parts.ledger.prefix)
    now = house.clock()
    return [row async for _, found in export.minutes(now - 200_000, now + 60) for row in found]


def error_of(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["result"]["error"]["error"]
    return found


async def test_what_is_not_paid_for_any_more_is_a_billing_error_that_says_until_when(
    house: BatchHouse,
) -> None:
    await rules(house, daily={"tokens": 1}, at_limit="refuse")
    id = await sent(house, item("one", "Why is the sky blue?"), item("two"), item("three"))
    found = await results(house, id)
    assert found["one"]["result"]["type"] == "succeeded"
    for name in ("two", "three"):
        assert error_of(found[name])["type"] == "billing_error"
        cache = found[name]["cache"]
        assert cache["budget_resets_at"] in error_of(found[name])["message"]
        assert (cache["kind"], cache["reason"]) == ("miss", "budget")
        assert (cache["budget"], cache["cost_usd"]) == ("tenant/day/tokens", "0.000000000")
    assert [len(batch) for batch in house.sent] == [1]
    refused = [row for row in await rows(house) if row.reason == "budget"]
    assert [(row.outcome, row.status, row.cost) for row in refused] == [("miss", 402, 0)] * 2
    assert {row.id for row in refused} == {
        found[n]["cache"]["decision_id"] for n in ("two", "three")
    }


async def test_what_is_held_by_others_is_waited_for(slow: BatchHouse) -> None:
    """A large `max_tokens` holds what its answer will not cost."""
    house = slow
    await rules(house, daily={"usd": 0.01}, at_limit="refuse")
    id = await sent(house, item("one", "Why is the sky blue?", max_tokens=60_000), item("two"))
    await until_sent(house)
    spent, reserved = await day(house)
    assert (spent, reserved > NANO // 100) == (0, True)
    assert (await house.ask("And of Spain?")).status_code == 402  # a live one is told at once
    house.clock.ahead_s += LONG_S

    async def both_sent() -> bool:
        return len(house.sent) == 2

    await until(house, both_sent)
    await until_sent(house)
    house.clock.ahead_s += LONG_S
    found = await results(house, id)
    assert {line["result"]["type"] for line in found.values()} == {"succeeded"}
    assert [len(batch) for batch in house.sent] == [1, 1]


async def test_what_waits_for_room_does_not_wait_for_ever(house: BatchHouse) -> None:
    house.clock.to_mid_month()
    await rules(house, monthly={"tokens": 1}, at_limit="refuse")
    work = house.batching._context.work

    async def works() -> bool:
        return bool(work.token)

    await until(house, works)
    query = await a_query(house)
    held = await house.parts.budgets.hold(query, "b:0", house.clock(), token=work.token)
    assert isinstance(held, Reservation)
    id = await sent(house, item("two"))
    await house.batching.changed()
    house.clock.ahead_s += 86_401
    found = await results(house, id)
    assert error_of(found["two"])["type"] == "billing_error"
    assert "held by requests under way" in error_of(found["two"])["message"]


async def test_cache_only_answers_the_stored_items_of_a_batch(house: BatchHouse) -> None:
    await house.ask("What is the capital of France?")
    await rules(house, daily={"usd": 0}, at_limit="cache-only")
    id = await sent(house, item("known"), item("new", "How far is the moon?"))
    found = await results(house, id)
    assert found["known"]["cache"]["kind"] == "exact"
    assert error_of(found["new"])["type"] == "not_found_error"
    assert found["new"]["cache"]["reason"] == "budget"
    assert house.sent == []


async def test_the_cheapest_tier_answers_a_batch_and_is_not_kept_for_later(
    house: BatchHouse,
) -> None:
    await rules(house, daily={"usd": 0}, at_limit="cheaper")
    id = await sent(house, item("a", model=OPUS), item("again", model=OPUS))
    found = await results(house, id)
    assert {line["result"]["message"]["model"] for line in found.values()} == {HAIKU}
    assert [[each["params"]["model"] for each in batch] for batch in house.sent] == [[HAIKU]]
    decision = (await house.http.get(f"/v1/decisions/{found['a']['cache']['decision_id']}")).json()
    assert (decision["unstored"], decision["asked_how"]["route"]["reason"]) == ("budget", "budget")
    await rules(house)
    again = await house.ask("What is the capital of France?", model=OPUS)
    assert (again.headers["x-cache"], again.json()["model"]) == ("miss", OPUS)


async def test_a_rewording_is_given_the_cheaper_answer_too(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, similarity=None) as house:
        await rules(house, daily={"usd": 0}, at_limit="cheaper")
        id = await sent(
            house,
            item("a", "What is the capital of France?", model=OPUS),
            item("b", "What's the capital of France?", model=OPUS),
        )
        found = await results(house, id)
        assert [len(batch) for batch in house.sent] == [1]
        assert found["b"]["cache"]["kind"] == "coalesced"


async def test_what_is_asked_twice_ends_twice_where_the_cheaper_tier_fails(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, similarity=0.95) as house:
        await rules(house, daily={"usd": 0}, at_limit="cheaper")
        twice = [item(n, "What is the capital of France?", model=OPUS, temperature=7) for n in "ab"]
        found = await results(house, await sent(house, *twice))
        assert {line["result"]["type"] for line in found.values()} == {"errored"}
        assert [len(batch) for batch in house.sent] == [1]


async def test_a_warning_lets_batches_in_and_counts_them(house: BatchHouse) -> None:
    await rules(house, daily={"usd": 0}, at_limit="warn")
    found = await results(house, await sent(house, item("a"), item("b", "How far is the moon?")))
    paid = sum(round(float(line["cache"]["cost_usd"]) * NANO) for line in found.values())
    assert await day(house) == (paid, 0)


async def test_half_the_price_is_held_once_for_the_same_question_and_for_hours(
    slow: BatchHouse,
) -> None:
    house = slow
    house.clock.ahead_s += 86_460 - house.clock() % 86_400  # a day begins: none ends on the way
    while time.gmtime(house.clock()).tm_mday > 20:  # nor a month, in the days a batch may take
        house.clock.ahead_s += 86_400
    await rules(house, daily={"usd": 100}, at_limit="refuse")
    live = await house.parts.budgets.admit(await a_query(house), "dec_live", house.clock())
    assert live is not None
    _, full = await day(house)
    id = await sent(house, *(item(f"r{n}") for n in range(5)))
    other = await sent(house, item("late"))
    await until(house, lambda: waiting(house, other, 1))
    _, both = await day(house)
    assert both - full == pytest.approx(full / 2, abs=1)
    house.clock.ahead_s += 10_000  # far past the lease of a live one
    _, left = await day(house)
    assert left == both - full
    house.clock.ahead_s += LONG_S
    found = await results(house, id) | await results(house, other)
    paid = round(float(found["r0"]["cache"]["cost_usd"]) * NANO)
    kinds = Counter(line["cache"]["kind"] for line in found.values())
    assert kinds == {"miss": 1, "coalesced": 5}
    month = (await stands(house))[1]["usd"]  # a batch counts in the day it was let in
    assert (round(float(month["spent"]) * NANO), float(month["reserved"])) == (paid, 0)


async def a_query(house: BatchHouse) -> Any:
    """The one question of these tests, as the server would read it."""
    raw = json_text.dumps(item("a")["params"])
    tenant = await house.parts.tenants.get("default")
    return house.batching._context.read(Job("x", "batch", "default", 0, 1), tenant, raw)


async def test_whatever_becomes_of_items_nothing_stays_held_and_each_has_a_row(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path, batch_s=100_000.0) as house:
        await all_ends(house)


async def all_ends(house: BatchHouse) -> None:
    await rules(house, daily={"usd": 100}, at_limit="refuse")
    asked = [item(f"r{n}", f"What is {n} plus one hundred?") for n in range(8)]
    bad = [item("no-model", model="claude-0"), item("no-messages", messages=[])]
    canceled = await sent(house, *bad, *asked)
    await until_sent(house)
    house.clock.ahead_s += 30_000
    await house.http.post(f"{BATCHES}/{canceled}/cancel")
    first = await results(house, canceled)
    expired = await sent(house, item("x", "Who?"), item("y", "Where?"))
    await until_sent(house)
    house.clock.ahead_s += 86_401
    second = await results(house, expired)
    lines = [*first.values(), *second.values()]
    kinds = Counter(line["result"]["type"] for line in lines)
    assert kinds.keys() == {"succeeded", "canceled", "errored", "expired"}
    days = await house.http.get("/v1/budget")
    assert {float(one["usd"]["reserved"]) for one in days.json()["budgets"]} == {0}
    kept = {row.id: row for row in await rows(house) if row.outcome != "background"}
    assert kept.keys() == {line["cache"]["decision_id"] for line in lines}
    ends = {
        "canceled": ("failed", "canceled", 499, 0),
        "expired": ("failed", "expired", 504, 0),
    }
    for line in lines:
        row = kept[line["cache"]["decision_id"]]
        if (end := line["result"]["type"]) in ends:
            assert (row.outcome, row.reason, row.status, row.cost) == ends[end]
        elif end == "errored":
            assert (row.outcome, row.cost, row.saved) == ("failed", 0, {})
    assert kept[first["no-messages"]["cache"]["decision_id"]].reason == "refused"
    assert kept[first["no-messages"]["cache"]["decision_id"]].status == 400
    stats = await house.parts.decision_log.stats("default")
    assert stats["requests"] == len(lines)


async def test_a_batch_is_refused_when_nothing_is_left(house: BatchHouse) -> None:
    await house.ask("What is the capital of France?")
    await rules(house, daily={"usd": 0}, at_limit="refuse")
    client = house.sdk().with_options(max_retries=2)
    with pytest.raises(anthropic.APIStatusError) as refused:
        await client.messages.batches.create(requests=[item("a")])
    assert refused.value.status_code == 402
    answer = refused.value.response
    assert answer.headers["x-cache-reason"] == "budget"
    assert answer.headers["x-budget"] == "tenant/day/usd"
    assert answer.headers["x-budget-resets-at"] in answer.json()["error"]["message"]
    assert await house.batching.jobs.batches("default") == []
    found = await results(house, await sent(house, item("a"), cache_control="only-if-cached"))
    assert found["a"]["cache"]["kind"] == "exact"  # hits are free


async def test_a_job_is_refused_when_nothing_is_left_but_for_what_is_stored(
    house: BatchHouse,
) -> None:
    known = {"messages": item("a")["params"]["messages"], "model": HAIKU, "max_tokens": 100}
    await house.ask("What is the capital of France?")
    await rules(house, daily={"usd": 0}, at_limit="refuse")
    for path, more in (("/v1/jobs", {}), ("/v1/query", {"when": "batch"})):
        refused = await house.http.post(path, json={"prompt": "Why?", "model": HAIKU, **more})
        assert refused.status_code == 402
        assert refused.json()["error"]["type"] == "billing_error"
        assert (refused.headers["x-cache"], refused.headers["x-cache-reason"]) == ("miss", "budget")
        row = next(r for r in await rows(house) if r.id == refused.headers["x-cache-decision"])
        assert (row.outcome, row.reason, row.status) == ("miss", "budget", 402)
    taken = await house.http.post("/v1/jobs", json=known)
    job = await house.ended(taken.json()["id"])
    assert job["result"]["kind"] == "exact"


@pytest.mark.parametrize("at_limit", ["warn", "cheaper", "cache-only"])
async def test_softer_ends_take_batches_and_jobs(house: BatchHouse, at_limit: str) -> None:
    await rules(house, daily={"usd": 0}, at_limit=at_limit)
    assert await sent(house, item("a"))
    assert (await house.job("How far is the moon?")).status_code == 202


async def test_a_job_the_budget_ran_out_for_says_so(house: BatchHouse) -> None:
    taken = (await house.job("How far is the moon?", deadline=3_600)).json()["id"]
    assert (await house.ended(taken))["result"]["type"] == "succeeded"
    await rules(house, daily={"usd": 0}, at_limit="cache-only")
    for deadline in (3_600, 3 * 3_600):  # at once, and in a batch
        taken = (await house.job("How far is the sun?", deadline=deadline)).json()["id"]
        result = (await house.ended(taken))["result"]
        assert (result["type"], result["reason"]) == ("errored", "budget")
        decision = await house.http.get(f"/v1/decisions/{result['decision_id']}")
        assert decision.json()["status"] == 404


async def test_what_was_held_for_a_batch_is_not_held_twice_when_it_is_asked_at_once(
    slow: BatchHouse,
) -> None:
    house = slow
    await rules(house, daily={"usd": 100}, at_limit="refuse")
    taken = (await house.job("How far is the moon?", deadline=3 * 3_600)).json()["id"]
    await pooled(house, 1)
    assert (await day(house))[1] > 0
    house.clock.ahead_s += 61
    await until_sent(house)
    house.clock.ahead_s += 3 * 3_600
    job = await house.ended(taken)
    assert job["result"]["usage"]["service_tier"] == "standard"
    paid = round(float(job["result"]["cost_usd"]) * NANO)
    await house.parts.budgets.flush()
    month = (await stands(house))[1]["usd"]
    assert (round(float(month["spent"]) * NANO), float(month["reserved"])) == (paid, 0)


async def test_who_leaves_leaves_what_is_held_to_those_who_stay(house: BatchHouse) -> None:
    await rules(house, daily={"usd": 100}, at_limit="refuse")
    one = (await house.job("How far is the moon?")).json()["id"]
    await pooled(house, 1)
    two = (await house.job("How far is the moon?")).json()["id"]
    await until(house, lambda: waiting(house, two, 1))
    _, held = await day(house)
    assert held > 0
    await house.http.delete(f"/v1/jobs/{one}")
    assert (await house.ended(one))["result"]["type"] == "canceled"
    assert await day(house) == (0, held)
    await house.http.delete(f"/v1/jobs/{two}")
    assert (await house.ended(two))["result"]["reason"] == "canceled"
    assert await day(house) == (0, 0)
