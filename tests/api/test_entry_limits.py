"""Limits of an operator's changes to a stored answer; tenants that a purge by text leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.simulated import Directives
from tests.api.admin import ADMIN, PARIS, put
from tests.house import House
from tests.nocontent.traffic import opened, without_content

JSON = json.dumps({"city": "Paris", "sure": True})


async def change(house: House, id: str, what: str, **fields: Any) -> httpx2.Response:
    path = f"/admin/v1/entries/default/{id}/{what}"
    return await house.http.put(path, json=fields, headers=ADMIN)


async def test_a_volatile_answer_lives_no_longer_than_its_cap(house: House) -> None:
    volatility = {"time_s": 600}
    await put(house, "tenants/default", max_ttl_s=86_400, volatility=volatility)
    house.parts.tenants.forget("default")
    id = (await house.ask("What is the weather in Paris today?")).headers["x-cache-entry"]
    assert (await change(house, id, "ttl", ttl_s=590)).status_code == 200
    for what, more in (("ttl", {}), ("answer", {"text": "Rain."})):
        refused = await change(house, id, what, ttl_s=700, **more)
        assert (refused.status_code, "`ttl_s`" in refused.text) == (400, True), what
    stable = (await house.ask(PARIS)).headers["x-cache-entry"]
    assert (await change(house, stable, "ttl", ttl_s=80_000)).status_code == 200
    assert (await change(house, id, "ttl", ttl_s=700, beyond_maximum=True)).status_code == 200


async def test_the_maximum_of_a_task_holds_for_what_has_kept_to_it(house: House) -> None:
    rules = [{"task": "news", "max_ttl_s": 600}]
    await put(house, "tenants/default", max_ttl_s=86_400, ttl_rules=rules)
    house.parts.tenants.forget("default")
    ids = [
        (await house.ask(PARIS, headers={"x-cache-task": task, "x-cache-namespace": task})).headers[
            "x-cache-entry"
        ]
        for task in ("news", "other")
    ]
    statuses = [(await change(house, id, "ttl", ttl_s=3_000)).status_code for id in ids]
    assert statuses == [400, 200]


async def test_the_maximum_of_a_model_asked_for_holds_for_who_else_answered(house: House) -> None:
    rules = [{"model": "auto", "max_ttl_s": 600}]
    await put(house, "tenants/default", max_ttl_s=86_400, ttl_rules=rules)
    house.parts.tenants.forget("default")
    # Of `auto` by another model; of that model itself, for longer.
    routed = (await house.ask(PARIS, model="auto")).headers["x-cache-entry"]
    itself = (await house.ask(PARIS)).headers["x-cache-entry"]
    for what, more in (("ttl", {}), ("answer", {"text": "Paris."})):
        statuses = [
            (await change(house, id, what, ttl_s=3_000, **more)).status_code
            for id in (routed, itself)
        ]
        assert statuses == [400, 200], what


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Paris", 400),
        ("[1]", 400),
        ("null", 400),
        ('{"city": "Paris"}', 400),
        ('{"city": "Lyon", "sure": false}', 200),
        ('{"city": "Lyon", "sure": false, "why": "x"}', 200),
    ],
)
async def test_a_curated_answer_is_json_where_programs_read_json(
    tmp_path: Path, text: str, status: int
) -> None:
    async with House.open(tmp_path, claude=lambda _: Directives(text=JSON)) as house:
        id = (await house.ask(PARIS)).headers["x-cache-entry"]
        changed = await change(house, id, "answer", text=text)
        assert changed.status_code == status, changed.text
        if status == 400:
            assert "`text`" in changed.text
        again = (await house.ask(PARIS)).json()["content"][0]["text"]
        assert again == (JSON if status == 400 else text)


async def test_a_purge_by_text_names_the_tenants_that_it_cannot_look_into(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        quiet, loud = await without_content(house, "quiet"), await house.key("loud")
        for key in (quiet, loud):
            await house.ask(PARIS, key=key)
        for fields, skipped in (
            ({"text": "capital", "dry_run": True}, ["quiet"]),
            ({"text": "capital", "tenant": "quiet", "dry_run": True}, ["quiet"]),
            ({"text": "capital", "tenant": "loud", "dry_run": True}, []),
            ({"text": "capital"}, ["quiet"]),
        ):
            done = await house.http.post("/admin/v1/purge", json=fields, headers=ADMIN)
            assert done.status_code == 200, done.text
            assert done.json().get("skipped", []) == skipped
        done = await house.http.post("/admin/v1/purge", json={"tenant": "quiet"}, headers=ADMIN)
        assert done.json() == {"purged": 1}
