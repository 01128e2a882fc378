"""Claude's prompt cache through the front door: planned, shared by a burst, learned, shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import ADMIN_KEY, House
from tests.redis_servers import ENGINES, serving

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
    await house.parts.prompt_caching.writes.drain()
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
    shown = (await house.http.get("/admin/v1/prompts/default", headers=ADMIN)).json()
    assert shown["calls"] == 6
    assert shown["read_ratio"] == pytest.approx(4 / 6, abs=0.03)
    assert not shown["alert"]
    assert float(shown["gain_usd"]) > 0
    assert float(shown["expected_usd"]) == pytest.approx(float(shown["gain_usd"]), rel=0.05)
    refused = await house.http.get("/admin/v1/prompts/default?hours=0", headers=ADMIN)
    assert refused.status_code == 400
    assert "hours" in refused.text
    assert (await house.http.get("/admin/v1/prompts/default")).status_code == 401


async def test_fragments_are_found_with_place_and_price_and_no_words(house: House) -> None:
    for minute in range(5):
        system = f"{SYSTEM}\nNow it is 2026-11-21 04:{minute:02d}. Secret word: plover."
        await house.ask("What do you sell?", system=system)
    shown = await house.http.get("/admin/v1/prompts/default/fragments", headers=ADMIN)
    (family,) = shown.json()
    (span,) = family["spans"]
    assert (span["kind"], span["pattern"], span["changed"]) == ("timestamp", "9999-99-99 99:99", 4)
    assert (family["sightings"], family["changes"]) == (5, 4)
    assert family["lost_per_day"]["response_hits"] > 0  # four answers were there, but for a minute
    assert float(family["lost_per_day"]["prompt_cache_usd"]) > 0
    assert "plover" not in shown.text


async def test_moving_what_changes_is_opted_into(house: House) -> None:
    rules = {"caching": {"move_dynamic": True}}
    put = await house.http.put("/admin/v1/tenants/default", json=rules, headers=ADMIN)
    assert put.status_code == 200, put.text
    for minute in range(4):
        await house.ask(f"Where is order {minute}?", system=f"Now it is 04:{minute:02d}.\n{SYSTEM}")
        await house.parts.prompt_caching.writes.drain()
    stable, moved = house.asked[-1].body["system"]
    assert stable["text"] == SYSTEM
    assert moved["text"] == "Now it is 04:03."


async def test_answers_are_carried_over_to_a_new_version(house: House) -> None:
    old, new = SYSTEM, f"{SYSTEM} Be kind."
    for topic in ("refunds", "parcels", "invoices", "vouchers", "returns"):
        await house.ask(f"What is to be known about {topic}?", system=old)
    await house.ask("Do you deliver on Sundays?", system=new)
    (space,) = (await house.http.get("/admin/v1/prompts/default/versions", headers=ADMIN)).json()
    (change,) = space["changes"]
    assert change["entries_left_behind"] == 5
    asked_for = {"from": change["from"], "to": change["to"]}
    url = "/admin/v1/prompts/default/carry-over"
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
    refused = await house.http.post(
        "/admin/v1/prompts/default/carry-over", json=fields, headers=ADMIN
    )
    assert refused.status_code == 400
    assert f"`{named}`" in refused.json()["error"]["message"]


async def test_a_listed_prefix_is_warm_before_its_first_request(house: House) -> None:
    warm = {"name": "support", "model": "claude-haiku-5-5", "system": SYSTEM}
    rules = {"caching": {"prewarm": [warm]}}
    await house.http.put("/admin/v1/tenants/default", json=rules, headers=ADMIN)
    assert await house.parts.prompt_caching.prewarmer.round() == 1
    assert await house.parts.prompt_caching.prewarmer.round() == 0  # not again in the same slot
    (call,) = house.asked
    assert (call.body["max_tokens"], len(marks(call.body))) == (0, 1)
    used = await asked(house, 1)
    assert used["cache_read_input_tokens"] > 2_000
    shown = (await house.http.get("/admin/v1/prompts/default", headers=ADMIN)).json()
    assert shown["warmed"] == 1
    assert float(shown["warm_cost_usd"]) > 0


TOOLS = [{"name": "find", "description": "Finds. " * 400, "input_schema": {"type": "object"}}]


async def of_tenant(house: House, key: str, number: int, **given: Any) -> Any:
    """Ask something new as a tenant, with tools and a system prompt that others have too."""
    body = {"system": SYSTEM, "tools": TOOLS, **given}
    answer = await house.ask(f"Where is order {number}?", key=key, **body)
    assert answer.status_code == 200, answer.text
    await house.parts.prompt_caching.writes.drain()
    return answer


async def test_with_a_salt_no_tenant_finds_what_another_has_written_at_claude(
    house: House,
) -> None:
    salted, curious = await house.key("salted"), await house.key("curious")
    rules = {"caching": {"salt": True}}
    await house.http.put("/admin/v1/tenants/salted", json=rules, headers=ADMIN)
    for number in range(4):
        answer = await of_tenant(house, salted, number)
    used = answer.json()["usage"]
    assert used["cache_read_input_tokens"] > 2_000  # of its own, which it finds as before
    assert answer.headers["x-cache-plan"].endswith("-salted")
    # The very same, marked by hand wherever a prefix may end: nothing of it is there.
    mark = {"cache_control": {"type": "ephemeral"}}
    probe = {"system": [{"type": "text", "text": SYSTEM, **mark}], "tools": [{**TOOLS[0], **mark}]}
    told = (await of_tenant(house, curious, 9, **probe)).json()["usage"]
    assert told["cache_read_input_tokens"] == 0
    assert told["cache_creation_input_tokens"] > 2_000


async def test_without_a_salt_one_tenant_can_see_what_another_asks(house: House) -> None:
    """What SECURITY.md says; were it not so, the salt would be for nothing."""
    one, two = await house.key("one"), await house.key("two")
    for number in range(3):
        await of_tenant(house, one, number)
    mark = {"cache_control": {"type": "ephemeral"}}
    probe = {"system": [{"type": "text", "text": SYSTEM, **mark}]}
    told = (await of_tenant(house, two, 9, **probe)).json()["usage"]
    assert told["cache_read_input_tokens"] > 2_000


async def test_a_salt_changes_nothing_that_an_answer_is_found_under(house: House) -> None:
    for number in range(3):
        plain = await of_tenant(house, "any", number)
    rules = {"caching": {"salt": True}}
    await house.http.put("/admin/v1/tenants/default", json=rules, headers=ADMIN)
    assert (await of_tenant(house, "any", 2)).headers["x-cache"] == "exact"
    for number in range(3, 6):
        salted = await of_tenant(house, "any", number)
    ids = [answer.headers["x-cache-decision"] for answer in (plain, salted)]
    records = [(await house.http.get(f"/v1/decisions/{id}")).json() for id in ids]
    assert records[0]["scope"] == records[1]["scope"]
    plans = [record["asked_how"]["plan"] for record in records]
    assert float(plans[0]["salt_usd"]) == 0 < float(plans[1]["salt_usd"]) < 0.00001
    first, *rest = house.asked[-1].body["system"]
    assert first["text"].startswith("Ignore this line: ")
    assert [block["text"] for block in rest] == [SYSTEM]
    assert "cache_control" not in house.asked[-1].body["tools"][-1]


async def test_salts_differ_by_tenant_and_are_the_same_on_all_servers(tmp_path: Path) -> None:
    with serving(ENGINES["valkey"]) as url:
        lines: list[str] = []
        for name, directory in (("one", "a"), ("one", "b"), ("two", "b")):
            async with House.open(tmp_path / directory, redis_url=url) as house:
                rules = {"caching": {"salt": True}}
                await house.http.put(f"/admin/v1/tenants/{name}", json=rules, headers=ADMIN)
                key = await house.key(name)
                for number in range(3):
                    await of_tenant(house, key, len(lines) * 10 + number)
                lines.append(house.asked[-1].body["system"][0]["text"])
    assert lines[0] == lines[1] != lines[2]
