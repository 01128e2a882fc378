"""Claude's prompt cache through the front door: planned, shared by a burst, learned, shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import ADMIN_KEY, House

SYSTEM = "You answer questions of customers. " * 200  # some 2,800 tokens
ADMIN = {"x-api-key": ADMIN_KEY}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path) as house:
        yield house


def marks(body: Any) -> list[Any]:
    found = [*body.get("tools", []), *(body["system"] if isinstance(body["system"], list) else [])]
    for message in body["messages"]:
        found += message["content"] if isinstance(message["content"], list) else []
    return [block["cache_control"] for block in found if "cache_control" in block]


async def asked(house: House, number: int, **given: Any) -> dict[str, Any]:
    """Ask something new under the shared prompt, and give what Claude said it used."""
    answer = await house.ask(f"Where is order {number}?", system=SYSTEM, **given)
    assert answer.status_code == 200, answer.text
    await house.parts.prompts.behind.flush()
    return dict(answer.json()["usage"])


async def test_a_shared_prompt_is_written_once_and_read_from_then_on(house: House) -> None:
    used = [await asked(house, n) for n in range(4)]
    assert used[0]["cache_creation_input_tokens"] == 0  # nothing says yet that it comes again
    assert used[1]["cache_creation_input_tokens"] > 2_000
    assert [one["cache_read_input_tokens"] > 2_000 for one in used] == [False, False, True, True]
    assert [len(marks(r.body)) for r in house.asked] == [0, 1, 1, 1]


async def test_a_burst_writes_a_prefix_once(house: House) -> None:
    await asked(house, 0)
    used = await asyncio.gather(*(asked(house, n) for n in range(1, 9)))
    assert sum(one["cache_creation_input_tokens"] > 0 for one in used) == 1
    assert sum(one["cache_read_input_tokens"] > 0 for one in used) == 7


async def test_a_callers_own_marks_are_left_alone(house: House) -> None:
    await asked(house, 0)
    system = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    await house.ask("Mine?", system=system)
    assert house.asked[-1].body["system"] == system


async def test_a_request_can_switch_planning_off(house: House) -> None:
    for number in range(3):
        await asked(house, number, headers={"x-cache-off": "prompt-caching"})
    assert [r.body["system"] for r in house.asked] == [SYSTEM] * 3


async def test_a_planned_answer_is_a_hit_for_the_unmarked_request(house: House) -> None:
    for number in (0, 1, 1):
        answer = await house.ask(f"Where is order {number}?", system=SYSTEM)
    assert answer.headers["x-cache"] == "exact"


async def test_the_admin_sees_what_was_read_and_gained(house: House) -> None:
    for number in range(6):
        await asked(house, number)
    shown = (await house.http.get("/admin/prompts/default", headers=ADMIN)).json()
    assert shown["calls"] == 6
    assert shown["read_ratio"] == pytest.approx(4 / 6, abs=0.03)
    assert not shown["alert"]
    assert float(shown["gain_usd"]) > 0
    assert float(shown["expected_usd"]) == pytest.approx(float(shown["gain_usd"]), rel=0.05)
    refused = await house.http.get("/admin/prompts/default?hours=0", headers=ADMIN)
    assert refused.status_code == 400
    assert "hours" in refused.text
    assert (await house.http.get("/admin/prompts/default")).status_code == 401


async def test_fragments_are_found_with_place_and_price_and_no_words(house: House) -> None:
    for minute in range(5):
        system = f"{SYSTEM}\nNow it is 2026-11-21 04:{minute:02d}. Secret word: plover."
        await house.ask("What do you sell?", system=system)
    shown = await house.http.get("/admin/prompts/default/fragments", headers=ADMIN)
    (family,) = shown.json()
    (span,) = family["spans"]
    assert (span["kind"], span["pattern"], span["changed"]) == ("timestamp", "9999-99-99 99:99", 4)
    assert (family["sightings"], family["changes"]) == (5, 4)
    assert family["lost_per_day"]["response_hits"] > 0  # four answers were there, but for a minute
    assert float(family["lost_per_day"]["prompt_cache_usd"]) > 0
    assert "plover" not in shown.text


async def test_moving_what_changes_is_opted_into(house: House) -> None:
    rules = {"caching": {"move_dynamic": True}}
    put = await house.http.put("/admin/tenants/default", json=rules, headers=ADMIN)
    assert put.status_code == 200, put.text
    for minute in range(4):
        await house.ask(f"Where is order {minute}?", system=f"Now it is 04:{minute:02d}.\n{SYSTEM}")
        await house.parts.prompts.behind.flush()
    stable, moved = house.asked[-1].body["system"]
    assert stable["text"] == SYSTEM
    assert moved["text"] == "Now it is 04:03."


async def test_answers_are_carried_over_to_a_new_version(house: House) -> None:
    old, new = SYSTEM, f"{SYSTEM} Be kind."
    for topic in ("refunds", "parcels", "invoices", "vouchers", "returns"):
        await house.ask(f"What is to be known about {topic}?", system=old)
    await house.ask("Do you deliver on Sundays?", system=new)
    (space,) = (await house.http.get("/admin/prompts/default/versions", headers=ADMIN)).json()
    (change,) = space["changes"]
    assert change["entries_left_behind"] == 5
    asked_for = {"from": change["from"], "to": change["to"]}
    url = "/admin/prompts/default/carry-over"
    dry = (await house.http.post(url, json=asked_for, headers=ADMIN)).json()
    assert (dry["dry_run"], dry["found"], dry["carried"]) == (True, 5, 0)
    miss = await house.ask("What is to be known about parcels?", system=new)
    assert miss.headers["x-cache"] == "miss"
    one = next(q["entry"] for q in dry["questions"] if "refunds" in q["question"])
    some = {**asked_for, "dry_run": False, "entries": [one]}
    done = (await house.http.post(url, json=some, headers=ADMIN)).json()
    assert (done["found"], done["carried"]) == (1, 1)
    hit = await house.ask("What is to be known about refunds?", system=new)
    assert hit.headers["x-cache"] == "semantic"
    other = await house.ask("What is to be known about vouchers?", system=new)
    assert other.headers["x-cache"] == "miss"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"from": "x", "to": "0" * 32}, "from"),
        ({"from": "0" * 32}, "to"),
        ({"from": "0" * 32, "to": "0" * 32, "dry_run": "no"}, "dry_run"),
        ({"from": "0" * 32, "to": "0" * 32, "entries": ["x"]}, "entries"),
        ({"form": "x"}, "form"),
    ],
)
async def test_a_carry_over_that_makes_no_sense_is_refused(
    house: House, fields: dict[str, Any], named: str
) -> None:
    refused = await house.http.post("/admin/prompts/default/carry-over", json=fields, headers=ADMIN)
    assert refused.status_code == 400
    assert f"`{named}`" in refused.json()["error"]["message"]


async def test_a_listed_prefix_is_warm_before_its_first_request(house: House) -> None:
    warm = {"name": "support", "model": "claude-haiku-5-5", "system": SYSTEM}
    rules = {"caching": {"prewarm": [warm]}}
    await house.http.put("/admin/tenants/default", json=rules, headers=ADMIN)
    assert await house.parts.prompts.prewarmer.round() == 1
    assert await house.parts.prompts.prewarmer.round() == 0  # not again in the same slot
    (call,) = house.asked
    assert (call.body["max_tokens"], len(marks(call.body))) == (0, 1)
    used = await asked(house, 1)
    assert used["cache_read_input_tokens"] > 2_000
    shown = (await house.http.get("/admin/prompts/default", headers=ADMIN)).json()
    assert shown["warmed"] == 1
    assert float(shown["warm_cost_usd"]) > 0
