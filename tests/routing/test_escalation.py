"""Cheap answers looked at and asked for again, through the front door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.house import ADMIN_KEY, House, came_from

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
TASK = {"x-cache-task": "extraction"}
CHECKED = {**TASK, "x-cache-check": '{"one_of": ["refund", "order"]}'}
AUTO = {"model": "auto"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    says = {HAIKU: Directives(text="It may be a refund."), SONNET: Directives(text="refund")}

    def direct(body: Mapping[str, Any]) -> Directives | None:
        return says.get(body["model"])

    async with House.open(tmp_path, claude=direct) as opened:
        opened.says = says  # type: ignore[attr-defined]
        yield opened


def models(house: House) -> list[str]:
    return [request.body["model"] for request in house.asked]


async def test_an_answer_that_will_not_do_is_asked_again_one_tier_up_and_kept(
    house: House,
) -> None:
    first = await house.ask("My money back!", headers=CHECKED, **AUTO)
    assert came_from(first)[0] == "miss"
    assert first.json()["content"][0]["text"] == "refund"
    assert first.headers["x-cache-route"] == f"{SONNET}; escalated"
    assert models(house) == [HAIKU, SONNET]
    again = await house.ask("My money back!", headers=CHECKED, **AUTO)
    assert came_from(again)[0] == "exact"
    decision = first.headers["x-cache-decision"]
    record = await house.http.get(f"/v1/decisions/{decision}", headers={"x-api-key": "any"})
    tried = record.json()["asked_how"]["tried"]
    assert (tried["model"], tried["why"]) == (HAIKU, "one-of")
    assert tried["cost"] > 0


async def test_thinking_that_was_switched_off_comes_back_with_the_tier_above(house: House) -> None:
    """Sonnet 5.5 refuses `disabled`: nobody would escalate to it otherwise."""
    quiet = {"lengths": {"thinking_off": ["extraction"], "by_task": {"extraction": 30}}}
    await house.http.put("/admin/v1/tenants/default", json=quiet, headers=ADMIN)
    house.parts.tenants.forget("default")
    asked = {"prompt": "My money back!", "task": "extraction", "check": {"one_of": ["refund"]}}
    answer = await house.http.post("/v1/query", json=asked)
    assert answer.json()["text"] == "refund"
    low, above = (request.body for request in house.asked)
    assert (low["thinking"], low["max_tokens"]) == ({"type": "disabled"}, 30)
    assert ("thinking" in above, above["max_tokens"]) == (False, 30 + 8_192)


async def test_who_wants_answers_checked_gets_none_that_were_not(house: House) -> None:
    plain = await house.ask("My money back!", headers=TASK, **AUTO)
    assert plain.json()["content"][0]["text"] == "It may be a refund."
    checked = await house.ask("My money back!", headers=CHECKED, **AUTO)
    assert came_from(checked)[0] == "miss"
    assert checked.json()["content"][0]["text"] == "refund"


async def test_what_no_model_does_right_is_given_and_not_kept(house: House) -> None:
    house.says[SONNET] = Directives(text="perhaps")  # type: ignore[attr-defined]
    for _ in range(2):
        answer = await house.ask("My money back!", headers=CHECKED, **AUTO)
        assert came_from(answer)[0] == "miss"
        assert answer.json()["content"][0]["text"] == "perhaps"
    assert models(house) == [HAIKU, SONNET] * 2


async def test_a_better_model_that_fails_leaves_the_answer_there_is(house: House) -> None:
    house.says[SONNET] = Directives(fault=Fault("error", status=400))  # type: ignore[attr-defined]
    answer = await house.ask("My money back!", headers=CHECKED, **AUTO)
    assert answer.json()["content"][0]["text"] == "It may be a refund."
    assert 'swallowed_total{site="escalate"} 1.0' in house.parts.metrics.render().decode()


def streamed_text(streamed: Any) -> str:
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line[:5] == "data:"]
    assert events[-1]["type"] == "message_stop"
    return "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")


async def test_a_stream_is_held_back_where_the_tenant_says_so(house: House) -> None:
    rules = {"routing": {"validation": {"enabled": True, "streams": True}}}
    put = await house.http.put("/admin/v1/tenants/default", json=rules, headers=ADMIN)
    assert put.status_code == 200
    streamed = await house.ask("My money back!", headers=CHECKED, stream=True, **AUTO)
    assert came_from(streamed)[0] == "miss"
    assert streamed_text(streamed) == "refund"
    assert models(house) == [HAIKU, SONNET]


async def test_a_stream_that_was_not_held_back_goes_out_and_is_not_kept_if_it_will_not_do(
    house: House,
) -> None:
    streamed = await house.ask("My money back!", headers=CHECKED, stream=True, **AUTO)
    assert streamed_text(streamed) == "It may be a refund."
    assert models(house) == [HAIKU]
    whole = await house.ask("My money back!", headers=CHECKED, **AUTO)
    assert came_from(whole)[0] == "miss"
    assert whole.json()["content"][0]["text"] == "refund"


async def test_query_takes_a_check_too(house: House) -> None:
    asked = {"prompt": "My money back!", "task": "extraction", "check": {"one_of": ["refund"]}}
    answer = await house.http.post("/v1/query", json=asked, headers={"x-api-key": "any"})
    assert answer.status_code == 200
    assert models(house) == [HAIKU, SONNET]
    wrong = {**asked, "check": {"regex": "a"}}
    refused = await house.http.post("/v1/query", json=wrong, headers={"x-api-key": "any"})
    assert refused.status_code == 400
    assert "check" in refused.json()["error"]["message"]


@pytest.mark.parametrize("check", ["{", "[]", '{"regex": "a"}', '{"json": 1}'])
async def test_a_check_that_will_not_do_is_refused(house: House, check: str) -> None:
    refused = await house.ask("x", headers={"x-cache-check": check}, **AUTO)
    assert refused.status_code == 400
    assert "x-cache-check" in refused.json()["error"]["message"]
    assert house.asked == []
