"""A Claude that fails, hangs or says to wait: callers are told at once, nobody else is stopped."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import pytest

from cacheserver.claude import sse
from cacheserver.core.ledger_row import Row
from cacheserver.core.types import Usage
from cacheserver.ledger.export import LedgerExport
from tests.hostile.claude import EVENTS, MESSAGE
from tests.hostile.failing import HANGS, WELL, Says, failing, fails
from tests.hostile.raw import body_of, outcomes, request, stats, under_way, until, wire
from tests.house import ADMIN_KEY, MODEL, House, came_from

NO_STORE = (("x-api-key", "any"), ("cache-control", "no-store"))
LIMITS = {"anthropic_ratelimit_requests_remaining": "0", "request_id": "req_claude"}


async def events(house: House) -> dict[str, int]:
    """What happened on the way to Claude, from the metrics."""
    page = await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})
    found = {}
    for line in page.text.splitlines():
        if line.startswith("cacheserver_upstream_events_total{"):
            found[line.split('"')[1]] = int(float(line.rsplit(" ", 1)[1]))
    return {event: count for event, count in found.items() if count}


async def rows(house: House) -> list[Row]:
    ledger, now = house.parts.ledger, house.clock()
    await ledger.flush()
    export = LedgerExport(ledger.redis, prefix=ledger.prefix)
    return [row async for _, rows in export.minutes(now - 3_600, now + 60) for row in rows]


async def test_told_to_wait_an_hour_callers_hear_of_it_and_the_next_is_answered(
    tmp_path: Path,
) -> None:
    limited = fails(429, retry_after="3600", **LIMITS)

    def script(asked: dict[str, Any]) -> Says:
        return limited if "Limited" in str(asked) else WELL

    async with failing(tmp_path, script) as (house, claude), AsyncExitStack() as stack:
        for n in range(64):  # all of them leave
            caller = await stack.enter_async_context(wire(house))
            caller.send(request(body_of(f"Limited {n}?", stream=n % 2 == 0)))
        await until(lambda: len(claude.asked) == 64 and not under_way(house))
        answer = await house.ask("Limited?")
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "3600"
        assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert answer.headers["request-id"] == "req_claude"
        assert "x-should-retry" not in answer.headers
        assert len(claude.asked) == 65  # each once
        assert (await house.http.get("/readyz")).json()["ready"]
        assert came_from(await house.ask("Next?"))[0] == "miss"


@pytest.mark.parametrize(
    ("settings", "calls", "said"), [({}, 3, "false"), ({"retries": 0}, 3, None)]
)
@pytest.mark.parametrize("says", [fails(529, retry_after_ms="1"), fails(500, retry_after_ms="1")])
async def test_the_official_sdks_retries_do_not_multiply_ours(
    tmp_path: Path, settings: dict[str, Any], calls: int, said: str | None, says: Says
) -> None:
    async with failing(tmp_path, lambda asked: says, **settings) as (house, claude):
        client = anthropic.AsyncAnthropic(api_key="any", base_url=house.url, max_retries=2)
        with pytest.raises(anthropic.InternalServerError) as raised:
            await client.messages.create(
                model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "Retried?"}]
            )
        await client.close()
        assert raised.value.response.headers.get("x-should-retry") == said
        assert len(claude.asked) == calls
        assert claude.retry_counts == (["0", "1", "2"] if not settings else ["0", "0", "0"])


async def test_what_claude_says_of_retries_stays_where_it_was_asked_once(tmp_path: Path) -> None:
    never = fails(529, x_should_retry="false")
    async with failing(tmp_path, lambda asked: never) as (house, claude):
        answer = await house.ask()
        assert (answer.status_code, answer.headers["x-should-retry"]) == (529, "false")
        assert len(claude.asked) == 1
        claude.script = lambda asked: fails(400)
        refused = await house.ask("Bad request?")
        assert (refused.status_code, len(claude.asked)) == (400, 2)
        assert "x-should-retry" not in refused.headers


async def test_a_call_that_waits_to_be_made_again_holds_no_slot_and_ends_with_its_caller(
    tmp_path: Path,
) -> None:
    def script(asked: dict[str, Any]) -> Says:
        return fails(429, retry_after="9") if "Wait" in str(asked) else WELL

    async with failing(tmp_path, script, max_concurrent=1) as (house, claude), wire(house) as one:
        one.send(request(body_of("Wait?"), headers=NO_STORE))
        await until(lambda: len(claude.asked) == 1 and not house.parts.upstream.slots.in_flight)
        assert under_way(house) == 1
        assert came_from(await house.ask("Next?"))[0] == "miss"
        one.hang_up()
        await until(lambda: not under_way(house))
        assert len(claude.asked) == 2
        # What was refused is not billed, and nothing else was sent.
        left = next(row for row in await rows(house) if row.outcome == "failed")
        assert (left.status, left.unknown, left.cost) == (499, None, 0)


async def test_one_tenants_hanging_calls_block_nobody_elses(tmp_path: Path) -> None:
    def script(asked: dict[str, Any]) -> Says:
        return HANGS if "Hang" in str(asked) else WELL

    async with (
        failing(tmp_path, script, max_concurrent=8, max_waiting=16) as (house, claude),
        AsyncExitStack() as stack,
    ):
        one, two = await house.key("one"), await house.key("two")
        for n in range(30):
            caller = await stack.enter_async_context(wire(house))
            key = [("x-api-key", one), ("cache-control", "no-store")]
            caller.send(request(body_of(f"Hang {n}?", stream=n % 2 == 0), headers=key))
        await until(lambda: len(claude.asked) == 7)
        refused = await house.ask("Hang on?", key=one)
        assert refused.status_code == 529
        assert refused.headers["x-cache-reason"] == "queue-full"
        assert refused.headers["retry-after"] == "1"
        assert came_from(await house.ask("Mine?", key=two))[0] == "miss"
        assert (await house.http.get("/readyz")).json()["queue"] == "ok"


async def test_who_waits_too_long_for_a_slot_is_told_and_a_full_queue_is_not_ready(
    tmp_path: Path,
) -> None:
    async with (
        failing(tmp_path, lambda asked: HANGS, max_concurrent=1, max_waiting=1, max_wait_s=0.2) as (
            house,
            claude,
        ),
        wire(house) as first,
    ):
        first.send(request(body_of("Hang?"), headers=NO_STORE))
        await until(lambda: len(claude.asked) == 1)
        slots = house.parts.upstream.slots
        answered = await house.ask("Wait?")
        assert answered.status_code == 529
        assert answered.headers["x-cache-reason"] == "queue-wait"
        assert answered.json()["request_id"] == answered.headers["request-id"]
        slots.max_wait_s = 600.0
        no_store = {"cache-control": "no-store"}
        waiting = asyncio.create_task(house.ask("Wait again?", headers=no_store))
        await until(lambda: slots.full)
        shown = await house.http.get("/readyz")
        assert (shown.status_code, shown.json()["queue"]) == (503, "full")
        waiting.cancel()
        await until(lambda: not slots.waiting)
        assert (await house.http.get("/readyz")).status_code == 200
        assert (await events(house))["queue-wait"] == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_abandoned_call_is_stopped_after_its_grace_and_counted(
    tmp_path: Path, stream: bool
) -> None:
    async with failing(tmp_path, lambda asked: HANGS, abandoned_s=0.05) as (house, claude):
        async with wire(house) as caller:
            caller.send(request(body_of("Gone?", stream=stream)))
            await until(lambda: len(claude.asked) == 1)
        await until(lambda: not under_way(house))
        assert outcomes(await stats(house)) == {"failed": 1}
        assert await events(house) == {"abandoned": 1}
        (row,) = await rows(house)
        assert row.status == 499
        assert row.unknown is not None  # it was sent, and may be billed


async def test_who_comes_back_within_the_grace_finds_the_call_under_way(tmp_path: Path) -> None:
    start = next(sse.replay(MESSAGE))
    says = Says(200, {"content-type": EVENTS}, start, then="hang")
    async with failing(tmp_path, lambda asked: says, abandoned_s=600) as (house, claude):
        async with wire(house) as caller:
            caller.send(request(body_of("Back?", stream=True)))
            await caller.head()
        flights = house.parts.service._flights._running
        await until(lambda: [one.readers for one in flights.values()] == [0])
        async with wire(house) as caller:
            caller.send(request(body_of("Back?", stream=True)))
            assert (await caller.head())[1]["x-cache"] == "coalesced"
            (flight,) = flights.values()
            assert flight.grace is None
        assert len(claude.asked) == 1


async def test_a_stream_that_was_left_keeps_what_its_start_said(tmp_path: Path) -> None:
    usage = {"input_tokens": 100_000, "output_tokens": 1}
    start = next(sse.replay({**MESSAGE, "usage": usage}))
    says = Says(200, {"content-type": EVENTS}, start, then="hang")
    async with failing(tmp_path, lambda asked: says) as (house, _), wire(house) as caller:
        caller.send(request(body_of("Left?", stream=True, max_tokens=10), headers=NO_STORE))
        await caller.head()
        await caller.reader.readuntil(b"message_start")
        caller.hang_up()
        await until(lambda: not under_way(house))
        (row,) = await rows(house)
        assert (row.status, row.cost) == (499, None)
        assert row.unknown is not None
        prompt = house.parts.pricer.cost(MODEL, Usage(input_tokens=100_000), row.at)
        assert prompt is not None
        assert row.unknown.least >= prompt
        assert row.unknown.most is not None
        assert row.unknown.most < 2 * prompt


async def test_while_claude_fails_misses_are_refused_and_hits_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with failing(tmp_path, lambda asked: WELL, retries=0) as (house, claude):
        ahead, upstream = [0.0], house.parts.upstream
        upstream.clock = lambda: time.monotonic() + ahead[0]
        tenant = await house.parts.tenants.get("default")
        await house.parts.tenants.put(replace(tenant, stale_s=60))
        assert came_from(await house.ask("Kept?"))[0] == "miss"
        assert came_from(await house.ask("Old?", headers={"x-cache-ttl": "10"}))[0] == "miss"
        house.clock.ahead_s = 20
        claude.script = lambda asked: fails(500)
        for n in range(12):
            assert (await house.ask(f"Failing {n}?")).status_code == 500
            if upstream.breaker.opening is not None:
                break
        asked = len(claude.asked)
        refused = await house.ask("Refused?", stream=True)
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "api_error")
        assert refused.headers["x-cache-reason"] == "circuit-open"
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert refused.json()["request_id"] == refused.headers["request-id"]
        assert came_from(await house.ask("Kept?"))[0] == "exact"
        assert came_from(await house.ask("Old?"))[0] == "stale"
        assert len(claude.asked) == asked
        ready = await house.http.get("/readyz")
        assert (ready.status_code, ready.json()["upstream"]) == (200, "open")
        page = (await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})).text
        assert "cacheserver_upstream_breaker 2.0" in page
        told = await house.parts.alerts.check_upstream()
        assert [(one.kind, one.tenant) for one in told] == [("upstream", "default")]
        assert await house.parts.alerts.check_upstream() == []
        await house.parts.alerts.check()  # of everything else: it ends no other alert
        assert await active_kinds(house) == ["upstream"]
        assert "Claude fails" in caplog.text

        ahead[0] = 5.1  # the probe fails
        assert (await house.ask("Probing?")).status_code == 500
        assert (await house.ask("Probing again?")).status_code == 503
        ahead[0] = 15.2
        assert (await house.http.get("/readyz")).json()["upstream"] == "half-open"
        claude.script = lambda asked: fails(429)  # it answers
        assert (await house.ask("Probed?")).status_code == 429
        claude.script = lambda asked: WELL
        assert came_from(await house.ask("Well?"))[0] == "miss"
        assert (await house.http.get("/readyz")).json()["upstream"] == "ok"
        seen = await events(house)
        assert (seen["opened"], seen["closed"]) == (1, 1)
        assert seen["circuit-open"] == 3
        assert await house.parts.alerts.check_upstream() == []
        assert await active_kinds(house) == []


async def active_kinds(house: House) -> list[str]:
    """The kinds of the alerts that still hold."""
    got = await house.http.get("/admin/v1/alerts?active=true", headers={"x-api-key": ADMIN_KEY})
    return [one["kind"] for one in got.json()["alerts"]]


async def test_streams_that_are_cut_open_the_circuit_and_callers_mistakes_do_not(
    tmp_path: Path,
) -> None:
    async with failing(tmp_path, lambda asked: fails(400), retries=0) as (house, claude):
        breaker = house.parts.upstream.breaker
        for n in range(15):
            await house.ask(f"Wrong {n}?")
        claude.script = lambda asked: fails(429)
        for n in range(40):
            await house.ask(f"Limited {n}?")
        assert breaker.opening is None
        start = next(sse.replay(MESSAGE))
        claude.script = lambda asked: Says(200, {"content-type": EVENTS}, start, then="cut")
        for n in range(20):
            await house.ask(f"Cut {n}?", stream=True)
        assert breaker.opening is not None


async def test_a_flapping_claude_costs_callers_errors_and_no_time(tmp_path: Path) -> None:
    """It fails three times of four: each is answered, and once it is well so is everybody."""
    calls = 0

    def script(asked: dict[str, Any]) -> Says:
        nonlocal calls
        calls += 1
        if calls > 200:
            return WELL
        return WELL if calls % 4 == 0 else fails(500 + calls % 4)

    async with failing(tmp_path, script, retries=0, breaker_open_s=0.01) as (house, claude):
        ahead, upstream = [0.0], house.parts.upstream
        upstream.clock = lambda: time.monotonic() + ahead[0]
        seen = set()
        async with asyncio.timeout(30):
            for n in range(150):
                seen.add((await house.ask(f"Flap {n}?")).status_code)
                ahead[0] += 0.3
        assert seen <= {200, 501, 502, 503}
        assert 503 in seen
        assert len(claude.asked) < 150
        calls, ahead[0] = 200, ahead[0] + 61
        assert (await house.ask("Well again?")).status_code == 200
        assert upstream.slots.in_flight == 0


INSTEAD = {
    "an error": (fails(200).body, 500, "as told"),
    "an overload": (
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        529,
        "Overloaded",
    ),
    "an error of no kind": (b'{"type":"error","error":{"message":"hm"}}', 502, "hm"),
    "a gateway's page": (b"<html>\n <b>Sign in</b> first</html>", 502, "<b>Sign in</b> first"),
    "nothing": (b"", 502, "where a stream was asked for"),
    "not UTF-8": (b"\xff\xfe", 502, "where a stream was asked for"),
}


@pytest.mark.parametrize("what", sorted(INSTEAD))
async def test_what_comes_instead_of_a_stream_is_an_error_with_its_words(
    tmp_path: Path, what: str
) -> None:
    body, status, words = INSTEAD[what]
    says = Says(200, {"content-type": "application/json", "request-id": "req_claude"}, body)
    async with failing(tmp_path, lambda asked: says) as (house, _):
        answer = await house.ask("Stream?", stream=True)
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["request-id"] == "req_claude"
        assert outcomes(await stats(house)) == {"failed": 1}
        assert house.parts.upstream.slots.in_flight == 0
        (row,) = await rows(house)
        assert (row.unknown is None) == body.startswith(b"{")  # an error is not billed


async def test_a_message_instead_of_a_stream_is_streamed_paid_and_stored(tmp_path: Path) -> None:
    async with failing(tmp_path, lambda asked: WELL) as (house, claude):
        answer = await house.ask("Stream?", stream=True)
        assert answer.headers["content-type"].startswith(sse.MEDIA_TYPE)
        fold = sse.Fold()
        for raw in answer.content.split(b"\n\n"):
            if (event := sse.decode(raw)) is not None:
                fold.feed(event)
        assert fold.complete
        assert fold.message["content"] == MESSAGE["content"]
        assert came_from(await house.ask("Stream?"))[0] == "exact"
        assert len(claude.asked) == 1
        paid = next(row for row in await rows(house) if row.outcome == "miss")
        assert (paid.call, paid.unknown) == (MESSAGE["id"], None)


async def test_errors_of_ours_carry_each_callers_own_request_id(tmp_path: Path) -> None:
    start = next(sse.replay(MESSAGE))
    says = Says(200, {"content-type": EVENTS}, start, then="hang")
    async with (
        failing(tmp_path, lambda asked: says, timeout_s=0.5) as (house, _),
        wire(house) as one,
        wire(house) as two,
    ):
        one.send(request(body_of("Cut?", stream=True)))
        heads = [(await one.head())[1]]
        two.send(request(body_of("Cut?", stream=True)))
        heads.append((await two.head())[1])
        assert heads[1]["x-cache"] == "coalesced"
        for caller, head in zip((one, two), heads, strict=True):
            await caller.reader.readuntil(b"event: error")
            told = await caller.reader.readuntil(b"\n\n")
            event = sse.decode(b"event: error" + told)
            assert event is not None
            assert event["error"]["type"] == "timeout_error"
            assert event["request_id"] == head["request-id"]
        assert heads[0]["request-id"] != heads[1]["request-id"]
