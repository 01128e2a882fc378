"""Claude Code through the front door: its requests as recorded, asked again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.house import ADMIN_KEY, House, came_from

Request = Mapping[str, Any]

RECORDED: Mapping[str, Sequence[Sequence[Request]]] = json.loads(
    Path(__file__).with_name("claude_code_requests.json").read_text()
)["sessions"]


def summed(request: Request) -> Request:
    """Return a request with a checksum, which Claude Code adds where Anthropic is asked."""
    first, *rest = request["body"]["system"]
    first = {**first, "text": f"{first['text']} cch={secrets.token_hex(3)[:5]};"}
    return {**request, "body": {**request["body"], "system": [first, *rest]}}


async def send(house: House, request: Request) -> tuple[str, str]:
    answer = await house.http.post(
        request["path"], json=request["body"], headers={**request["headers"], "x-api-key": "x"}
    )
    assert "event: message_stop" in answer.text
    return came_from(answer)


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("session", sorted(RECORDED))
async def test_the_second_run_is_an_exact_hit(house: House, session: str, checksum: bool) -> None:
    first, second = ([summed(r) if checksum else r for r in run] for run in RECORDED[session])
    for request in first:
        assert (await send(house, request))[0] == "miss"
    assert [one.body["system"] for one in house.asked] == [r["body"]["system"] for r in first]
    for request in second:
        assert await send(house, request) == ("exact", "identical")
    assert len(house.asked) == len(first)


async def test_another_question_another_day_and_another_directory_are_asked(house: House) -> None:
    _, request = RECORDED["question"][0]
    await send(house, request)
    for old, new in (
        ("capital of France", "capital of Spain"),
        ("2026-11-30", "2026-12-01"),
        ("/home/dev/project", "/home/dev/other"),
    ):
        raw = json.dumps(request["body"])
        assert old in raw
        other = {**request, "body": json.loads(raw.replace(old, new))}
        assert (await send(house, other))[0] == "miss"


async def test_an_edit_that_clears_thinking_is_never_shared(house: House) -> None:
    _, request = RECORDED["question"][0]
    keep = {"type": "thinking_turns", "value": 1}
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": keep}]}
    other = {**request, "body": {**request["body"], "context_management": edits}}
    for _ in range(2):
        assert await send(house, other) == ("bypass", "context-management")


async def test_billing_makes_no_versions_of_the_system_prompt(house: House) -> None:
    for _ in range(4):
        title, main = (summed(request) for request in RECORDED["question"][0])
        for request in (title, main):
            fresh = {**request, "headers": {**request["headers"], "cache-control": "no-cache"}}
            await send(house, fresh)
    await house.parts.prompt_caching.writes.drain()
    admin = {"x-api-key": ADMIN_KEY}
    (space,) = (await house.http.get("/admin/v1/prompts/default/versions", headers=admin)).json()
    assert len(space["versions"]) == 2  # of the title, and of the question
    assert (await house.http.get("/admin/v1/prompts/default/fragments", headers=admin)).json() == []
    listed = (await house.http.get("/v1/decisions")).json()["items"]
    assert all(one["system"].startswith("You are a Claude agent") for one in listed)


async def test_a_prompt_behind_a_changing_checksum_is_read_from_claudes_cache(
    house: House,
) -> None:
    prompt = {"type": "text", "text": "You answer questions of customers. " * 200}
    for number in range(4):
        header = f"x-anthropic-billing-header: cc_version=2.1.197.73f; cch=0000{number};"
        system = [{"type": "text", "text": header}, prompt]
        answer = await house.ask(f"Where is order {number}?", system=system)
        await house.parts.prompt_caching.writes.drain()
    assert answer.json()["usage"]["cache_read_input_tokens"] > 2_000
    first, second = house.asked[-1].body["system"]
    assert first == system[0]
    assert second["cache_control"]["type"] == "ephemeral"
