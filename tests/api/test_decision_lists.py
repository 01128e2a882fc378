"""Lists of decisions and near misses, through the front door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import ADMIN_KEY, MODEL, House
from tests.nocontent.traffic import opened, without_content

ADMIN = {"x-api-key": ADMIN_KEY}
HOW, CLOSE, OTHER = (
    "How do I reset my password?",
    "How can I reset the password of my account?",
    "What is the capital of France?",
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, similarity=0.99) as one:
        yield one


async def key(house: House, tenant: str) -> dict[str, str]:
    made = await house.http.post("/admin/v1/keys", headers=ADMIN, json={"tenant": tenant})
    return {"x-api-key": made.json()["key"]}


async def ask(house: House, text: str, who: dict[str, str]) -> str:
    answer = await house.http.post("/v1/query", json={"prompt": text, "model": MODEL}, headers=who)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["decision_id"])


async def listed(house: House, path: str, who: dict[str, str], **given: Any) -> dict[str, Any]:
    got = await house.http.get(path, headers=who, params=given or None)
    assert got.status_code == 200, got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


async def test_decisions_are_found_by_each_of_their_fields(house: House) -> None:
    one, two = await key(house, "one"), await key(house, "two")
    asked = [await ask(house, text, one) for text in (HOW, CLOSE, OTHER, HOW)]
    theirs = await ask(house, HOW, two)
    page = await listed(house, "/admin/v1/decisions", ADMIN)
    assert ids(page) == [theirs, *reversed(asked)]
    assert page["next"] is None
    assert [item["tenant"] for item in page["items"]] == ["two", *["one"] * 4]
    close = page["items"][3]
    whole = await house.http.get(f"/admin/v1/tenants/one/decisions/{asked[1]}", headers=ADMIN)
    record = whole.json()
    assert close.keys() == record.keys() - {"asked_how"} | {"tenant"}
    assert {name: close[name] for name in close if name in record and name != "decision"} == {
        name: record[name] for name in record if name not in ("asked_how", "decision")
    }
    assert close["decision"]["candidates"][0]["question"] == HOW
    decision = record["decision"]
    for field, value, found in (
        ("outcome", "exact", [asked[3]]),
        ("reason", decision["reason"], [asked[2], asked[1]]),
        ("similarity_min", decision["similarity"], [asked[3], asked[1]]),
        ("similarity_max", decision["similarity"], [asked[2], asked[1]]),
        ("text", "PASSWORD OF", [asked[1]]),
        ("scope", record["scope"], asked[::-1]),
        ("model", MODEL, asked[::-1]),
        ("namespace", "other", []),
        ("veto", "none", []),
        ("probability_min", 0, []),
        ("from", record["at"], asked[:0:-1]),
        ("to", record["at"], [asked[0]]),
    ):
        page = await listed(house, "/admin/v1/decisions", ADMIN, tenant="one", **{field: value})
        assert ids(page) == found, field
    first = await listed(house, "/admin/v1/decisions", ADMIN, limit=3)
    rest = await listed(house, "/admin/v1/decisions", ADMIN, limit=3, cursor=first["next"])
    assert ids(first) + ids(rest) == [theirs, *reversed(asked)]
    assert rest["next"] is None


async def test_a_tenants_key_lists_its_own_without_the_questions_of_others(house: House) -> None:
    one, two = await key(house, "one"), await key(house, "two")
    await ask(house, HOW, one)
    await ask(house, CLOSE, one)
    mine = await ask(house, OTHER, two)
    assert ids(await listed(house, "/v1/decisions", two)) == [mine]
    page = await listed(house, "/v1/decisions", one, text="account")
    (item,) = page["items"]
    alone = await house.http.get(f"/v1/decisions/{item['id']}", headers=one)
    assert item == alone.json()
    assert item["decision"]["candidates"][0]["question"] is None
    refused = await house.http.get("/v1/decisions?tenant=one", headers=two)
    assert refused.status_code == 400
    assert "`tenant`" in refused.text


async def test_near_misses_come_by_what_a_hit_would_have_saved(house: House) -> None:
    one = await key(house, "one")
    await ask(house, HOW, one)
    for text in (CLOSE, OTHER, f"{CLOSE} {'It is the one that I chose last year. ' * 5}"):
        await ask(house, text, one)
    page = await listed(house, "/admin/v1/near-misses", ADMIN, tenant="one", similarity_min=0.5)
    saved = [item["would_have_saved_usd"] for item in page["items"]]
    assert len(saved) == 2
    assert saved == sorted(saved, reverse=True)
    assert saved[0] > saved[1]
    assert saved == [item["cost_usd"] for item in page["items"]]
    assert page["items"][1]["asked"] == CLOSE


async def test_encrypted_decisions_are_searched_and_those_without_content_have_no_text(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as house:
        quiet = {"x-api-key": await without_content(house, "quiet")}
        loud = await key(house, "loud")
        for who in (quiet, loud):
            await ask(house, HOW, who)
        for path, who in (("/v1/decisions", quiet), ("/admin/v1/decisions?tenant=quiet", ADMIN)):
            page = await listed(house, path, who)
            assert page["withheld"] == "no-content"
            assert [item["asked"] for item in page["items"]] == [None]
        assert (await listed(house, "/v1/decisions", quiet, text="password"))["items"] == []
        page = await listed(house, "/admin/v1/decisions", ADMIN, text="PASSWORD")
        assert [item["asked"] for item in page["items"]] == [HOW]


async def test_a_wrong_parameter_is_named(house: House) -> None:
    for query, field in (
        ("colour=red", "colour"), ("outcome=background", "outcome"), ("limit=0", "limit"),
        ("limit=201", "limit"), ("similarity_min=x", "similarity_min"), ("scope=abc", "scope"),
        ("probability_min=0.5&probability_max=0.4", "probability_min"), ("from=soon", "from"),
        ("tenant=nobody", "tenant"), ("cursor=abc", "cursor"), ("text=", "text"),
        ("namespace=a%20b", "namespace"),
    ):  # fmt: skip
        for path in ("decisions", "near-misses"):
            got = await house.http.get(f"/admin/v1/{path}?{query}", headers=ADMIN)
            assert got.status_code == 400, query
            assert f"`{field}`" in got.json()["error"]["message"]
