"""`/v1/messages` through the front door: what a caller gets, and what Claude is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest

from cacheserver.simulated import Fault
from tests.house import MODEL, House, came_from

PARAPHRASE = "What's the capital of France?"


async def test_the_same_question_twice_is_asked_once(house: House) -> None:
    first, second = await house.ask(), await house.ask()
    assert came_from(first) == ("miss", "empty")
    assert came_from(second) == ("exact", "identical")
    assert len(house.asked) == 1
    one, two = first.json(), second.json()
    assert one.pop("id") != two.pop("id")
    assert one == two
    assert first.headers["request-id"] != second.headers["request-id"]
    assert second.headers["x-cache-entry"] == first.headers["x-cache-entry"]


async def test_a_paraphrase_is_answered_from_the_index(house: House) -> None:
    first = await house.ask()
    second = await house.ask(PARAPHRASE)
    assert came_from(second) == ("semantic", "similar")
    assert 0.95 <= float(second.headers["x-cache-similarity"]) < 1
    assert second.json()["content"] == first.json()["content"]
    assert len(house.asked) == 1


async def test_another_question_is_asked(house: House) -> None:
    await house.ask()
    other = await house.ask("What is the capital of Germany?")
    assert came_from(other) == ("miss", "below-threshold")
    assert len(house.asked) == 2


async def test_a_miss_is_priced_and_a_hit_saves_what_it_cost(house: House) -> None:
    miss, hit = await house.ask(), await house.ask()
    cost = miss.headers["x-cost-usd"]
    assert float(cost) > 0
    assert len(cost.split(".")[1]) == 9
    assert miss.headers["x-saved-usd"] == "0.000000000"
    assert (hit.headers["x-cost-usd"], hit.headers["x-saved-usd"]) == ("0.000000000", cost)


async def test_auto_is_routed_and_its_second_question_hits(house: House) -> None:
    first, second = await house.ask(model="auto"), await house.ask(model="auto")
    assert [came_from(r)[0] for r in (first, second)] == ["miss", "exact"]
    assert house.asked[0].body["model"] == MODEL
    assert came_from(await house.ask())[0] == "miss"  # a named model is another question


async def test_a_body_without_max_tokens_goes_on_as_it_came(house: House) -> None:
    refused = await house.ask(max_tokens=None)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert refused.headers["x-upstream"] == "simulated"  # Claude's own words
    assert refused.headers["x-cache"] == "miss"


async def test_what_we_do_not_know_reaches_claude_as_it_came(house: House) -> None:
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "of-tomorrow-2027-01-01",
        "x-claude-code-session-id": "s1",
    }
    await house.ask(a_field_of_tomorrow={"z": [1.10, 2**70]}, headers=headers)
    (asked,) = house.asked
    assert json.loads(asked.raw)["a_field_of_tomorrow"] == {"z": [1.10, 2**70]}
    for name, value in headers.items():
        assert asked.headers[name] == value
    assert asked.headers["via"] == "1.1 cacheserver"


async def test_our_key_never_goes_up_and_theirs_never_comes_down(house: House) -> None:
    key = await house.key("shop")
    answer = await house.ask(key=key)
    assert answer.status_code == 200
    (asked,) = house.asked
    assert key not in json.dumps(dict(asked.headers))
    assert asked.account is not None
    assert "sk-ant-the-servers-own" not in str(answer.headers)


async def test_the_path_is_matched_without_its_query(house: House) -> None:
    body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    answer = await house.http.post("/v1/messages?beta=true", json=body)
    assert came_from(answer)[0] == "miss"


async def test_claudes_errors_come_back_as_they_are(house: House) -> None:
    text = "[[sim error=400]]"
    refused = await house.ask(text)
    assert refused.status_code == 400
    assert refused.json()["type"] == "error"
    assert refused.headers["request-id"].startswith("req_")
    assert refused.headers["x-cache"] == "miss"
    limited = await house.ask("[[sim error=429 retry_after=7 should_retry=false]]")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert any(name.startswith("anthropic-ratelimit") for name in limited.headers)


async def test_errors_are_never_stored(house: House) -> None:
    for _ in range(2):
        assert (await house.ask("[[sim error=400]]")).status_code == 400
    assert len(house.asked) == 2


@pytest.mark.parametrize(
    ("directive", "why"),
    [
        ("refusal=bio", "stop-refusal"),
        ("pause", "stop-pause_turn"),
        ("stop=max_tokens", "stop-max_tokens"),
        ("search", "block"),
    ],
)
async def test_what_is_no_whole_answer_is_passed_on_and_not_stored(
    house: House, directive: str, why: str
) -> None:
    for _ in range(2):
        answer = await house.ask(f"Question [[sim {directive}]]")
        assert came_from(answer)[0] == "miss"
        decision = await house.http.get(f"/v1/decisions/{answer.headers['x-cache-decision']}")
        assert decision.json()["unstored"] == why
    assert len(house.asked) == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "server-tools"),
        ({"container": {"skills": []}}, "container"),
        ({"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}, "mcp"),
    ],
)
async def test_what_depends_on_the_moment_bypasses(
    house: House, fields: dict[str, Any], reason: str
) -> None:
    for _ in range(2):
        answer = await house.ask(**fields)
        assert (answer.headers["x-cache"], answer.headers["x-cache-reason"]) == ("bypass", reason)
    assert len(house.asked) == 2


async def test_tools_are_matched_exactly_only(house: House) -> None:
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    text = """Weather? [[sim tool=weather input='{"city": "Paris"}']]"""
    first = await house.ask(text, tools=tools)
    assert came_from(first) == ("miss", "tools")
    assert first.json()["stop_reason"] == "tool_use"
    assert came_from(await house.ask(text, tools=tools))[0] == "exact"
    assert came_from(await house.ask(text + " ", tools=tools)) == ("miss", "tools")


async def test_a_question_past_the_window_is_matched_exactly_only(house: House) -> None:
    long = "[[sim text=Yes.]] " + "word " * 400
    assert came_from(await house.ask(long)) == ("miss", "window")
    assert came_from(await house.ask(long + "word")) == ("miss", "window")
    assert came_from(await house.ask(long))[0] == "exact"


async def test_a_semantic_hit_leaves_thinking_behind_and_an_exact_one_keeps_it(
    house: House,
) -> None:
    text = "What is the capital of France? [[sim thinking=12 text=Paris.]]"
    kinds = [[b["type"] for b in (await house.ask(text)).json()["content"]] for _ in range(2)]
    assert kinds == [["thinking", "text"]] * 2
    similar = await house.ask(text.replace("What is", "What's"))
    assert came_from(similar)[0] == "semantic"
    assert [b["type"] for b in similar.json()["content"]] == ["text"]


async def test_no_store_is_neither_read_nor_written(house: House) -> None:
    await house.ask()
    for _ in range(2):
        answer = await house.ask(headers={"cache-control": "no-store"})
        assert came_from(answer) == ("bypass", "no-store")
    other = "Who wrote Hamlet?"
    await house.ask(other, headers={"cache-control": "no-store"})
    assert came_from(await house.ask(other))[0] == "miss"


async def test_no_cache_replaces_the_entry(house: House) -> None:
    first = await house.ask()
    fresh = await house.ask(headers={"cache-control": "no-cache"})
    assert came_from(fresh) == ("miss", "refresh")
    hit = await house.ask()
    assert came_from(hit)[0] == "exact"
    assert hit.headers["x-cache-entry"] == fresh.headers["x-cache-entry"]
    assert hit.headers["x-cache-entry"] != first.headers["x-cache-entry"]
    similar = await house.ask(PARAPHRASE)
    assert similar.headers["x-cache-entry"] == fresh.headers["x-cache-entry"]


async def test_max_age_bounds_what_is_served(house: House) -> None:
    await house.ask()
    house.clock.ahead_s += 100
    young = {"cache-control": "max-age=99"}
    assert came_from(await house.ask(headers={"cache-control": "max-age=200"}))[0] == "exact"
    only = {"cache-control": "max-age=99, only-if-cached"}
    for text in ("What is the capital of France?", PARAPHRASE):
        assert (await house.ask(text, headers=only)).status_code == 404
    assert came_from(await house.ask(headers=young))[0] == "miss"
    assert came_from(await house.ask(headers=only))[0] == "exact"


async def test_only_if_cached_never_asks(house: House) -> None:
    only = {"cache-control": "only-if-cached"}
    refused = await house.ask(headers=only)
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "not_found_error")
    assert refused.headers["x-cache"] == "miss"
    assert refused.headers["x-cache-reason"] == "only-if-cached"
    assert refused.headers["x-should-retry"] == "false"
    assert house.asked == []
    await house.ask()
    assert came_from(await house.ask(headers=only))[0] == "exact"


async def test_an_answer_dies_at_its_deadline_and_hits_do_not_lengthen_its_life(
    house: House,
) -> None:
    first = await house.ask(headers={"x-cache-ttl": "60"})
    assert first.headers["x-cache-ttl"] == "60"
    house.clock.ahead_s = 50
    hit = await house.ask()
    assert (came_from(hit)[0], hit.headers["x-cache-age"]) == ("exact", "50")
    house.clock.ahead_s = 61
    only = {"cache-control": "only-if-cached"}
    for text in ("What is the capital of France?", PARAPHRASE):
        assert (await house.ask(text, headers=only)).status_code == 404
    assert came_from(await house.ask()) == ("miss", "empty")


async def test_ttl_0_reads_but_does_not_store(house: House) -> None:
    zero = {"x-cache-ttl": "0"}
    await house.ask(headers=zero)
    assert came_from(await house.ask(headers=zero))[0] == "miss"
    await house.ask()
    assert came_from(await house.ask(headers=zero))[0] == "exact"


async def test_a_lifetime_is_cut_to_the_maximum(house: House) -> None:
    answer = await house.ask(headers={"x-cache-ttl": "99999999"})
    assert answer.headers["x-cache-ttl"] == str(30 * 86_400)


async def test_identical_questions_at_once_are_asked_once(house: House) -> None:
    slow = "What is slow? [[sim slow=0.5]]"
    answers = await asyncio.gather(*(house.ask(slow) for _ in range(8)))
    assert sorted(came_from(a)[0] for a in answers) == ["coalesced"] * 7 + ["miss"]
    assert len(house.asked) == 1
    assert len({a.json()["id"] for a in answers}) == 8
    paid = [a for a in answers if a.headers["x-cache"] == "miss"]
    saved = {a.headers["x-saved-usd"] for a in answers if a.headers["x-cache"] == "coalesced"}
    assert saved == {paid[0].headers["x-cost-usd"]}


async def test_a_failure_is_shared_too_and_causes_no_second_stampede(house: House) -> None:
    text = "What fails? [[sim error=400 slow=0]]"
    answers = await asyncio.gather(*(house.ask("[[sim slow=0.5 refusal=bio]]") for _ in range(5)))
    assert len(house.asked) == 1
    assert {a.json()["stop_reason"] for a in answers} == {"refusal"}
    assert (await house.ask(text)).status_code == 400


async def test_a_stale_answer_stands_in_while_claude_fails(house: House) -> None:
    await house.http.put(
        "/admin/v1/tenants/default",
        json={"stale_s": 600},
        headers={"authorization": "Bearer an-admin-key-for-tests"},
    )
    text = "Is it up?"
    await house.ask(text, headers={"x-cache-ttl": "60"})
    house.clock.ahead_s = 61
    house.upstream.faults.add(Fault("error", status=500, times=9))
    stale = await house.ask(text)
    assert came_from(stale) == ("stale", "upstream-failed")
    assert (await house.ask(text, headers={"cache-control": "no-cache"})).status_code == 500
    house.clock.ahead_s = 661
    assert (await house.ask(text)).status_code == 500


async def test_count_tokens_and_models_are_passed_through(house: House) -> None:
    sdk = house.sdk()
    messages: list[Any] = [{"role": "user", "content": "Hi"}]
    counted = await sdk.messages.count_tokens(model=MODEL, messages=messages)
    assert counted.input_tokens > 0
    assert MODEL in [model.id async for model in await sdk.models.list()]


async def test_the_sdks_errors_are_those_of_claude(house: House) -> None:
    with pytest.raises(anthropic.NotFoundError) as raised:
        await house.sdk().messages.create(
            model="claude-of-tomorrow",
            max_tokens=9,
            messages=[{"role": "user", "content": "Hi"}],
        )
    assert raised.value.type == "not_found_error"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"model": "m", "model": "n", "messages": []}', "model"),
        (b'{"model": "m", "messages": [], "x": NaN}', "body"),
        (b'{"model": "m", "messages": [], "x": 1e999}', "body"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
    ],
)
async def test_bad_bodies_are_400_and_name_the_field(house: House, raw: bytes, field: str) -> None:
    refused = await house.http.post("/v1/messages", content=raw)
    assert refused.status_code == 400, refused.text
    error = refused.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert f"`{field}`" in error["error"]["message"]
    assert error["request_id"] == refused.headers["request-id"]
    assert house.asked == []


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"cache-control": "only-if-cached, no-cache"}, "cache-control"),
        ({"x-cache-ttl": "-1"}, "x-cache-ttl"),
        ({"x-cache-namespace": "a b"}, "x-cache-namespace"),
        ({"x-cache-tags": "a,b c"}, "x-cache-tags"),
    ],
)
async def test_unknown_controls_are_400_and_name_the_header(
    house: House, headers: dict[str, str], field: str
) -> None:
    refused = await house.ask(headers=headers)
    assert refused.status_code == 400
    assert f"`{field}`" in refused.json()["error"]["message"]


async def test_unknown_paths_and_methods_have_the_same_shape(house: House) -> None:
    for response, status in (
        (await house.http.get("/nowhere"), 404),
        (await house.http.get("/v1/messages"), 405),
    ):
        assert response.status_code == status
        assert response.json()["type"] == "error"
        assert response.headers["request-id"]


async def test_what_has_been_here_before_is_refused(house: House) -> None:
    refused = await house.ask(headers={"via": "1.1 cacheserver"})
    assert refused.status_code == 508
    assert house.asked == []
