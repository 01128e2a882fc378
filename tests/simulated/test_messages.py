from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic

from cacheserver.simulated import Directives, Fault
from tests.simulated.conftest import HEADERS, MODEL, Claude, Start

USER = {"role": "user", "content": "Capital of France?"}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1},
        },
        "required": ["city", "unit", "days"],
    },
}
DOCUMENT = {
    "type": "document",
    "title": "Atlas",
    "source": {"type": "text", "media_type": "text/plain", "data": "Paris is in France."},
}
CITE = {"type": "text", "text": "Where? [[sim cite]]"}


def text_of(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message["content"])


async def fold(claude: Claude, text: str) -> None:
    async with claude.sdk().messages.stream(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": text}]
    ) as stream:
        await stream.get_final_message()


async def test_the_official_sdk_gets_a_message(claude: Claude) -> None:
    message = await claude.sdk().messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Capital of France?"}]
    )
    assert message.stop_reason == "end_turn"
    assert message.model == MODEL
    [block] = message.content
    assert block.type == "text"
    assert "simulated" in block.text
    assert "Capital of France?" in block.text
    assert message.usage.input_tokens == 8  # ceil(18 / 2.5)
    assert message.usage.output_tokens == -(-len(block.text) * 2 // 5)
    assert message.usage.service_tier == "standard"
    assert message._request_id
    assert message._request_id.startswith("req_")


async def test_the_sync_sdk_gets_one_too(claude: Claude) -> None:
    def ask() -> str:
        with Anthropic(api_key="one", base_url=claude.url) as client:
            with client.messages.stream(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
            ) as stream:
                streamed = "".join(stream.text_stream)
            whole = client.messages.create(
                model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
            )
        assert streamed == text_of(whole.to_dict())
        return streamed

    assert "Hello" in await asyncio.to_thread(ask)


async def test_every_response_says_that_it_is_simulated_and_carries_claudes_headers(
    claude: Claude,
) -> None:
    for response in (
        await claude.post(),
        await claude.post(stream=True),
        await claude.post(max_tokens="many"),
        await claude.http.get("/v1/models", headers=HEADERS),
        await claude.http.get("/nowhere"),
    ):
        assert response.headers["x-upstream"] == "simulated"
        assert response.headers["request-id"].startswith("req_")
        for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
            for what in ("limit", "remaining", "reset"):
                assert f"anthropic-ratelimit-{kind}-{what}" in response.headers
    assert (await claude.post()).headers["anthropic-organization-id"]


async def test_the_same_request_gets_the_same_answer_and_another_another(claude: Claude) -> None:
    first = await claude.ask()
    again = await claude.ask()
    assert again["content"] == first["content"]
    assert again["id"] != first["id"]
    other = [
        await claude.ask("Capital of Spain?"),
        await claude.ask(system="Answer in German."),
        await claude.ask(system="Answer in French."),
        await claude.ask(model="claude-opus-5-5"),
        await claude.ask(tools=[WEATHER]),
        await claude.ask(a_field_of_tomorrow=1),
    ]
    assert len({text_of(message) for message in [first, *other]}) == 7


async def test_what_never_shapes_an_answer_does_not(claude: Claude) -> None:
    marked = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    first = await claude.ask(system="Be brief.")
    assert (await claude.ask(system=[marked]))["content"] == first["content"]
    user = {"role": "user", "content": [{"type": "text", "text": "Capital of France?"}]}
    for given in (
        {"messages": [user]},
        {"metadata": {"user_id": "u"}},
        {"service_tier": "standard_only"},
        {"cache_control": {"type": "ephemeral"}},
        {"temperature": None},
    ):
        assert (await claude.ask(system="Be brief.", **given))["content"] == first["content"]


CASES: list[tuple[str, dict[str, Any]]] = [
    ("Hello", {}),
    ("Hello [[sim words=300]]", {}),
    ("Hello [[sim text='']]", {}),
    ("Hello [[sim thinking=30]]", {}),
    ("Hello", {"thinking": {"type": "adaptive", "display": "omitted"}}),
    ("Hello [[sim redacted thinking=3]]", {}),
    ("Weather? [[sim tool=get_weather thinking=9]]", {"tools": [WEATHER]}),
    ("Weather? [[sim tool=get_weather input={}]]", {"tools": [WEATHER]}),
    ("News? [[sim search]]", {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}),
    ("News? [[sim pause]]", {}),
    ("No [[sim refusal=cyber]]", {}),
    ("No [[sim refusal=bio text='I was about to']]", {}),
    ("Long [[sim words=300]]", {"max_tokens": 20}),
    ("Long [[sim text='one two three']]", {"stop_sequences": ["two"]}),
    ("", {"messages": [{"role": "user", "content": [DOCUMENT, CITE]}]}),
    ("Stop [[sim stop=model_context_window_exceeded]]", {}),
]


@pytest.mark.parametrize(("text", "given"), CASES)
async def test_a_stream_folds_into_the_very_message(
    claude: Claude, text: str, given: dict[str, Any]
) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], **given}
    options = {"model": MODEL, "max_tokens": 1_000, **body}
    whole = await claude.sdk().messages.create(**options)
    async with claude.sdk().messages.stream(**options) as stream:
        folded = await stream.get_final_message()
    expected: dict[str, Any] = whole.to_dict()
    found: dict[str, Any] = folded.to_dict()
    for message in (expected, found):
        message.pop("id")
        for block in message["content"]:
            block.pop("parsed_output", None)
    assert found == expected


async def test_the_events_come_in_claudes_order(claude: Claude) -> None:
    response = await claude.post("Hello [[sim thinking=1 text=ok]]", stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = []
    for event in response.text.strip().split("\n\n"):
        name, data = event.split("\n")
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")
        events.append(json.loads(data.removeprefix("data: ")))
    kinds = [(e["type"], e.get("delta", {}).get("type")) for e in events if e["type"] != "ping"]
    deltas = [kind for _, kind in kinds if kind]
    assert kinds[0] == ("message_start", None)
    assert [kind for kind, _ in kinds[-2:]] == ["message_delta", "message_stop"]
    assert deltas[-2:] == ["signature_delta", "text_delta"]
    assert set(deltas[:-2]) == {"thinking_delta"}
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert events[0]["message"]["stop_reason"] is None
    assert events[-2]["usage"]["output_tokens_details"]["thinking_tokens"] > 0
    assert {"type": "ping"} in events


async def test_the_input_of_a_tool_comes_in_pieces_of_json_and_an_empty_one_in_none(
    claude: Claude,
) -> None:
    async def pieces(given: str) -> list[str]:
        text = f"[[sim tool=get_weather input={given}]]"
        response = await claude.post(text, stream=True, tools=[WEATHER])
        lines = [line for line in response.text.splitlines() if "input_json_delta" in line]
        return [json.loads(line[len("data: ") :])["delta"]["partial_json"] for line in lines]

    assert await pieces("{}") == [""]
    first, *rest = await pieces("""'{"city": "Paris", "days": 3}'""")
    assert first == ""
    assert json.loads("".join(rest)) == {"city": "Paris", "days": 3}
    assert len(rest) > 1


async def test_thinking_is_off_unless_asked_for(claude: Claude) -> None:
    assert [b["type"] for b in (await claude.ask())["content"]] == ["text"]
    thought = await claude.ask(thinking={"type": "adaptive"})
    assert [b["type"] for b in thought["content"]] == ["thinking", "text"]
    assert thought["usage"]["output_tokens_details"]["thinking_tokens"] > 0
    omitted = await claude.ask(thinking={"type": "adaptive", "display": "omitted"})
    assert omitted["content"][0]["thinking"] == ""
    assert omitted["content"][0]["signature"]
    assert omitted["usage"]["output_tokens_details"]["thinking_tokens"] > 0


async def test_a_thinking_block_belongs_to_its_conversation(claude: Claude) -> None:
    first = await claude.ask(thinking={"type": "adaptive"}, system="Be brief.")
    turn = {"role": "assistant", "content": first["content"]}
    more = {"role": "user", "content": "And of Spain?"}

    async def back(**given: Any) -> tuple[int, str]:
        body = {"system": "Be brief.", "messages": [USER, turn, more], **given}
        response = await claude.post(**body)
        return response.status_code, response.text

    assert (await back())[0] == 200
    marked = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert (await back(system=marked))[0] == 200
    other = {"role": "user", "content": "What is the capital of France?"}
    for given in ({"messages": [other, turn, more]}, {"system": "Be long."}):
        status, text = await back(**given)
        assert status == 400
        assert "bound to a different conversation" in text
    forged = {**first["content"][0], "thinking": "something else"}
    status, text = await back(
        messages=[USER, {"role": "assistant", "content": [forged, first["content"][1]]}, more]
    )
    assert (status, "Invalid `signature`" in text) == (400, True)
    unsigned = {**first["content"][0], "signature": "abc"}
    status, text = await back(messages=[USER, {"role": "assistant", "content": [unsigned]}, more])
    assert (status, "Invalid `signature`" in text) == (400, True)


async def test_a_thinking_block_of_another_model_or_account_is_dropped_unbilled(
    claude: Claude,
) -> None:
    first = await claude.ask("[[sim thinking=400]] Hello")
    hello = {"role": "user", "content": "[[sim thinking=400]] Hello"}
    more = {"role": "user", "content": "More"}
    turn = {"role": "assistant", "content": first["content"]}
    body: dict[str, Any] = {"messages": [hello, turn, more]}
    mine = (await claude.ask(**body))["usage"]["input_tokens"]
    theirs = (await claude.ask(**body, headers={"x-api-key": "two"}))["usage"]["input_tokens"]
    opus = (await claude.ask(**body, model="claude-opus-5-5"))["usage"]["input_tokens"]
    assert mine > theirs + 400
    assert opus == theirs


async def test_a_tool_is_used_when_asked_for(claude: Claude) -> None:
    for text, given in (
        ("Weather? [[sim tool=get_weather]]", {}),
        ("Weather?", {"tool_choice": {"type": "any"}}),
        ("Weather?", {"tool_choice": {"type": "tool", "name": "get_weather"}}),
    ):
        message = await claude.ask(text, tools=[WEATHER], **given)
        [block] = message["content"]
        assert message["stop_reason"] == "tool_use"
        assert block["name"] == "get_weather"
        assert block["input"]["unit"] == "celsius"
        assert block["input"]["days"] == 1
        assert isinstance(block["input"]["city"], str)
    assert (await claude.ask("Weather?", tools=[WEATHER]))["stop_reason"] == "end_turn"


async def test_a_schema_asked_for_is_kept_to(claude: Claude) -> None:
    form = {"type": "json_schema", "schema": WEATHER["input_schema"]}
    message = await claude.ask(output_config={"format": form})
    assert json.loads(text_of(message)).keys() == {"city", "unit", "days"}


async def test_an_answer_ends_where_it_must(claude: Claude) -> None:
    cut = await claude.ask("Hello [[sim words=300]]", max_tokens=20)
    assert (cut["stop_reason"], cut["usage"]["output_tokens"]) == ("max_tokens", 20)
    assert len(text_of(cut)) == 50
    stopped = await claude.ask("[[sim text='one two three']]", stop_sequences=["three", "two"])
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "two")
    assert text_of(stopped) == "one "
    refused = await claude.ask("[[sim refusal=cyber]]")
    assert refused["content"] == []
    assert refused["stop_details"]["category"] == "cyber"
    paused = await claude.ask("[[sim pause]]")
    assert paused["stop_reason"] == "pause_turn"
    assert (await claude.ask("[[sim stop=compaction]]"))["stop_reason"] == "compaction"


async def test_a_paused_turn_can_be_continued(claude: Claude) -> None:
    asked = {"role": "user", "content": "[[sim pause thinking=4]] News?"}
    paused = await claude.ask(messages=[asked])
    turn = {"role": "assistant", "content": paused["content"]}
    assert (await claude.post(messages=[asked, turn])).status_code == 200


async def test_a_search_is_counted(claude: Claude) -> None:
    message = await claude.ask("[[sim search]] News?")
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 1
    kinds = [block["type"] for block in message["content"]]
    assert kinds == ["server_tool_use", "web_search_tool_result", "text"]


async def test_directives_may_come_from_the_settings(start: Start) -> None:
    claude = await start(
        direct=lambda body: Directives(text="set") if body["max_tokens"] == 7 else None
    )
    assert text_of(await claude.ask(max_tokens=7)) == "set"
    assert text_of(await claude.ask()) != "set"
    assert text_of(await claude.ask("[[sim text=said]]", max_tokens=7)) == "said"


async def test_a_malformed_directive_is_refused(claude: Claude) -> None:
    for inside in ("words=many", "input=[", "unknown=1", "text='"):
        response = await claude.post(f"[[sim {inside}]]")
        assert response.status_code == 400
        assert "simulated directive" in response.text


async def test_tokens_are_counted_as_they_are_billed(claude: Claude) -> None:
    body: dict[str, Any] = {
        "model": MODEL,
        "system": "Be brief.",
        "tools": [WEATHER],
        "messages": [{"role": "user", "content": [DOCUMENT, {"type": "text", "text": "Where?"}]}],
    }
    counted = await claude.sdk().messages.count_tokens(**body)
    billed = await claude.sdk().messages.create(max_tokens=9, **body)
    assert counted.input_tokens == billed.usage.input_tokens > 0
    marked = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    again = await claude.sdk().messages.count_tokens(**{**body, "system": marked})
    assert again == counted


async def test_the_models_are_listed_and_shown(claude: Claude) -> None:
    listed = [model async for model in claude.sdk().models.list(limit=5)]
    assert {"claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"} <= {m.id for m in listed}
    assert len(listed) == len({m.id for m in listed}) > 5
    shown = await claude.sdk().models.retrieve("claude-haiku-4-5")
    assert (shown.id, shown.line) == ("claude-haiku-4-5-20251001", "haiku")
    opus = await claude.sdk().models.retrieve("claude-opus-5-5")
    assert opus.capabilities
    assert opus.capabilities.thinking.types.disabled.supported is False
    with pytest.raises(anthropic.NotFoundError):
        await claude.sdk().models.retrieve("claude-1")


async def test_what_arrived_can_be_looked_at_without_the_secrets(claude: Claude) -> None:
    await claude.post("Hello", headers={"authorization": "Bearer sk-ant-secret", "x-mark": "1"})
    await claude.http.get("/v1/models?limit=3", headers=HEADERS)
    shown = (await claude.http.get("/_simulated/requests")).json()
    assert shown["counts"] == {"/v1/messages": 1, "/v1/models": 1}
    asked, listed = shown["requests"]
    assert asked["body"]["messages"] == [{"role": "user", "content": "Hello"}]
    assert asked["headers"]["x-mark"] == "1"
    assert asked["headers"]["authorization"].startswith("Bearer sha256:")
    assert "sk-ant-secret" not in json.dumps(shown)
    assert listed["query"] == "limit=3"
    raw = claude.simulated.requests[0].raw
    assert (json.loads(raw), len(raw)) == (asked["body"], asked["body_bytes"])
    await claude.http.post("/_simulated/reset")
    assert (await claude.http.get("/_simulated/requests")).json()["requests"] == []


async def test_the_log_is_bounded_and_the_counts_go_on(start: Start) -> None:
    claude = await start(kept_requests=2)
    for _ in range(3):
        await claude.ask()
    assert len(claude.simulated.requests) == 2
    assert claude.simulated.counts["/v1/messages"] == 3


async def test_the_logs_bodies_are_bounded_in_bytes(start: Start) -> None:
    claude = await start(kept_bytes=100_000)
    for size in (60_000, 60_000, 10_000, 10_000, 200_000):
        await claude.ask("x" * size)
        kept = [len(each.raw) for each in claude.simulated.requests]
        assert kept[-1] > size  # the latest is there whatever its size
        assert len(kept) == 1 or sum(kept) <= 100_000
    assert len(kept) == 1
    assert claude.simulated.counts["/v1/messages"] == 5


async def test_a_slow_answer_is_abandoned_when_the_caller_leaves(start: Start) -> None:
    arrived = asyncio.Event()
    claude = await start(ttft_s=3_600, direct=lambda _: arrived.set())
    asked = asyncio.create_task(claude.post())
    await arrived.wait()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    # The server stops at the end of this test without waiting an hour.


async def test_the_pace_of_a_stream_is_that_of_the_settings(start: Start) -> None:
    claude = await start(tokens_per_s=400, ping_s=0.02)
    began = asyncio.get_running_loop().time()
    response = await claude.post("[[sim text=12345678901]]", stream=True)  # 5 tokens in one delta
    assert asyncio.get_running_loop().time() - began >= 5 / 400
    assert response.text.count("event: ping") == 1
    slow = await start(tokens_per_s=100, ping_s=0.02)
    response = await slow.post("[[sim text=12345678901]]", stream=True)  # 50 ms: two pings more
    assert response.text.count("event: ping") == 3


async def test_faults_come_as_often_as_asked_for(claude: Claude) -> None:
    fault = {"kind": "error", "status": 429, "retry_after_s": 1.5, "times": 2}
    assert (await claude.http.post("/_simulated/faults", json=fault)).json() == {"waiting": 2}
    claude.simulated.faults.add(Fault("error", status=500, path="/v1/messages/count_tokens"))
    answers = [await claude.post() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].json()["error"]["type"] == "rate_limit_error"
    assert answers[0].json()["request_id"] == answers[0].headers["request-id"]
    assert answers[0].headers["retry-after"] == "2"
    assert answers[0].headers["retry-after-ms"] == "1500"
    body = {"model": MODEL, "messages": [USER]}
    counted = await claude.http.post("/v1/messages/count_tokens", json=body, headers=HEADERS)
    assert counted.status_code == 500
    for wrong in ({"kind": "flood"}, {"kind": "cut", "path": "/v1/models"}, {"oops": 1}, 3):
        response = await claude.http.post("/_simulated/faults", json=wrong)
        assert response.status_code == 400


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 429, 500, 504, 529])
async def test_the_sdk_knows_every_error_by_its_type(claude: Claude, status: int) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await claude.sdk().messages.create(
            model=MODEL,
            max_tokens=10,
            messages=[{"role": "user", "content": f"[[sim error={status}]]"}],
        )
    assert caught.value.status_code == status
    assert caught.value.type is not None
    assert caught.value.request_id


async def test_a_broken_stream_raises_in_the_sdk(claude: Claude) -> None:
    for directive, error in (
        ("broken=4", anthropic.APIStatusError),
        ("cut=4", httpx2.RemoteProtocolError),
    ):
        with pytest.raises(error):
            await fold(claude, f"[[sim {directive}]] Hello")


async def test_an_answer_may_be_late_by_a_directive(claude: Claude) -> None:
    began = asyncio.get_running_loop().time()
    await claude.ask("[[sim slow=0.05]]")
    assert asyncio.get_running_loop().time() - began >= 0.05
