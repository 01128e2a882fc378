"""Conversations of all tenants, for the admin: found by a scan, page by page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cacheserver.conversations import conversation_list
from tests.api.admin import ADMIN
from tests.house import MODEL, House
from tests.nocontent.traffic import opened, without_content

PATH = "/admin/v1/conversations"


async def talk(house: House, key: str, name: str, *texts: str, **given: Any) -> None:
    for text in texts:
        body = {"prompt": text, "conversation": name, "model": MODEL, **given}
        got = await house.http.post("/v1/query", json=body, headers={"x-api-key": key})
        assert got.status_code == 200, got.text


async def listed(house: House, **given: Any) -> dict[str, Any]:
    got = await house.http.get(PATH, headers=ADMIN, params=given)
    assert got.status_code == 200, got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


async def test_conversations_show_their_size_and_time_and_no_turn(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    before = house.clock()
    await talk(house, one, "first", "What is a boat?", "And a ship?")
    await talk(house, two, "size", "What is a vault?", namespace="n:a".replace(":", "."))
    page = await listed(house)
    assert page["next"] is None
    shown = {(item["tenant"], item["namespace"], item["name"]): item for item in page["items"]}
    assert shown.keys() == {("one", "default", "first"), ("two", "n.a", "size")}
    first = shown["one", "default", "first"]
    assert (first["turns"], first["bytes"] > 100) == (4, True)
    assert before - 2 <= first["last_at"] <= house.clock() + 2
    remembered_s = (await house.parts.tenants.settings("one")).history.remember_s
    assert abs(first["expires_at"] - house.clock() - remembered_s) < 5
    assert "boat" not in str(page)
    decisions = await house.http.get("/admin/v1/decisions?tenant=one", headers=ADMIN)
    assert {item["conversation"] for item in decisions.json()["items"]} == {first["mark"]}
    only = await listed(house, tenant="two")
    assert [item["name"] for item in only["items"]] == ["size"]


async def test_pages_have_each_conversation_once(house: House, monkeypatch: Any) -> None:
    key = await house.key("one")
    for number in range(7):
        await talk(house, key, f"talk-{number}", "What is a boat?")
    for scanned in (1_000, 3):
        monkeypatch.setattr(conversation_list, "_SCANNED", scanned)
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await listed(house, limit=2, **({} if cursor is None else {"cursor": cursor}))
            assert len(page["items"]) <= 2
            names += [item["name"] for item in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert sorted(names) == [f"talk-{number}" for number in range(7)]


async def test_a_tenant_without_content_shows_no_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        key = await without_content(house, "quiet")
        await talk(house, key, "my-illness", "What is a boat?")
        (item,) = (await listed(house))["items"]
        assert (item["name"], item["withheld"], item["turns"]) == (None, "no-content", 2)
        assert "my-illness" not in str(await listed(house, tenant="quiet"))


async def test_wrong_parameters_are_named(house: House) -> None:
    for query, field in (
        ("tenant=nobody", "tenant"), ("limit=x", "limit"), ("cursor=x", "cursor"),
        ("cursor=-1:", "cursor"), (f"cursor={2**70}:", "cursor"), ("colour=red", "colour"),
    ):  # fmt: skip
        got = await house.http.get(f"{PATH}?{query}", headers=ADMIN)
        assert got.status_code == 400, query
        assert f"`{field}`" in got.json()["error"]["message"]
