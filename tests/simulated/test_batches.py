from __future__ import annotations

from typing import Any

import anthropic
import pytest
from anthropic.types.messages import MessageBatch

from tests.simulated.conftest import HEADERS, MODEL, Claude, Start

DAY_S = 24 * 3_600


def item(custom_id: str, text: str = "Hello", **given: Any) -> Any:
    params = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        **given,
    }
    return {"custom_id": custom_id, "params": params}


def counts(batch: MessageBatch) -> dict[str, int]:
    return {kind: n for kind, n in batch.request_counts.to_dict().items() if n}  # type: ignore[misc]


@pytest.fixture
async def claude(start: Start) -> Claude:
    return await start(batch_s=60.0)


async def test_a_batch_is_taken_answered_read_and_deleted(claude: Claude) -> None:
    batches = claude.sdk().messages.batches
    made = await batches.create(requests=[item("a"), item("b", "[[sim words=30]]", max_tokens=9)])
    assert (made.processing_status, counts(made)) == ("in_progress", {"processing": 2})
    assert made.results_url is None
    claude.clock.now += 59
    assert counts(await batches.retrieve(made.id)) == {"processing": 2}
    claude.clock.now += 1
    ended = await batches.retrieve(made.id)
    assert (ended.processing_status, counts(ended)) == ("ended", {"succeeded": 2})
    assert ended.ended_at
    assert (ended.ended_at - ended.created_at).total_seconds() == 60
    assert ended.results_url
    assert ended.results_url.startswith(claude.url)
    results = {result.custom_id: result.result async for result in await batches.results(made.id)}
    assert results.keys() == {"a", "b"}
    assert results["a"].type == "succeeded"
    assert results["a"].message.usage.service_tier == "batch"
    assert results["b"].type == "succeeded"
    assert results["b"].message.stop_reason == "max_tokens"
    assert (await batches.delete(made.id)).id == made.id
    with pytest.raises(anthropic.NotFoundError):
        await batches.retrieve(made.id)


async def test_bad_params_show_in_the_results_only(claude: Claude) -> None:
    batches = claude.sdk().messages.batches
    made = await batches.create(
        requests=[
            item("good"),
            item("streamed", stream=True),
            item("warming", max_tokens=0),
            item("hot", temperature=1),
            item("unknown", model="claude-0"),
            item("fast", speed="fast"),
            item("overloaded", "[[sim error=529]]"),
        ]
    )
    claude.clock.now += 60
    assert counts(await batches.retrieve(made.id)) == {"succeeded": 1, "errored": 6}
    types = {}
    async for line in await batches.results(made.id):
        if line.result.type == "errored":
            types[line.custom_id] = line.result.error.error.type
    assert types == {
        "streamed": "invalid_request_error",
        "warming": "invalid_request_error",
        "hot": "invalid_request_error",
        "unknown": "not_found_error",
        "fast": "invalid_request_error",
        "overloaded": "overloaded_error",
    }


async def test_a_cancelled_batch_keeps_what_was_answered(start: Start) -> None:
    claude = await start(batch_s=100.0, cancel_s=3.0)
    batches = claude.sdk().messages.batches
    made = await batches.create(requests=[item(str(n)) for n in range(10)])
    claude.clock.now += 35
    cancelled = await batches.cancel(made.id)
    assert cancelled.processing_status == "canceling"
    assert cancelled.cancel_initiated_at
    claude.clock.now += 2
    assert (await batches.retrieve(made.id)).processing_status == "canceling"
    claude.clock.now += 1
    ended = await batches.retrieve(made.id)
    assert (ended.processing_status, counts(ended)) == ("ended", {"succeeded": 3, "canceled": 7})
    with pytest.raises(anthropic.BadRequestError):
        await batches.cancel(made.id)


async def test_what_is_not_answered_in_a_day_expires(start: Start) -> None:
    claude = await start(batch_s=2.0 * DAY_S)
    batches = claude.sdk().messages.batches
    made = await batches.create(requests=[item(str(n)) for n in range(4)])
    claude.clock.now += DAY_S
    ended = await batches.retrieve(made.id)
    assert (ended.processing_status, counts(ended)) == ("ended", {"succeeded": 1, "expired": 3})


async def test_results_are_not_there_before_the_end_nor_after_29_days(claude: Claude) -> None:
    batches = claude.sdk().messages.batches
    made = await batches.create(requests=[item("a")])
    path = f"/v1/messages/batches/{made.id}/results"
    assert (await claude.http.get(path, headers=HEADERS)).status_code == 404
    with pytest.raises(anthropic.BadRequestError):
        await batches.delete(made.id)
    claude.clock.now += 29 * DAY_S - 1
    assert (await claude.http.get(path, headers=HEADERS)).status_code == 200
    claude.clock.now += 1
    assert (await claude.http.get(path, headers=HEADERS)).status_code == 404
    assert (await batches.retrieve(made.id)).archived_at


async def test_batches_are_listed_by_pages_to_their_own_account(claude: Claude) -> None:
    batches = claude.sdk().messages.batches
    made = [(await batches.create(requests=[item("a")])).id for _ in range(5)]
    assert [batch.id async for batch in batches.list(limit=2)] == made[::-1]
    before = await batches.list(limit=2, before_id=made[0])
    assert ([batch.id for batch in before.data], before.has_more) == ([made[2], made[1]], True)
    assert [batch async for batch in claude.sdk("two").messages.batches.list()] == []
    with pytest.raises(anthropic.NotFoundError):
        await claude.sdk("two").messages.batches.retrieve(made[0])
    for query in ("limit=0", "limit=1001", "limit=x", "after_id=none"):
        response = await claude.http.get(f"/v1/messages/batches?{query}", headers=HEADERS)
        assert response.status_code == 400


async def test_a_malformed_batch_is_refused_at_once(claude: Claude) -> None:
    for requests in (
        [],
        [item("a"), item("a")],
        [item("not allowed")],
        [item("x" * 65)],
        [{"custom_id": "a"}],
        ["a"],
    ):
        response = await claude.http.post(
            "/v1/messages/batches", json={"requests": requests}, headers=HEADERS
        )
        assert response.status_code == 400


async def test_a_batch_shares_the_prompt_cache_in_the_order_of_time(claude: Claude) -> None:
    system = [{"type": "text", "text": "x" * 2_500, "cache_control": {"type": "ephemeral"}}]
    batches = claude.sdk().messages.batches
    made = await batches.create(requests=[item(n, system=system) for n in ("a", "b")])
    claude.clock.now += 29  # before the first is answered
    assert (await claude.ask(system=system))["usage"]["cache_creation_input_tokens"] == 1_000
    claude.clock.now += 31
    reads = [
        line.result.message.usage.cache_read_input_tokens
        async for line in await batches.results(made.id)
        if line.result.type == "succeeded"
    ]
    assert reads == [1_000, 1_000]
