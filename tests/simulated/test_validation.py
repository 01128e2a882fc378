from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulated.conftest import HEADERS, MODEL, Claude

USER = {"role": "user", "content": "Hello"}
SAID = {"role": "assistant", "content": "Hi"}
TOOL = {"name": "t", "input_schema": {"type": "object"}}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "t", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]}
TEXT = {"type": "text", "text": "x"}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}


def marked(ttl: str = "5m", **given: Any) -> dict[str, Any]:
    return {
        "type": "text",
        "text": "x",
        "cache_control": {"type": "ephemeral", "ttl": ttl},
        **given,
    }


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model: Field required"),
    ({"model": 3}, "model: Input should be a valid string"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 128_001}, "max_tokens: 128001 > 128000"),
    ({"messages": None}, "messages: Field required"),
    ({"messages": "Hello"}, "messages: Input should be a valid list"),
    ({"messages": []}, "messages: at least one"),
    ({"messages": ["Hello"]}, "messages.0"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
    ({"messages": [SAID, USER]}, "first message"),
    ({"messages": [USER, SAID]}, "prefill"),
    ({"messages": [USER, USED, USER]}, "`tool_use` ids were found without"),
    ({"messages": [USER, {"role": "assistant", "content": [DOCUMENT]}, USER]}, "document"),
    (
        {"messages": [{"role": "user", "content": [{**TEXT, "citations": [1]}]}]},
        "citations",
    ),
    ({"system": 3}, "system"),
    ({"system": [{"type": "image"}]}, "system.0.type"),
    ({"tools": {}}, "tools"),
    ({"tools": [{}]}, "tools.0.name"),
    ({"tools": [{"name": "t"}]}, "input_schema"),
    ({"stream": "yes"}, "stream"),
    ({"stop_sequences": [" "]}, "stop_sequences"),
    ({"temperature": 1}, "temperature"),
    ({"top_p": 0.5}, "top_p"),
    ({"top_k": 1}, "top_k"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "thinking.type"),
    ({"thinking": "on"}, "thinking"),
    ({"model": "claude-opus-5-5", "thinking": {"type": "disabled"}}, "thinking.type"),
    ({"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}}, "thinking.type"),
    ({"model": "claude-haiku-4-5", "output_config": {"effort": "low"}}, "effort"),
    ({"output_config": {"effort": "extreme"}}, "output_config.effort"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"tool_choice": {"type": "all"}}, "tool_choice.type"),
    ({"model": "claude-opus-5-5", "tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice"),
    ({"model": "claude-haiku-4-5", "system": "x" * 700_000}, "too long"),
    ({"system": [marked() for _ in range(5)]}, "A maximum of 4 blocks"),
    ({"system": [marked() for _ in range(4)], "cache_control": {"type": "ephemeral"}}, "Found 5"),
    ({"system": [marked("5m"), marked("1h")]}, "must not come after"),
    ({"system": [marked("5m")], "cache_control": {"type": "ephemeral", "ttl": "1h"}}, "after"),
    ({"system": [marked("2h")]}, "system.0.cache_control.ttl"),
    ({"cache_control": {"type": "forever"}}, "cache_control"),
    (
        {
            "messages": [{"role": "user", "content": [marked("5m")]}],
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
        "different ttl",
    ),
    ({"max_tokens": 0, "stream": True}, "max_tokens: 0"),
    ({"max_tokens": 0, "thinking": {"type": "adaptive"}}, "max_tokens: 0"),
    ({"max_tokens": 0, "tools": [TOOL], "tool_choice": {"type": "any"}}, "max_tokens: 0"),
    ({"max_tokens": 0, "output_config": {"format": {"type": "json_schema"}}}, "max_tokens: 0"),
]  # fmt: skip


def request(given: dict[str, Any]) -> dict[str, Any]:
    body = {"model": MODEL, "max_tokens": 100, "messages": [USER], **given}
    return {name: value for name, value in body.items() if value is not None}


@pytest.mark.parametrize(("given", "message"), REFUSED)
async def test_what_the_api_refuses_is_refused(
    claude: Claude, given: dict[str, Any], message: str
) -> None:
    response = await claude.http.post("/v1/messages", json=request(given), headers=HEADERS)
    error = response.json()
    assert (response.status_code, error["type"]) == (400, "error")
    assert error["error"]["type"] == "invalid_request_error"
    assert message in error["error"]["message"]
    assert error["request_id"] == response.headers["request-id"]


TAKEN: list[dict[str, Any]] = [
    {"a_field_of_tomorrow": {"x": 1}},
    {"messages": [USER, USER]},
    {"messages": [USER, USED, RESULT]},
    {"messages": [USER, SAID, {"role": "system", "content": "Now be brief."}, USER]},
    {"system": [marked("1h"), marked("5m"), marked(), marked()]},
    {"system": [marked() for _ in range(3)], "cache_control": {"type": "ephemeral"}},
    {
        "system": [marked() for _ in range(3)],
        "messages": [{"role": "user", "content": [marked()]}],
        "cache_control": {"type": "ephemeral"},
    },
    {"thinking": {"type": "disabled"}},
    {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}},
    {"tools": [TOOL], "tool_choice": {"type": "any"}},
    {"tools": [{"type": "web_search_20260209", "name": "web_search"}]},
    {"model": "claude-haiku-4-5", "messages": [USER, SAID]},
    {"max_tokens": 0},
    {"max_tokens": 128_000},
]


@pytest.mark.parametrize("given", TAKEN)
async def test_what_the_api_takes_is_taken(claude: Claude, given: dict[str, Any]) -> None:
    response = await claude.http.post("/v1/messages", json=request(given), headers=HEADERS)
    assert response.status_code == 200, response.text


async def test_sampling_is_refused_by_version_and_by_model(claude: Claude) -> None:
    old = {**HEADERS, "anthropic-version": "2023-06-01"}
    for given, status in (
        ({"temperature": 1}, 200),
        ({"temperature": 0}, 400),
        ({"temperature": 0, "model": "claude-haiku-4-5"}, 200),
    ):
        response = await claude.http.post("/v1/messages", json=request(given), headers=old)
        assert response.status_code == status


async def test_a_model_nobody_knows_is_a_404(claude: Claude) -> None:
    response = await claude.post(model="claude-haiku-9")
    assert response.status_code == 404
    assert response.json()["error"] == {
        "type": "not_found_error",
        "message": "model: claude-haiku-9",
    }


async def test_counting_validates_like_asking_but_needs_no_max_tokens(claude: Claude) -> None:
    async def count(given: dict[str, Any]) -> int:
        body = request({"max_tokens": None, **given})
        counted = await claude.http.post("/v1/messages/count_tokens", json=body, headers=HEADERS)
        return counted.status_code

    assert await count({}) == 200
    assert await count({"temperature": 0}) == 400
    assert await count({"messages": []}) == 400


async def test_without_a_credential_or_a_version_nobody_is_served(claude: Claude) -> None:
    body = request({})
    version = {"anthropic-version": "2026-10-21"}
    for headers, status in (
        (version, 401),
        ({**version, "authorization": "Bearer"}, 401),
        ({**version, "authorization": "Basic abc"}, 401),
        ({**version, "x-api-key": "one"}, 200),
        ({**version, "authorization": "Bearer one"}, 200),
        ({"x-api-key": "one"}, 400),
        ({"x-api-key": "one", "anthropic-version": "2020-01-01"}, 400),
    ):
        response = await claude.http.post("/v1/messages", json=body, headers=headers)
        assert response.status_code == status
        assert response.headers["request-id"]


async def test_a_body_that_is_no_json_object_is_a_400(claude: Claude) -> None:
    for raw in (b"", b"{", b"[]", b"\xff", b"3"):
        response = await claude.http.post("/v1/messages", content=raw, headers=HEADERS)
        assert (response.status_code, response.json()["type"]) == (400, "error")


async def test_a_body_above_32_mb_is_a_413(claude: Claude) -> None:
    raw = json.dumps(request({"padding": "x" * 32 * 1024 * 1024})).encode()
    response = await claude.http.post("/v1/messages", content=raw, headers=HEADERS)
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "request_too_large"


async def test_the_path_is_matched_without_its_query_and_others_in_claudes_shape(
    claude: Claude,
) -> None:
    asked = await claude.http.post("/v1/messages?beta=true", json=request({}), headers=HEADERS)
    assert asked.status_code == 200
    for method, path, status in (("GET", "/v1/messages", 405), ("GET", "/v1/nowhere", 404)):
        response = await claude.http.request(method, path, headers=HEADERS)
        assert response.status_code == status
        assert response.json()["type"] == "error"
