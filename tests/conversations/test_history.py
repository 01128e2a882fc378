"""Conversations end to end: remembered, shortened, summarised, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.claude import sse
from cacheserver.core.rules.history import HistoryRules
from cacheserver.simulated import Directives
from cacheserver.storage.connection import command
from cacheserver.storage.recent_changes import Redo
from tests.house import MODEL, House


def answering(body: Mapping[str, Any]) -> Directives | None:
    if "shorten the record" in str(body.get("system")):
        return Directives(text="A SUMMARY")
    return None


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=answering) as house:
        yield house


async def say(house: House, prompt: str, /, talk: str = "t1", **given: Any) -> httpx2.Response:
    body = {"prompt": prompt, "conversation": talk, "model": MODEL, **given}
    answer = await house.http.post("/v1/query", json=body)
    assert answer.status_code == 200, answer.text
    return answer


async def rules(house: House, **given: Any) -> None:
    tenant = await house.parts.tenants.get("default")
    await house.parts.tenants.put(replace(tenant, history=HistoryRules(**given)))
    house.clock.ahead_s += 10


def sent(house: House) -> list[dict[str, Any]]:
    messages = house.asked[-1].body["messages"]
    assert isinstance(messages, list)
    return messages


async def test_a_question_comes_with_what_was_said_before(house: House) -> None:
    first = await say(house, "My name is Ada.")
    await say(house, "What is my name?")
    assert [turn["role"] for turn in sent(house)] == ["user", "assistant", "user"]
    assert sent(house)[0]["content"] == "My name is Ada."
    assert sent(house)[1]["content"] == first.json()["text"]


async def test_a_streamed_answer_is_remembered_before_its_end(house: House) -> None:
    body = {"prompt": "One?", "conversation": "t1", "model": MODEL, "stream": True}
    async with house.http.stream("POST", "/v1/query", json=body) as answer:
        async for line in answer.aiter_lines():
            if "message_stop" in line:
                kept = await house.http.get("/v1/conversations/t1")
                assert len(kept.json()["messages"]) == 2
                break
    assert answer.headers["content-type"].startswith(sse.MEDIA_TYPE)


async def test_a_hit_is_part_of_the_conversation_too(house: House) -> None:
    await say(house, "How tall is the tower?", "a")
    hit = await say(house, "How tall is the tower?", "b")
    assert hit.headers["x-cache"] == "exact"
    await say(house, "And the other one?", "b")
    assert len(sent(house)) == 3


async def test_the_same_words_after_another_history_are_another_question(house: House) -> None:
    await say(house, "I am in Paris.", "a")
    await say(house, "I am in Rome.", "b")
    one = await say(house, "Which river is there?", "a")
    other = await say(house, "Which river is there?", "b")
    assert one.headers["x-cache"] == other.headers["x-cache"] == "miss"


async def test_two_questions_at_once_lose_neither(house: House) -> None:
    await asyncio.gather(*(say(house, f"Point {n}, please.") for n in range(5)))
    kept = (await house.http.get("/v1/conversations/t1")).json()["messages"]
    assert [turn["role"] for turn in kept] == ["user", "assistant"] * 5
    assert {turn["content"] for turn in kept[::2]} == {f"Point {n}, please." for n in range(5)}


async def test_a_long_conversation_is_sent_by_its_end_and_the_answer_says_so(house: House) -> None:
    await rules(house, keep=2, step=1)
    for number in range(4):
        await say(house, f"Fact {number}.")
    last = await say(house, "And?")
    assert [turn["content"] for turn in sent(house)[::2]] == ["Fact 2.", "Fact 3.", "And?"]
    assert last.headers["x-cache-history"] == "4; window"
    shown = await house.http.get(f"/v1/decisions/{last.json()['decision_id']}")
    assert shown.json()["asked_how"]["history"]["turns"] == 4


async def test_one_request_can_leave_the_history_alone(house: House) -> None:
    await rules(house, keep=1, step=1)
    for number in range(3):
        await say(house, f"Fact {number}.")
    await say(house, "All of it?", levers_off=["history"])
    assert len(sent(house)) == 7


async def test_a_summary_is_written_once_and_stands_in_for_what_left(house: House) -> None:
    await rules(house, keep=1, step=1, how="summary")
    for number in range(2):
        await say(house, f"Fact {number}.")
    last = await say(house, "And?")
    assert last.headers["x-cache-history"] == "2; summary"
    assert "A SUMMARY" in sent(house)[0]["content"][0]["text"]
    written = [r for r in house.asked if "shorten the record" in str(r.body.get("system"))]
    assert len(written) == 1
    assert "Fact 0." in str(written[0].body["messages"])
    await say(house, "And?", cache="refresh", talk="t1")
    again = [r for r in house.asked if "shorten the record" in str(r.body.get("system"))]
    assert len(again) == 2  # one exchange more has left, told from the summary before
    assert "A SUMMARY" in str(again[1].body["messages"])
    assert "Fact 0." not in str(again[1].body["messages"])


async def test_messages_are_shortened_only_where_the_tenant_says_so(house: House) -> None:
    turns = [{"role": r, "content": f"{r} {n}"} for n in range(4) for r in ("user", "assistant")]
    messages = [*turns, {"role": "user", "content": "Now?"}]
    body = {"model": MODEL, "max_tokens": 50, "messages": messages}
    await house.http.post("/v1/messages", json=body)
    assert len(sent(house)) == 9
    await rules(house, keep=1, step=1, messages=True)
    fresh = {**body, "messages": [*turns, {"role": "user", "content": "Now then?"}]}
    await house.http.post("/v1/messages", json=fresh)
    assert len(sent(house)) == 3


async def test_another_tenant_never_sees_a_conversation(house: House) -> None:
    ann, bob = await house.key("ann"), await house.key("bob")
    body = {"prompt": "A secret.", "conversation": "t1", "model": MODEL}
    await house.http.post("/v1/query", json=body, headers={"x-api-key": ann})
    await house.http.post("/v1/query", json=body, headers={"x-api-key": bob})
    assert len(sent(house)) == 1
    path = "/v1/conversations/t1"
    assert (await house.http.get(path, headers={"x-api-key": bob})).status_code == 200
    assert (await house.http.delete(path, headers={"x-api-key": bob})).json()["forgotten"]
    assert (await house.http.get(path, headers={"x-api-key": bob})).status_code == 404
    kept = await house.http.get(path, headers={"x-api-key": ann})
    assert kept.json()["messages"][0]["content"] == "A secret."


async def test_what_is_deleted_goes_again_after_a_failover_but_not_what_began_since(
    house: House,
) -> None:
    notes: list[Redo] = []
    redis = house.parts.host.store.redis
    redis.recent.note = lambda redo, *of: notes.append(redo)  # type: ignore[method-assign]
    await say(house, "Hello.")
    (key,) = [one async for one in redis.scan_iter("cs1:cvt:*:t1")]
    old = {one: await command(redis, "DUMP", one) for one in (key, key + b":size")}

    async def turns() -> int:
        return len(await house.parts.conversations.turns.load("default", "default", "t1"))

    assert (await house.http.delete("/v1/conversations/t1")).json()["forgotten"]
    (again,) = notes
    await say(house, "Hello.")  # byte for byte the same
    await again()
    assert await turns() == 2
    for one, value in old.items():  # as on a replica that lacks what was done since
        await command(redis, "RESTORE", one, 0, value, "REPLACE")
    await again()
    assert await turns() == 0


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä"])
async def test_a_name_that_is_none_is_refused(house: House, name: str) -> None:
    body = {"prompt": "Hi", "conversation": name}
    refused = await house.http.post("/v1/query", json=body)
    assert refused.status_code == 400
    assert "`conversation`" in refused.json()["error"]["message"]


async def test_a_conversation_that_grows_is_noticed(house: House) -> None:
    for number in range(3):
        await say(house, f"{number} " + "word " * 8_000 * (number + 1) ** 2)
    await house.parts.conversations.history.drain()
    assert await house.parts.conversations.turns.bloated("default", house.clock()) == 1
    assert await house.parts.conversations.turns.bloated("default", house.clock() + 90_000) == 0
