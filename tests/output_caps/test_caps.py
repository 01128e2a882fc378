"""Caps end to end: what goes upstream, what is stored, and a stream that costs too much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.core.rules.lengths import LengthRules
from tests.house import MODEL, House, came_from

OLD = "claude-haiku-4-5"  # does not think unless told to, so caps are the answer's own


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path) as house:
        yield house


async def question(house: House, prompt: str, /, **given: Any) -> httpx2.Response:
    body = {"prompt": prompt, "model": OLD, **given}
    return await house.http.post("/v1/query", json=body)


async def rules(house: House, **given: Any) -> None:
    tenant = await house.parts.tenants.get("default")
    await house.parts.tenants.put(replace(tenant, lengths=LengthRules(**given)))
    house.clock.ahead_s += 10  # what is known of a tenant is read again


def sent(house: House) -> int | None:
    body = house.asked[-1].body
    return body.get("max_tokens") if isinstance(body, dict) else None


async def test_the_task_of_a_question_caps_its_answer(house: House) -> None:
    await question(house, "Is this spam? WIN NOW", task="classification")
    assert sent(house) == 10
    await question(house, "Tell me of the sea.")
    assert sent(house) == 1_024


async def test_a_caller_may_leave_the_length_alone_or_take_it_back(house: House) -> None:
    await question(house, "Spam? A", task="classification", max_tokens=700)
    assert sent(house) == 700
    await question(house, "Spam? B", task="classification", levers_off=["output-cap"])
    assert sent(house) == 1_024


async def test_a_length_left_to_us_is_one_question_whatever_we_make_of_it(house: House) -> None:
    await question(house, "Tell me of the sea.")
    await rules(house, default=99)
    again = await question(house, "Tell me of the sea.")
    assert came_from(again) == ("exact", "identical")


async def test_an_answer_that_our_cap_cut_is_not_stored_and_raises_it(house: House) -> None:
    long = "Classify this at length. [[sim words=200]]"
    first = await question(house, long, task="classification")
    assert first.json()["stop_reason"] == "max_tokens"
    assert first.headers["x-cache-cap"] == "10; task"
    second = await question(house, long, task="classification")
    assert came_from(second)[0] == "miss"
    assert sent(house) == 20
    shown = await house.http.get(f"/v1/decisions/{first.json()['decision_id']}")
    assert shown.json()["unstored"] == "stop-max_tokens"
    assert shown.json()["asked_how"]["cap"]["max_tokens"] == 10


async def test_lengths_are_learned_by_task(house: House) -> None:
    for number in range(50):
        await question(house, f"Note {number} [[sim words=20]]", task="note", cache="refresh")
    await house.parts.output_caps.drain()
    house.clock.ahead_s += 60
    await question(house, "One more note [[sim words=20]]", task="note", cache="refresh")
    learned = sent(house)
    assert learned is not None
    assert learned < 200
    await question(house, "Another thing [[sim words=20]]", task="other")
    assert sent(house) == 1_024


async def test_what_was_made_up_is_no_measure_of_a_length_but_a_cap_grows_out_of_its_way(
    house: House,
) -> None:
    for number in range(50):
        await question(house, f"Note {number}", task="note", cache="refresh")
        cut = await question(house, f"Sort {number}", task="classification", cache="refresh")
    assert cut.json()["stop_reason"] == "end_turn"
    await house.parts.output_caps.drain()
    house.clock.ahead_s += 60
    await question(house, "One more note", task="note")
    assert sent(house) == 1_024


async def test_a_higher_length_is_cut_where_the_tenant_says_so_and_the_answer_says_it(
    house: House,
) -> None:
    await rules(house, ceiling=50, cut_callers=True)
    cut = await house.ask("One?", max_tokens=400)
    assert (sent(house), cut.headers["x-cache-cap"]) == (50, "50; tenant")
    own = await house.ask("Two?", max_tokens=40)
    assert sent(house) == 40
    assert "x-cache-cap" not in own.headers


async def test_what_a_cap_saved_is_booked_by_how_long_such_answers_were(house: House) -> None:
    for number in range(50):
        await question(house, f"Note {number} [[sim words=200]]", task="note", cache="refresh")
    await house.parts.output_caps.drain()
    house.clock.ahead_s += 60
    await rules(house, ceiling=50)
    cut = await question(house, "One more note [[sim words=200]]", task="note", cache="refresh")
    assert cut.json()["stop_reason"] == "max_tokens"
    shown = await house.http.get(f"/v1/decisions/{cut.json()['decision_id']}")
    longer = shown.json()["asked_how"]["cap"]["longer"]
    assert 150 < longer < 350  # 200 words
    usage = await house.http.get("/v1/usage")
    saved = usage.json()["totals"]["saved_by_cause_usd"]["output-cap"]
    assert float(saved) == pytest.approx((longer - 50) * 5e-6)  # $5 a million


async def test_a_messages_body_without_a_length_goes_on_as_it_came(house: House) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    answer = await house.http.post("/v1/messages", json=body)
    assert answer.status_code == 400  # Claude's own words
    assert sent(house) is None


async def test_a_stream_that_costs_too_much_is_ended_and_not_stored(house: House) -> None:
    await rules(house, stream_usd=0.0001)  # 200 output tokens of this model
    text = "Go on and on. [[sim words=2000]]"
    sdk = house.sdk()
    async with sdk.messages.stream(
        model=MODEL, max_tokens=4_000, messages=[{"role": "user", "content": text}]
    ) as stream:
        message = await stream.get_final_message()
    assert message.stop_reason == "max_tokens"
    assert 150 < message.usage.output_tokens < 350
    again = await house.ask(text, max_tokens=4_000)
    assert came_from(again)[0] == "miss"


async def test_what_a_cut_stream_used_is_marked_as_estimated(house: House) -> None:
    await rules(house, stream_usd=0.0001)
    body = {
        "model": MODEL,
        "max_tokens": 4_000,
        "stream": True,
        "messages": [{"role": "user", "content": "On and on. [[sim words=2000]]"}],
    }
    answer = await house.http.post("/v1/messages", json=body)
    assert answer.text.rstrip().endswith('{"type":"message_stop"}')
    decision = await house.http.get(f"/v1/decisions/{answer.headers['x-cache-decision']}")
    record = decision.json()
    assert (record["unstored"], record["usage_estimated"]) == ("cost-cap", True)
    assert record["usage"]["output_tokens"] > 150


def thinking(house: House) -> Any:
    body = house.asked[-1].body
    return body.get("thinking") if isinstance(body, dict) else None


async def test_a_task_without_thinking_keeps_a_cap_of_ten_tokens(house: House) -> None:
    await rules(house, thinking_off=("classification",))
    asked: dict[str, Any] = {"task": "classification", "model": MODEL}
    first = await question(house, "Spam? [[sim text=Yes.]]", **asked)
    assert (sent(house), thinking(house)) == (10, {"type": "disabled"})
    assert first.headers["x-cache-cap"] == "10; task"
    await house.parts.decision_log.flush()
    shown = await house.http.get(f"/v1/decisions/{first.json()['decision_id']}")
    assert shown.json()["asked_how"]["cap"]["thinking_off"] is True
    await rules(house)
    again = await question(house, "Spam? [[sim text=Yes.]]", **asked)
    assert came_from(again) == ("exact", "identical")
    await question(house, "Spam? A", **asked)
    assert (sent(house), thinking(house)) == (8_202, None)


async def test_a_model_that_always_thinks_keeps_its_room(house: House) -> None:
    await rules(house, thinking_off=("classification",))
    await question(house, "Spam? B", task="classification", model="claude-sonnet-5-5")
    assert (sent(house), thinking(house)) == (8_202, None)
    await question(house, "Spam? C", task="classification", model=MODEL, max_tokens=20)
    assert (sent(house), thinking(house)) == (20, None)
