"""Exports of a tenant's labels and entries, and their way into another server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cacheserver.calibration.states import encode
from cacheserver.core.evidence import Evidence
from cacheserver.matching.calibration import Label
from tests.api.admin import ADMIN
from tests.house import House, came_from
from tests.nocontent.traffic import opened
from tests.transfer.imports import FAQ, IMPORTS, SYSTEM, begun, imported, send

ASKED = FAQ[0]["question"]
EXPORT: dict[str, Any] = {"kind": "export", "request": None, "exported_from": "shop"}


_ODD: list[dict[str, Any]] = [
    {"weight": 0}, {"weight": "x"}, {"weight": 1e300}, {"right": 1}, {"source": "me"}, {"at": "x"},
    {"evidence": {}}, {"evidence": None}, {"foil": {"cosine": 1}}, {"embedder": 5},
    {"evidence": {"cosine": "x", "margin": 0, "share": 0, "pull": 0, "second": 0, "prior": 0}},
]  # fmt: skip


async def exported(house: House, tenant: str = "shop") -> list[dict[str, Any]]:
    """All items of an export, page after page."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        params: dict[str, str] = {} if cursor is None else {"cursor": cursor}
        got = await house.http.get(f"/admin/v1/exports/{tenant}", params=params, headers=ADMIN)
        assert got.status_code == 200, got.text
        items += got.json()["items"]
        if (cursor := got.json()["next"]) is None:
            return items


async def restored(house: House, items: list[dict[str, Any]]) -> dict[str, Any]:
    got = await send(house, await begun(house, **EXPORT), items, request=None)
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


def label(at: float) -> dict[str, Any]:
    evidence = Evidence(cosine=0.9, margin=0.1, share=1.0, pull=1.0, second=0.1, prior=2.0)
    return encode(Label(evidence, True, 1.0, "admin", True, "an-embedder", at=at))


async def filled(house: House) -> str:
    """Ask Claude, import a FAQ and learn labels; the tenant's key."""
    key = await house.key("shop")
    await house.ask(
        "Do you ship to Malta?", key=key, system=SYSTEM, headers={"x-cache-tags": "geo"}
    )
    await imported(house)
    return key


async def test_another_server_serves_what_was_exported(tmp_path: Path) -> None:
    async with House.open(tmp_path / "one") as house:
        await filled(house)
        items = await exported(house)
        assert (await restored(house, items))["batch"] == {"unchanged": 4}
        assert [one["kind"] for one in items] == ["entry"] * 4
        # Both ask the same Claude, or their requests are not the same.
        upstream = house.parts.host.settings.upstream
        async with House.open(tmp_path / "two", upstream=upstream) as other:
            key = await other.key("shop")
            done = await restored(other, items)
            assert (done["batch"], done["problems"]) == ({"stored": 4}, [])
            for question in ("Do you ship to Malta?", ASKED):
                assert came_from(await other.ask(question, key=key, system=SYSTEM))[0] == "exact"
            near = await other.ask("How do I return my order?", key=key, system=SYSTEM)
            assert came_from(near)[0] == "semantic"
            again = {one["question"]: one for one in await exported(other)}
            for one in items:
                found = again[one["question"]]
                assert found["tags"] == [
                    *(tag for tag in one["tags"] if not tag.startswith("import:")),
                    done["tag"],
                ]
                assert found.items() >= {k: v for k, v in one.items() if k != "tags"}.items()
            undone = await other.http.delete(f"{IMPORTS}/shop/{done['id']}", headers=ADMIN)
            assert undone.json()["removed"] == {"entries": 4, "labels": 0}
            assert await exported(other) == []


async def test_what_an_answer_was_found_wrong_for_stays_refused_elsewhere(tmp_path: Path) -> None:
    wrong, right = "How do I return my order?", "How can I return an order?"
    async with House.open(tmp_path / "one") as house:
        key = await filled(house)
        before = await exported(house)
        hit = await house.ask(wrong, key=key, system=SYSTEM)
        assert came_from(hit)[0] == "semantic"
        bad = {"verdict": "bad", "decision_id": hit.headers["x-cache-decision"]}
        got = await house.http.post("/v1/feedback", json=bad, headers={"x-api-key": key})
        assert got.json()["done"] == "tombstoned"
        items = await exported(house)
        (refused,) = [one for one in items if one["refused_to"]]
        assert (refused["question"], len(refused["refused_to"])) == (ASKED, 1)
        upstream = house.parts.host.settings.upstream
        for had, batch in (([], {"stored": 4}), (before, {"unchanged": 4})):
            async with House.open(tmp_path / f"two{len(had)}", upstream=upstream) as other:
                key = await other.key("shop")
                await restored(other, had)
                assert (await restored(other, items))["batch"] == batch
                near = await other.ask(right, key=key, system=SYSTEM)
                assert came_from(near)[0] == "semantic"
                assert came_from(await other.ask(wrong, key=key, system=SYSTEM))[0] == "miss"
                (again,) = [one for one in await exported(other) if one["refused_to"]]
                assert again["refused_to"] == refused["refused_to"]


async def test_no_item_takes_the_place_of_another_tenants_answer(house: House) -> None:
    await filled(house)
    bank = await house.key("bank")
    await imported(house, [{"question": ASKED, "answer": "Banks take nothing."}], tenant="bank")
    (theirs,) = await exported(house, "bank")
    mine = next(one for one in await exported(house) if one["curated_by"])
    done = await restored(house, [{**mine, "fingerprint": theirs["fingerprint"]}])
    assert (done["batch"], len(done["problems"])) == ({"refused": 1}, 1)
    assert await exported(house, "bank") == [theirs]
    assert came_from(await house.ask(ASKED, key=bank, system=SYSTEM))[0] == "exact"


async def test_an_export_is_of_one_tenant_and_is_no_one_elses(house: House) -> None:
    await filled(house)
    bank = await house.key("bank")
    items = await exported(house)
    assert await exported(house, "bank") == []
    body = {"tenant": "bank", **{k: v for k, v in EXPORT.items() if v is not None}}
    got = await house.http.post(IMPORTS, json=body, headers=ADMIN)
    assert (got.status_code, "exported_from" in got.text) == (400, True)
    answers = [
        {"question": one["question"], "answer": one["message"]["content"][0]["text"]}
        for one in items
    ]
    done = await imported(house, answers, tenant="bank")
    assert done["batch"] == {"stored": 4}
    assert came_from(await house.ask(ASKED, key=bank, system=SYSTEM))[0] == "exact"


async def test_an_expired_or_spoilt_item_is_named_and_not_stored(house: House) -> None:
    await filled(house)
    (first, *_) = await exported(house)
    await house.http.post("/admin/v1/purge", json={"tenant": "shop", "tag": "geo"}, headers=ADMIN)
    for name, value in {
        "expires_at": 5, "created_at": "x", "fingerprint": "A" * 64, "scope": 5, "namespace": "a b",
        "message": {}, "usage": [], "tags": "x", "cost_nanodollars": 0.5, "kind": "other",
        "actor": "me", "model": "", "question": 7, "put_by": 5, "curated_by": ["x"],
        "refused_to": ["x"], "where": None,
    }.items():  # fmt: skip
        done = await restored(house, [{**first, "fingerprint": "0" * 64, name: value}])
        expected = {"stored": 1} if name == "where" else {"refused": 1}
        assert done["batch"] == expected, name
    for name in first:
        spoilt = {k: v for k, v in first.items() if k != name}
        got = await send(house, await begun(house, **EXPORT), [spoilt], request=None)
        assert got.status_code == 200, got.text


async def test_a_lifetime_is_cut_to_what_the_tenants_settings_allow(house: House) -> None:
    await filled(house)
    (first, *_) = await exported(house)
    far = {**first, "fingerprint": "0" * 64, "expires_at": first["expires_at"] + 10**8}
    assert (await restored(house, [far]))["batch"] == {"stored": 1}
    (found,) = [one for one in await exported(house) if one["fingerprint"] == "0" * 64]
    assert found["expires_at"] - found["created_at"] == pytest.approx(30 * 86_400)


async def test_labels_go_with_it_once_and_are_undone(house: House) -> None:
    await house.key("shop")
    labels, scope = house.parts.labels, "5" * 64
    for at in (1.0, 2.0):
        await labels.add("shop", scope, label(at))
    gone = await labels.add("shop", scope, label(3.0))
    await labels.retract("shop", scope, gone)
    items = await exported(house)
    assert [(one["kind"], one["label"]["at"]) for one in items] == [("label", 1.0), ("label", 2.0)]
    assert (await restored(house, items))["batch"] == {"unchanged": 2}
    other = [{**one, "scope": "6" * 64} for one in items]
    odd = [
        {**other[0], "scope": "x"},
        *({**other[0], "label": {**label(4.0), **change}} for change in _ODD),
    ]
    done = await restored(house, [*other, *odd])
    assert done["batch"] == {"labels": 2, "refused": len(odd)}
    assert len(await exported(house)) == 4
    undone = await house.http.delete(f"{IMPORTS}/shop/{done['id']}", headers=ADMIN)
    assert undone.json()["removed"] == {"entries": 0, "labels": 2}
    assert [one["scope"] for one in await exported(house)] == [scope, scope]


async def test_a_tenant_without_content_has_no_export(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        await house.key("shop")
        await house.http.put("/admin/v1/tenants/shop", json={"no_content": True}, headers=ADMIN)
        got = await house.http.get("/admin/v1/exports/shop", headers=ADMIN)
        assert (got.status_code, "no content" in got.text) == (409, True)
        body = {"tenant": "shop", "kind": "export", "exported_from": "shop"}
        assert (await house.http.post(IMPORTS, json=body, headers=ADMIN)).status_code == 409


async def test_a_cursor_of_nobody_is_refused(house: House) -> None:
    await house.key("shop")
    for cursor in ("x", "entries:x", "labels:", "entries:" + "g" * 32):
        got = await house.http.get(
            "/admin/v1/exports/shop", params={"cursor": cursor}, headers=ADMIN
        )
        assert got.status_code == 400, cursor


async def test_nothing_of_a_batch_stays_that_is_undone_while_it_comes(house: House) -> None:
    await filled(house)
    entries, (first, *_) = await exported(house), await exported(house)
    row = {"kind": "label", "scope": "6" * 64}
    many = [{**first, "fingerprint": f"{n:064x}"} for n in range(200)]
    many += [{**row, "label": label(float(n))} for n in range(200)]
    for pause in (0, 5, 50):
        job = await begun(house, **EXPORT)
        coming = asyncio.create_task(send(house, job, many, request=None))
        for _ in range(pause):
            await asyncio.sleep(0)
        undone = await house.http.delete(f"{IMPORTS}/shop/{job['id']}", headers=ADMIN)
        assert undone.status_code == 200
        assert (await coming).status_code in (200, 409)
        left = await exported(house)
        assert {one["fingerprint"] for one in left if one["kind"] == "entry"} == {
            one["fingerprint"] for one in entries
        }
        assert [one for one in left if one["kind"] == "label"] == []
