"""A call under way is shared by those who asked for just that, through the front door."""

from __future__ import annotations

from asyncio import create_task
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, MODEL, House

WORDS = 400


def at_length(body: Mapping[str, Any]) -> Directives:
    """A Claude that says much, slowly enough for others to join."""
    return Directives(words=WORDS, fault=Fault("slow", delay_s=0.5))


@pytest.fixture
async def slow(tmp_path: Path) -> Any:
    async with House.open(tmp_path, claude=at_length) as house:
        yield house


async def query(house: House, **fields: Any) -> Any:
    asked = {"prompt": "Tell me all.", "model": MODEL, **fields}
    return await house.http.post("/v1/query", json=asked, headers={"x-api-key": "any"})


async def put(house: House, **fields: Any) -> None:
    path, admin = "/admin/v1/tenants/default", {"x-api-key": ADMIN_KEY}
    assert (await house.http.put(path, json=fields, headers=admin)).status_code == 200


async def test_who_wants_no_cap_does_not_get_what_a_cap_has_cut(slow: House) -> None:
    await put(slow, lengths={"default": 20, "thinking_room": 0})
    first = create_task(query(slow))
    await until(lambda: len(slow.asked) == 1)
    second = await query(slow, levers_off=["output-cap"])
    cut = (await first).json()
    assert cut["stop_reason"] == "max_tokens"
    assert second.headers["x-cache"] == "miss"
    assert second.json()["stop_reason"] == "end_turn"
    assert len(second.json()["text"].split()) > len(cut["text"].split())


async def test_who_says_how_long_does_not_get_what_was_left_to_us(slow: House) -> None:
    await put(slow, lengths={"default": 20, "thinking_room": 0})
    first = create_task(query(slow))
    await until(lambda: len(slow.asked) == 1)
    placeholder = slow.asked[0].body["max_tokens"]
    second = await query(slow, max_tokens=placeholder)
    assert (await first).headers["x-cache"] == second.headers["x-cache"] == "miss"


async def test_a_message_is_not_cut_at_the_price_of_a_stream(slow: House) -> None:
    await put(slow, lengths={"stream_usd": 0.000_1})
    fields: dict[str, Any] = {"max_tokens": 4_000}
    streamed = create_task(slow.ask("Tell me all.", stream=True, **fields))
    await until(lambda: len(slow.asked) == 1)
    whole = await slow.ask("Tell me all.", **fields)
    assert whole.json()["stop_reason"] == "end_turn"
    assert '"stop_reason":"max_tokens"' in (await streamed).text


async def test_a_request_that_claude_refuses_fails_nobody_elses(slow: House) -> None:
    bad: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "9h"}}
    held = create_task(slow.ask("Tell me all.", **bad))
    good = await slow.ask("Tell me all.")
    assert (good.status_code, (await held).status_code) == (200, 400)


async def test_those_who_ask_the_same_still_share_one_call(slow: House) -> None:
    asked = [
        create_task(slow.ask("Tell me all.", metadata={"user_id": user}, stream=stream))
        for user in ("ann", "bob")
        for stream in (False, True)
    ]
    kinds = sorted([(await one).headers["x-cache"] for one in asked])
    assert kinds == ["coalesced", "coalesced", "coalesced", "miss"]
    assert len(slow.asked) == 1
