"""Questions that may wait: taken, batched or asked at once, followed, cancelled, told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.rules.batching import BatchRules
from tests.batches.house import BatchHouse, shut
from tests.batches.test_batches import until, until_sent
from tests.house import MODEL
from tests.live_ids import live_ids

HOUR = 3_600


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path) as house:
        yield house


async def rules(house: BatchHouse, **given: Any) -> None:
    tenant = await house.parts.tenants.get("default")
    await house.parts.tenants.put(replace(tenant, batching=BatchRules(**given)))


async def pooled(house: BatchHouse, count: int) -> None:
    """Return once so many asks wait in pools."""
    work = house.batching._context.work

    async def there() -> bool:
        return sum([await work.pooled(pool) for pool in await work.pools()]) == count

    await until(house, there)


CHECKS: dict[str, tuple[dict[str, Any], str]] = {  # and where the same question then comes from
    "met": ({"contains": ["moon"], "min_chars": 2}, "exact"),
    "not met": ({"contains": ["no such word"]}, "miss"),
    "a number too large": ({"schema": {"maximum": 2**64}}, "miss"),  # the answer is no number
}


@pytest.mark.parametrize("what", sorted(CHECKS))
async def test_a_question_with_a_check_may_wait(house: BatchHouse, what: str) -> None:
    check, then = CHECKS[what]
    question = {"prompt": "How far is the moon?", "model": MODEL, "check": check}
    taken = await house.http.post("/v1/jobs", content=json.dumps(question))
    assert taken.status_code == 202, taken.text
    await pooled(house, 1)
    house.clock.ahead_s += 60
    job = await house.ended(taken.json()["id"])
    assert job["counts"]["succeeded"] == 1
    again = await house.http.post("/v1/query", json=question)
    assert again.headers["x-cache"] == then


async def test_a_question_that_may_wait_is_batched_when_it_is_old_enough(
    house: BatchHouse,
) -> None:
    taken = await house.job("How far is the moon?")
    assert taken.status_code == 202
    id = taken.json()["id"]
    assert taken.headers["location"] == f"/v1/jobs/{id}"
    await pooled(house, 1)
    assert house.sent == []
    house.clock.ahead_s += 60
    job = await house.ended(id)
    assert [len(sent) for sent in house.sent] == [1]
    assert job["result"]["type"] == "succeeded"
    assert "How far is the moon?" in job["result"]["text"]
    assert job["result"]["usage"]["service_tier"] == "batch"
    assert job["counts"]["succeeded"] == 1
    shown = (await house.http.get(f"/v1/jobs/{id}")).json()
    assert shown["result"] == job["result"]


async def test_a_pool_that_is_full_goes_out_before_its_age(house: BatchHouse) -> None:
    await rules(house, flush_size=3)
    ids = [(await house.job(f"Tell me about number {n}.")).json()["id"] for n in range(3)]
    for id in ids:
        assert (await house.ended(id))["result"]["type"] == "succeeded"
    assert sum(len(sent) for sent in house.sent) == 3


async def test_what_is_stored_ends_at_once(house: BatchHouse) -> None:
    await house.ask("How far is the moon?")
    taken = await house.http.post(
        "/v1/jobs",
        json={
            "messages": [{"role": "user", "content": "How far is the moon?"}],
            "model": "claude-haiku-5-5",
            "max_tokens": 100,
        },
    )
    job = await house.ended(taken.json()["id"])
    assert (job["result"]["kind"], house.sent) == ("exact", [])


async def test_a_near_deadline_is_asked_directly(house: BatchHouse) -> None:
    taken = await house.job("How far is the moon?", deadline=HOUR)
    job = await house.ended(taken.json()["id"])
    assert job["result"]["usage"]["service_tier"] == "standard"
    assert (len(house.asked), house.sent) == (1, [])


async def test_a_far_deadline_is_batched_by_itself(house: BatchHouse) -> None:
    taken = await house.job("How far is the moon?", deadline=_iso(house.clock() + 3 * HOUR))
    await pooled(house, 1)
    house.clock.ahead_s += 60
    job = await house.ended(taken.json()["id"])
    assert job["result"]["usage"]["service_tier"] == "batch"
    assert house.asked == []


async def test_low_rate_limits_make_a_nearer_deadline_wait(house: BatchHouse) -> None:
    house.door.limits = {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": "50",
        "anthropic-ratelimit-requests-reset": _iso(house.clock() + HOUR),
    }
    await house.ask("Anything at all?")
    taken = await house.job("How far is the moon?", deadline=1.5 * HOUR)
    job = await house.ended(taken.json()["id"])
    assert job["result"]["usage"]["service_tier"] == "batch"


async def test_limits_that_began_anew_are_low_no_more(house: BatchHouse) -> None:
    house.door.limits = {
        "anthropic-ratelimit-tokens-limit": "1000",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": _iso(house.clock() + 60),
        "anthropic-ratelimit-requests-limit": "none",
        "anthropic-ratelimit-requests-remaining": "few",
    }
    await house.ask("Anything at all?")
    headroom = house.parts.upstream.headroom
    assert headroom.least(house.clock()) == 0
    assert headroom.least(house.clock() + 61) == 1


async def test_what_was_not_sent_by_its_deadline_is_asked_directly(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path) as house:
        await rules(house, flush_age_s=86_400, patience_s=60)
        taken = await house.job("How far is the moon?", deadline=2 * HOUR)
        await pooled(house, 1)
        house.clock.ahead_s += 2 * HOUR
        job = await house.ended(taken.json()["id"])
        assert job["result"]["type"] == "succeeded"
        # Due for a batch and late at once: asked one way, once.
        assert len(house.asked) + sum(len(sent) for sent in house.sent) == 1


async def test_a_batch_that_takes_longer_than_the_deadline_is_cancelled_and_asked_directly(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path, batch_s=10 * HOUR) as house:
        taken = await house.job("How far is the moon?", deadline=3 * HOUR)
        await pooled(house, 1)
        house.clock.ahead_s += 61
        await until_sent(house)
        house.clock.ahead_s += 3 * HOUR
        job = await house.ended(taken.json()["id"])
        assert job["result"]["usage"]["service_tier"] == "standard"
        assert (len(house.asked), len(house.sent)) == (1, 1)
        cancels = [r for r in house.upstream.requests if r.path.endswith("/cancel")]
        assert len(cancels) == 1


@pytest.mark.parametrize("how", ["tenant", "caller"])
async def test_switched_off_a_job_is_taken_and_asked_at_once(house: BatchHouse, how: str) -> None:
    if how == "tenant":
        await rules(house, enabled=False)
    off: dict[str, Any] = {"levers_off": ["batching"]} if how == "caller" else {}
    taken = await house.job("How far is the moon?", **off)
    assert taken.status_code == 202
    job = await house.ended(taken.json()["id"])
    assert (job["result"]["type"], len(house.asked), house.sent) == ("succeeded", 1, [])


async def test_two_jobs_that_ask_the_same_are_asked_once(house: BatchHouse) -> None:
    ids = [(await house.job("How far is the moon?")).json()["id"] for _ in range(2)]
    await until(house, lambda: _waits(house, ids))
    house.clock.ahead_s += 60
    kinds = {(await house.ended(id))["result"]["kind"] for id in ids}
    assert (kinds, [len(sent) for sent in house.sent]) == ({"miss", "coalesced"}, [1])


async def test_jobs_that_would_be_kept_differently_are_asked_apart(house: BatchHouse) -> None:
    ids = []
    for controls in ({}, {"tags": ["a"]}, {"ttl_s": 60}, {"namespace": "b"}, {"cache": "off"}):
        ids.append((await house.job("How far is the moon?", **controls)).json()["id"])
    await pooled(house, 5)
    house.clock.ahead_s += 60
    assert {(await house.ended(id))["result"]["type"] for id in ids} == {"succeeded"}
    assert [len(sent) for sent in house.sent] == [5]


async def test_a_cancelled_job_is_never_sent(house: BatchHouse) -> None:
    id = (await house.job("How far is the moon?")).json()["id"]
    await pooled(house, 1)
    assert (await house.http.delete(f"/v1/jobs/{id}")).status_code == 200
    job = await house.ended(id)
    result = job["result"]
    assert (result["type"], result["reason"], result["cost_usd"]) == (
        *("canceled", "canceled"),
        "0.000000000",
    )
    house.clock.ahead_s += 60
    await pooled(house, 0)
    assert (house.sent, (await house.http.delete(f"/v1/jobs/{id}")).status_code) == ([], 400)


async def test_claudes_error_is_the_jobs_result(house: BatchHouse) -> None:
    taken = await house.job("What now? [[sim error=400]]", deadline=HOUR)
    job = await house.ended(taken.json()["id"])
    assert job["result"]["type"] == "errored"
    assert job["result"]["error"]["error"]["type"] == "invalid_request_error"


async def test_an_overloaded_claude_is_asked_again(house: BatchHouse) -> None:
    from cacheserver.simulated.directives import Fault

    house.upstream.faults.add(Fault("error", status=529, times=3, should_retry=False))
    taken = await house.job("How far is the moon?", deadline=HOUR)
    work = house.batching._context.work

    async def put_off() -> bool:
        return any(due > house.clock() for _, due in await work.first("direct", 9))

    for _ in range(3):
        await until(house, put_off)
        house.clock.ahead_s += 60
    assert (await house.ended(taken.json()["id"]))["result"]["type"] == "succeeded"


async def test_a_job_from_before_a_purge_leaves_no_answer_though_claude_was_asked_after_it(
    house: BatchHouse,
) -> None:
    from cacheserver.simulated.directives import Fault

    house.upstream.faults.add(Fault("error", status=529, times=1, should_retry=False))
    taken = await house.job("How far is the moon?", deadline=HOUR)
    work, entries = house.batching._context.work, house.parts.entries.entries

    async def put_off() -> bool:
        return any(due > house.clock() for _, due in await work.first("direct", 9))

    await until(house, put_off)
    await entries.purge_tenant("default")
    house.clock.ahead_s += 60
    assert (await house.ended(taken.json()["id"]))["result"]["type"] == "succeeded"
    assert await live_ids(entries) == set()


async def test_a_job_waits_for_as_long_as_claude_is_not_asked(house: BatchHouse) -> None:
    """More often than a failure is tried again: it was no try."""
    breaker, work = house.parts.upstream.breaker, house.batching._context.work
    shut(breaker)
    taken = await house.job("How far is the moon?", deadline=HOUR)

    async def put_off() -> bool:
        return any(due > house.clock() for _, due in await work.first("direct", 9))

    for _ in range(8):
        await until(house, put_off)
        house.clock.ahead_s += 700
        shut(breaker)
    assert house.asked == []
    breaker.leave("x", house.parts.upstream.clock(), good=True, probe=True)
    assert (await house.ended(taken.json()["id"]))["result"]["type"] == "succeeded"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"when": "soon"}, "when"),
        ({"when": "now"}, "when"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": -5}, "deadline"),
        ({"deadline": True}, "deadline"),
        ({"deadline": []}, "deadline"),
        ({"deadline": "tomorrow"}, "deadline"),
        ({"deadline": "2026-12-01T00:00:00"}, "deadline"),
        ({"deadline": "2001-01-01T00:00:00+00:00"}, "deadline"),
        ({"deadline": 1e12}, "deadline"),
        ({"deadline": float(10**300)}, "deadline"),
        ({"stream": True}, "stream"),
        ({"webhook": 1}, "webhook"),
        ({"webhook": "ftp://example.com/"}, "webhook"),
        ({"webhook": "http://example.com/"}, "webhook"),
        ({"webhook": "https://user:pw@example.com/"}, "webhook"),
        ({"webhook": "https://127.0.0.1/"}, "webhook"),
        ({"webhook": "https://[::1]/"}, "webhook"),
        ({"webhook": "https://169.254.169.254/latest/meta-data"}, "webhook"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    house: BatchHouse, fields: dict[str, Any], named: str
) -> None:
    answer = await house.job("How far is the moon?", **fields)
    assert (answer.status_code, f"`{named}`" in answer.text) == (400, True)


async def test_a_callers_own_key_is_not_kept_for_later(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, credentials="caller") as house:
        answer = await house.job("How far is the moon?", key="sk-ant-mine")
        assert answer.status_code == 400
        assert "`when`" in answer.text


async def test_no_prompt_and_no_answer_is_in_a_log(
    house: BatchHouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="cacheserver")
    taken = await house.job("The secret word is xylophone?", deadline=HOUR)
    await house.ended(taken.json()["id"])
    assert "xylophone" not in caplog.text


async def _waits(house: BatchHouse, ids: list[str]) -> bool:
    return all([await house.batching._context.work.asks_of(id) for id in ids])


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
