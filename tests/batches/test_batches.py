"""The Message Batches API through the official SDK: what goes to Claude, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.batches.house import BatchHouse, item


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path) as house:
        yield house


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    """One in which the probability decides, not the cosine alone."""
    async with BatchHouse.start(tmp_path, similarity=None) as house:
        yield house


async def results(house: BatchHouse, id: str, key: str = "any") -> dict[str, Any]:
    await house.ended(id, key=key)
    lines = await house.sdk(key).messages.batches.results(id)
    return {line.custom_id: line.to_dict() async for line in lines}


async def test_a_batch_is_taken_answered_read_and_deleted(house: BatchHouse) -> None:
    batches = house.sdk().messages.batches
    made = await batches.create(requests=[item("a", "Why is the sky blue?"), item("b")])
    assert made.id.startswith("msgbatch_")
    assert made.request_counts.processing == 2
    found = await results(house, made.id)
    assert found.keys() == {"a", "b"}
    assert found["a"]["result"]["message"]["usage"]["service_tier"] == "batch"
    assert "Why is the sky blue?" in found["a"]["result"]["message"]["content"][0]["text"]
    ended = await batches.retrieve(made.id)
    assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 2)
    assert ended.results_url == f"/v1/messages/batches/{made.id}/results"
    assert len(house.sent) == 1
    assert (await batches.delete(made.id)).id == made.id
    with pytest.raises(anthropic.NotFoundError):
        await batches.retrieve(made.id)


async def test_what_is_stored_is_not_sent(house: BatchHouse) -> None:
    await house.ask("What is the capital of France?")
    made = await house.sdk().messages.batches.create(
        requests=[item("known"), item("new", "How far is the moon?")]
    )
    found = await results(house, made.id)
    assert found["known"]["cache"]["kind"] == "exact"
    assert found["known"]["cache"]["cost_usd"] == "0.000000000"
    assert found["new"]["cache"]["kind"] == "miss"
    assert [[each["params"]["messages"][0]["content"] for each in sent] for sent in house.sent] == [
        ["How far is the moon?"]
    ]


async def test_a_batch_that_is_all_stored_reaches_nobody(house: BatchHouse) -> None:
    await house.ask("What is the capital of France?")
    made = await house.sdk().messages.batches.create(requests=[item("a"), item("b")])
    assert {line["cache"]["kind"] for line in (await results(house, made.id)).values()} == {"exact"}
    assert house.sent == []


async def test_what_is_asked_twice_is_sent_once_and_answers_both(strict: BatchHouse) -> None:
    house = strict
    requests = [item(f"r{n}", f"What is {n % 3} times ten thousand?") for n in range(9)]
    made = await house.sdk().messages.batches.create(requests=requests)
    found = await results(house, made.id)
    assert [len(sent) for sent in house.sent] == [3]
    for n in range(9):
        text = found[f"r{n}"]["result"]["message"]["content"][0]["text"]
        assert f"What is {n % 3} times" in text
    kinds = sorted(line["cache"]["kind"] for line in found.values())
    assert kinds == ["coalesced"] * 6 + ["miss"] * 3
    assert len({line["result"]["message"]["id"] for line in found.values()}) == 9


async def test_a_rewording_the_decider_would_serve_is_sent_once(strict: BatchHouse) -> None:
    house = strict
    made = await house.sdk().messages.batches.create(
        requests=[
            item("a", "What is the capital of France?"),
            item("b", "What's the capital of France?"),
            item("c", "What is the capital of Spain?"),
            item("d", "What's the capital of France?", system="Answer in French."),
        ]
    )
    found = await results(house, made.id)
    assert [len(sent) for sent in house.sent] == [3]
    assert found["b"]["cache"]["kind"] == "coalesced"
    text = found["b"]["result"]["message"]["content"][0]["text"]
    assert "What is the capital of France?" in text
    assert found["d"]["cache"]["kind"] == "miss"


async def test_a_low_threshold_and_its_vetoes_hold_within_a_batch_too(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, similarity=0.75) as house:
        made = await house.sdk().messages.batches.create(
            requests=[
                item("a", "How do I enable two-factor sign-in?"),
                item(
                    "b", "How do I switch on two-factor authentication?"
                ),  # below what a target reaches
                item("c", "How do I disable two-factor sign-in?"),
            ]
        )
        found = await results(house, made.id)
        assert [len(sent) for sent in house.sent] == [2]
        kinds = [found[name]["cache"]["kind"] for name in "abc"]
        assert kinds == ["miss", "coalesced", "miss"]


async def test_a_rewording_is_asked_for_itself_where_the_first_brings_nothing(
    strict: BatchHouse,
) -> None:
    """An answer that was cut is given to who asked for it; it is nobody else's."""
    house = strict
    cut = {"max_tokens": 5}
    made = await house.sdk().messages.batches.create(
        requests=[
            item("a", "What is the capital of France?", **cut),
            item("b", "What's the capital of France?", **cut),
        ]
    )
    found = await results(house, made.id)
    assert [len(sent) for sent in house.sent] == [1, 1]
    assert "What's" in house.sent[1][0]["params"]["messages"][0]["content"]
    assert {line["result"]["message"]["stop_reason"] for line in found.values()} == {"max_tokens"}


@pytest.mark.parametrize(
    ("more", "end"), [({"max_tokens": 5}, "succeeded"), ({"temperature": 7}, "errored")]
)
async def test_what_is_asked_twice_ends_twice_also_where_nothing_can_be_kept_of_it(
    tmp_path: Path, more: dict[str, Any], end: str
) -> None:
    """By a threshold the second is a rewording of the first; it is the very same all the same."""
    async with BatchHouse.start(tmp_path, similarity=0.95) as house:
        twice = [item(name, "What is the capital of France?", **more) for name in "ab"]
        made = await house.sdk().messages.batches.create(requests=twice)
        found = await results(house, made.id)
        assert [len(sent) for sent in house.sent] == [1]
        assert {line["result"]["type"] for line in found.values()} == {end}
        costs = [Decimal(line["cache"]["cost_usd"]) for line in found.values()]
        assert sum(cost > 0 for cost in costs) == (end == "succeeded")


async def test_answers_of_a_batch_are_served_to_whoever_asks_next(house: BatchHouse) -> None:
    made = await house.sdk().messages.batches.create(requests=[item("a")])
    await results(house, made.id)
    answer = await house.ask("What is the capital of France?")
    assert answer.headers["x-cache"] == "exact"
    assert house.asked == []


async def test_a_batch_pays_half_which_is_the_caller_s_own_saving(house: BatchHouse) -> None:
    made = await house.sdk().messages.batches.create(requests=[item("a")])
    cache = (await results(house, made.id))["a"]["cache"]
    answer = await house.ask(
        "What is the capital of France?", headers={"cache-control": "no-cache"}
    )
    full = float(answer.headers["x-cost-usd"])
    assert float(cache["cost_usd"]) == pytest.approx(full / 2)
    assert float(cache["saved_usd"]) == 0
    decision = (await house.http.get(f"/v1/decisions/{cache['decision_id']}")).json()
    assert decision["cost_usd"] == cache["cost_usd"]
    stats = await house.parts.decision_log.stats("default")
    assert stats["batch_items"] == 1
    assert stats["cost_nanodollars"] > 0


async def test_a_tenant_sees_its_own_batches_only(house: BatchHouse) -> None:
    mine, theirs = await house.key("mine"), await house.key("theirs")
    batches = house.sdk(mine).messages.batches
    made = await batches.create(requests=[item("a")])
    await results(house, made.id, mine)
    others = house.sdk(theirs).messages.batches
    for attempt in (others.retrieve, others.cancel, others.delete, others.results):
        with pytest.raises(anthropic.NotFoundError):
            await attempt(made.id)
    assert [batch async for batch in others.list()] == []
    for path in (made.id, f"{made.id}/events"):
        answer = await house.http.get(f"/v1/jobs/{path}", headers={"x-api-key": theirs})
        assert answer.status_code == 404
    raw = f"/v1/messages/batches/{made.id}/results"
    assert (await house.http.get(raw, headers={"x-api-key": theirs})).status_code == 404
    other = await others.create(requests=[item("a")])
    found = await results(house, other.id, theirs)
    assert found["a"]["cache"]["kind"] == "miss"  # nor the answers


async def test_batches_are_listed_by_pages_the_newest_first(house: BatchHouse) -> None:
    batches = house.sdk().messages.batches
    made = []
    for _ in range(5):
        made.append((await batches.create(requests=[item("a")])).id)
        house.clock.ahead_s += 1
    assert [batch.id async for batch in batches.list(limit=2)] == made[::-1]
    before = await batches.list(limit=2, before_id=made[0])
    assert ([batch.id for batch in before.data], before.has_more) == ([made[2], made[1]], True)
    for query in ("limit=0", "limit=1001", "limit=x", "after_id=none", "before_id=msgbatch_1"):
        response = await house.http.get(f"/v1/messages/batches?{query}")
        assert (response.status_code, response.json()["type"]) == (400, "error")


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "requests"),
        ({}, "requests"),
        ([item("a"), item("a")], "requests.1.custom_id"),
        ([item("not allowed")], "requests.0.custom_id"),
        ([item("x" * 65)], "requests.0.custom_id"),
        ([item("")], "requests.0.custom_id"),
        ([{"params": {}}], "requests.0.custom_id"),
        ([{"custom_id": "a"}], "requests.0.params"),
        ([{"custom_id": "a", "params": []}], "requests.0.params"),
        (["a"], "requests.0.custom_id"),
        ([item(f"r{n}") for n in range(100_001)], "requests"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_batch_claude_would_refuse_is_refused_in_its_words(
    house: BatchHouse, requests: Any, field: str
) -> None:
    response = await house.http.post("/v1/messages/batches", json={"requests": requests})
    assert response.status_code == 400
    error = response.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert f"`{field}`" in error["error"]["message"]
    assert not house.upstream.requests


async def test_a_batch_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, max_body_bytes=1_000) as house:
        response = await house.http.post(
            "/v1/messages/batches", json={"requests": [item("a", "x" * 8_000)]}
        )
        assert response.status_code == 413
        assert response.json()["error"]["type"] == "request_too_large"


async def test_bad_params_end_errored_item_by_item(house: BatchHouse) -> None:
    made = await house.sdk().messages.batches.create(
        requests=[
            item("good"),
            item("no-messages", messages=[]),
            item("streamed", stream=True),
            item("hot", temperature=1),
            item("unknown", model="claude-0"),
            item("overloaded", "[[sim error=529]]"),
        ]
    )
    found = await results(house, made.id)
    types = {
        name: line["result"].get("error", {}).get("error", {}).get("type")
        for name, line in found.items()
    }
    assert types == {
        "good": None,
        "no-messages": "invalid_request_error",
        "streamed": "invalid_request_error",
        "hot": "invalid_request_error",
        "unknown": "not_found_error",
        "overloaded": "overloaded_error",
    }
    ended = await house.sdk().messages.batches.retrieve(made.id)
    assert (ended.request_counts.succeeded, ended.request_counts.errored) == (1, 5)


async def test_what_claude_gives_up_is_expired(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, batch_s=2 * 86_400.0) as house:
        made = await house.sdk().messages.batches.create(
            requests=[item(f"r{n}", f"What is {n} plus one hundred?") for n in range(4)]
        )
        await until_sent(house)
        house.clock.ahead_s += 86_401
        found = await results(house, made.id)
        kinds = sorted(line["result"]["type"] for line in found.values())
        assert kinds == ["expired"] * 3 + ["succeeded"]


async def test_a_batch_that_vanished_is_said_to_have_and_can_be_sent_again(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path, batch_s=1_000.0) as house:
        batches = house.sdk().messages.batches
        made = await batches.create(requests=[item("a")])
        await until_sent(house)
        house.upstream.reset()
        line = (await results(house, made.id))["a"]
        assert line["result"]["error"]["error"]["type"] == "not_found_error"
        assert "no longer has the batch" in line["result"]["error"]["error"]["message"]
        again = await batches.create(requests=[item("a")])
        await until_sent(house)
        house.clock.ahead_s += 1_000
        assert (await results(house, again.id))["a"]["result"]["type"] == "succeeded"


async def test_a_cancelled_batch_keeps_what_was_answered(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, batch_s=100.0) as house:
        batches = house.sdk().messages.batches
        made = await batches.create(
            requests=[item(f"r{n}", f"What is {n} plus one hundred?") for n in range(10)]
        )
        await until_sent(house)
        house.clock.ahead_s += 35
        assert (await batches.cancel(made.id)).processing_status in ("canceling", "ended")
        found = await results(house, made.id)
        kinds = [line["result"]["type"] for line in found.values()]
        assert (kinds.count("succeeded"), kinds.count("canceled")) == (3, 7)
        ended = await batches.retrieve(made.id)
        assert ended.cancel_initiated_at
        with pytest.raises(anthropic.BadRequestError):
            await batches.cancel(made.id)


async def test_cancelling_one_of_two_that_wait_for_the_same_leaves_the_other_its_answer(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path, batch_s=100.0) as house:
        batches = house.sdk().messages.batches
        one = await batches.create(requests=[item("a")])
        await until_sent(house)
        two = await batches.create(requests=[item("b")])
        await until(house, lambda: waiting(house, two.id, 1))
        await batches.cancel(one.id)
        house.clock.ahead_s += 100
        assert (await results(house, two.id))["b"]["result"]["type"] == "succeeded"
        assert (await results(house, one.id))["a"]["result"]["type"] == "succeeded"
        assert len(house.sent) == 1


async def test_neither_results_nor_deletion_before_the_end(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, batch_s=100.0) as house:
        batches = house.sdk().messages.batches
        made = await batches.create(requests=[item("a")])
        with pytest.raises(anthropic.BadRequestError):
            await batches.delete(made.id)
        path = f"/v1/messages/batches/{made.id}/results"
        assert (await house.http.get(path)).status_code == 404


async def test_switched_off_a_batch_goes_to_claude_as_it_came(house: BatchHouse) -> None:
    await house.ask("What is the capital of France?")
    response = await house.http.post(
        "/v1/messages/batches",
        json={"requests": [item("a"), item("b")]},
        headers={"x-cache-off": "batching"},
    )
    found = await results(house, response.json()["id"])
    assert [len(sent) for sent in house.sent] == [2]
    assert {line["cache"]["reason"] for line in found.values()} == {"batching-off"}


async def test_only_if_cached_sends_nothing(house: BatchHouse) -> None:
    response = await house.http.post(
        "/v1/messages/batches",
        json={"requests": [item("a")]},
        headers={"cache-control": "only-if-cached"},
    )
    found = await results(house, response.json()["id"])
    assert found["a"]["result"]["error"]["error"]["type"] == "not_found_error"
    assert house.sent == []


async def test_many_items_come_back_whole(house: BatchHouse) -> None:
    requests = [item(f"r{n}", f"Tell me about number {n}.", max_tokens=50) for n in range(300)]
    made = await house.sdk().messages.batches.create(requests=requests)
    found = await results(house, made.id)
    assert found.keys() == {f"r{n}" for n in range(300)}
    assert {line["result"]["type"] for line in found.values()} == {"succeeded"}


async def test_a_callers_own_key_has_its_own_batches_at_claudes(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, credentials="caller") as house:
        batches = house.sdk("sk-ant-one").messages.batches
        made = await batches.create(requests=[item("a")])
        ended = await batches.retrieve(made.id)
        assert ended.results_url == f"/v1/messages/batches/{made.id}/results"
        lines = [line async for line in await batches.results(made.id)]
        assert [line.custom_id for line in lines] == ["a"]
        assert [batch.id async for batch in batches.list()] == [made.id]
        others = house.sdk("sk-ant-two").messages.batches
        with pytest.raises(anthropic.NotFoundError):
            await others.retrieve(made.id)
        with pytest.raises(anthropic.NotFoundError):
            await others.results(made.id)


async def test_integers_and_marks_reach_claude_as_they_came(house: BatchHouse) -> None:
    big = 2**70 + 1
    tool = {"name": "t", "input_schema": {"type": "object", "maximum": big}}
    made = await house.sdk().messages.batches.create(requests=[item("a", tools=[tool])])
    await results(house, made.id)
    assert house.sent[0][0]["params"]["tools"] == [tool]


async def until(house: BatchHouse, there: Any) -> None:
    while not await there():
        await house.batching.changed()


async def until_sent(house: BatchHouse) -> None:
    """Return once every batch that was made is at Claude's, and known to be."""

    async def all_sent() -> bool:
        work = house.batching._context.work
        ships = [await work.batch(nonce) for nonce in await work.batches()]
        return bool(ships) and all(ship is not None and ship.state == "sent" for ship in ships)

    await until(house, all_sent)


async def waiting(house: BatchHouse, id: str, count: int) -> bool:
    return len(await house.batching._context.work.asks_of(id)) == count
