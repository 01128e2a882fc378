"""Streams: the official SDK reads what we relay and what we replay, and cannot tell them apart."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from anthropic import APIStatusError

from cacheserver.claude import sse
from cacheserver.core.types import Entry
from cacheserver.simulated import Fault
from tests.house import MODEL, House, came_from

TOOLS = [{"name": "weather", "input_schema": {"type": "object"}}]
ANSWERS = {
    "text": ("Say it. [[sim text='One two three four five six seven.']]", {}),
    "thinking": ("Think. [[sim thinking=20 text=Done.]]", {}),
    "redacted": ("Hide. [[sim redacted text=Done.]]", {}),
    "tool": (
        """Weather? [[sim tool=weather input='{"city": "Paris", "days": [1, 2]}']]""",
        {"tools": TOOLS},
    ),
    "empty tool": ("Weather? [[sim tool=weather input='{}']]", {"tools": TOOLS}),
    "long": ("At length. [[sim words=60]]", {}),
}


async def stream(house: House, text: str, **given: Any) -> tuple[dict[str, Any], str, list[str]]:
    """The final message, `x-cache`, and the kinds of event, as the SDK sees them."""
    kinds: list[str] = []
    async with house.sdk().messages.stream(
        model=MODEL, max_tokens=500, messages=[{"role": "user", "content": text}], **given
    ) as events:
        async for event in events:
            kinds.append(event.type)
        message = await events.get_final_message()
        return message.model_dump(mode="json"), events.response.headers["x-cache"], kinds


async def whole(house: House, text: str, **given: Any) -> tuple[dict[str, Any], str]:
    raw = await house.sdk().messages.with_raw_response.create(
        model=MODEL, max_tokens=500, messages=[{"role": "user", "content": text}], **given
    )
    message = await raw.parse()
    return message.model_dump(mode="json"), raw.headers["x-cache"]


def without_id(message: dict[str, Any]) -> dict[str, Any]:
    """What must be equal; the SDK's stream leaves fields out that are null in a whole message."""
    kept = {k: v for k, v in message.items() if k not in ("id", "usage") and v is not None}
    kept["content"] = [{k: v for k, v in b.items() if v is not None} for b in kept["content"]]
    return kept


@pytest.mark.parametrize("what", sorted(ANSWERS))
async def test_a_stream_is_stored_and_replayed_the_same(house: House, what: str) -> None:
    text, given = ANSWERS[what]
    first, miss, _ = await stream(house, text, **given)
    again, hit, kinds = await stream(house, text, **given)
    plain, also_hit = await whole(house, text, **given)
    assert (miss, hit, also_hit) == ("miss", "exact", "exact")
    assert len(house.asked) == 1
    assert without_id(first) == without_id(again) == without_id(plain)
    assert len({first["id"], again["id"], plain["id"]}) == 3
    assert first["usage"]["output_tokens"] == again["usage"]["output_tokens"]
    assert first["usage"] == again["usage"]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"


@pytest.mark.parametrize("what", sorted(ANSWERS))
async def test_a_whole_answer_is_replayed_as_a_stream(house: House, what: str) -> None:
    text, given = ANSWERS[what]
    first, miss = await whole(house, text, **given)
    again, hit, _ = await stream(house, text, **given)
    assert (miss, hit) == ("miss", "exact")
    assert without_id(first) == without_id(again)
    assert first["usage"]["output_tokens"] == again["usage"]["output_tokens"]


async def test_the_sync_sdk_streams_too(house: House) -> None:
    def ask() -> str:
        with house.sync_sdk().messages.stream(
            model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "Hi [[sim text=Yo]]"}]
        ) as events:
            return "".join(events.text_stream)

    assert await asyncio.to_thread(ask) == "Yo"
    assert await asyncio.to_thread(ask) == "Yo"
    assert len(house.asked) == 1


async def test_a_semantic_hit_streams(house: House) -> None:
    await stream(house, "What is the capital of France?")
    _, kind, _ = await stream(house, "What's the capital of France?")
    assert kind == "semantic"


async def test_streams_at_once_are_asked_once_and_mix_with_whole_answers(house: House) -> None:
    text = "What is slow? [[sim slow=0.5 words=30]]"
    streamed = [stream(house, text) for _ in range(3)]
    plain = [whole(house, text) for _ in range(3)]
    answers = [*await asyncio.gather(*streamed, *plain)]
    assert len(house.asked) == 1
    assert sorted(a[1] for a in answers) == ["coalesced"] * 5 + ["miss"]
    assert len({a[0]["id"] for a in answers}) == 6
    assert len({str(without_id(a[0])) for a in answers}) == 1


async def test_a_leader_that_hangs_up_leaves_the_answer_behind(house: House) -> None:
    text = "Going? [[sim slow=0.3 words=40]]"
    body = {
        "model": MODEL,
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
    }
    async with house.http.stream("POST", "/v1/messages", json=body) as leader:
        assert leader.headers["x-cache"] == "miss"
        async for _ in leader.aiter_bytes():
            break
    answer = await house.ask(text, max_tokens=200)
    assert answer.headers["x-cache"] in ("exact", "coalesced")
    assert len(house.asked) == 1


async def test_the_same_answer_that_lands_between_two_looks_is_no_similar_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One caller has looked for it in vain, another gets it stored, the first looks on."""
    entries = house.parts.entries
    looked, text = entries.get, "What is the capital of France?"

    async def late(fingerprint: str) -> Entry | None:
        found = await looked(fingerprint)
        monkeypatch.undo()
        await house.ask(text)
        return found

    # Of a question that nobody asked before, both are looked for at once.
    monkeypatch.setattr(type(entries), "expects", lambda *_: True)
    monkeypatch.setattr(type(entries), "get", lambda _, fingerprint: late(fingerprint))
    answer = await house.ask(text)
    assert came_from(answer) == ("exact", "identical")
    assert len(house.asked) == 1


async def raw_events(response: httpx2.Response) -> list[dict[str, Any]]:
    text = (await response.aread()).decode()
    events = [sse.decode(raw.encode() + b"\n\n") for raw in text.split("\n\n") if raw.strip()]
    return [event for event in events if event is not None]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("cut", after_events=3), "api_error"),
        (Fault("broken", after_events=3), "overloaded_error"),
    ],
)
async def test_a_stream_that_breaks_ends_in_one_error_and_is_not_stored(
    house: House, fault: Fault, kind: str
) -> None:
    house.upstream.faults.add(fault)
    body = {
        "model": MODEL,
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": "Break? [[sim words=30]]"}],
    }
    async with house.http.stream("POST", "/v1/messages", json=body) as response:
        assert response.status_code == 200
        events = await raw_events(response)
    errors = [event for event in events if event["type"] == "error"]
    assert [e["error"]["type"] for e in errors] == [kind]
    assert events[-1] == errors[0]
    answer = await house.ask("Break? [[sim words=30]]", max_tokens=200)
    assert answer.headers["x-cache"] == "miss"
    stats = (await house.http.get("/v1/stats")).json()
    assert (stats["requests"], stats["failed"], stats["miss"]) == (2, 1, 1)


async def test_an_error_before_the_first_event_is_a_status(house: House) -> None:
    with pytest.raises(APIStatusError) as raised:
        await stream(house, "Fail [[sim error=400]]")
    assert raised.value.status_code == 400


async def test_pings_are_relayed(house: House) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 20,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    async with house.http.stream("POST", "/v1/messages", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        kinds = [event["type"] for event in await raw_events(response)]
    assert "ping" in kinds


async def test_what_a_stream_cost_is_in_its_decision(house: House) -> None:
    body = {
        "model": MODEL,
        "max_tokens": 20,
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    async with house.http.stream("POST", "/v1/messages", json=body) as response:
        assert "x-cost-usd" not in response.headers
        await response.aread()
    decision = await house.http.get(f"/v1/decisions/{response.headers['x-cache-decision']}")
    assert float(decision.json()["cost_usd"]) > 0
    assert decision.json()["usage"]["output_tokens"] > 0
