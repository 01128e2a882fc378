"""Jobs and batches of all tenants, for the admin: listed by page, and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.money import nanodollars
from tests.api.admin import ADMIN
from tests.batches.house import BatchHouse, item

PATH = "/admin/v1/jobs"
SECRET = "What is in the vault?"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path) as one:
        yield one


async def listed(house: BatchHouse, **given: Any) -> dict[str, Any]:
    got = await house.http.get(PATH, headers=ADMIN, params=given)
    assert got.status_code == 200, got.text
    assert SECRET not in got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


async def batch(house: BatchHouse, key: str, *items: Any) -> str:
    got = await house.http.post(
        "/v1/messages/batches", json={"requests": items}, headers={"x-api-key": key}
    )
    assert got.status_code == 200, got.text
    return str(got.json()["id"])


async def test_jobs_of_all_tenants_come_newest_first_and_by_page(house: BatchHouse) -> None:
    one, two = await house.key("one"), await house.key("two")
    await house.send_at_once("one", "two")
    made = [(await house.job(SECRET, key=one)).json()["id"]]
    made.append(await batch(house, two, item("a", SECRET), item("b", "What is a boat?")))
    made.append((await house.job("Another?", key=one)).json()["id"])
    for id, key in zip(made, (one, two, one), strict=True):
        await house.ended(id, key=key)
    page = await listed(house)
    assert ({job["id"] for job in page["items"]}, page["next"]) == (set(made), None)
    assert [job["expires_at"] for job in page["items"]] == sorted(
        (job["expires_at"] for job in page["items"]), reverse=True
    )
    first = await listed(house, limit=2)
    rest = await listed(house, limit=2, cursor=first["next"])
    assert [*first["items"], *rest["items"]] == page["items"]
    for given, ids in (
        ({"tenant": "one"}, {made[0], made[2]}), ({"kind": "batch"}, {made[1]}),
        ({"status": "ended"}, set(made)), ({"status": "in_progress"}, set()),
    ):  # fmt: skip
        assert {job["id"] for job in (await listed(house, **given))["items"]} == ids


async def test_a_job_shows_counts_and_what_it_cost(house: BatchHouse) -> None:
    key = await house.key("one")
    id = await batch(house, key, item("a", SECRET), item("b", SECRET), item("c", "Why?"))
    await house.ended(id, key=key)
    (job,) = (await listed(house))["items"]
    lines = await house.http.get(f"/v1/messages/batches/{id}/results", headers={"x-api-key": key})
    costs = [nanodollars(line.split('"cost_usd":"')[1][:11]) for line in lines.text.splitlines()]
    assert (job["tenant"], job["kind"], job["total"], job["done"]) == ("one", "batch", 3, 3)
    assert (job["counts"]["succeeded"], job["status"]) == (3, "ended")
    assert nanodollars(job["cost"]["cost_usd"]) == sum(costs) > 0
    assert (job["cost"]["items"], job["cost"]["unpriced"]) == (3, 0)
    alone = await house.http.get(f"{PATH}/one/{id}", headers=ADMIN)
    assert alone.json() == job
    for path in (f"{PATH}/two/{id}", f"{PATH}/one/job_0", f"{PATH}/one/ask:x"):
        await house.key("two")
        assert (await house.http.get(path, headers=ADMIN)).status_code == 404


async def test_an_admin_cancels_a_job_that_waits(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, batch_s=3_600) as house:
        key = await house.key("one")
        id = (await house.job(SECRET, key=key)).json()["id"]
        (waiting,) = (await listed(house, status="in_progress"))["items"]
        assert (waiting["id"], waiting["cost"]) == (id, None)
        got = await house.http.delete(f"{PATH}/one/{id}", headers=ADMIN)
        assert got.status_code == 200, got.text
        assert got.json()["status"] in ("canceling", "ended")
        found = await house.ended(id, key=key)
        assert found["counts"]["canceled"] == 1
        again = await house.http.delete(f"{PATH}/one/{id}", headers=ADMIN)
        assert again.status_code == 409
        trail = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()["items"]
        assert [(act["route"], act["tenant"]) for act in trail] == [
            (f"{PATH}/{{tenant}}/{{id}}", "one")
        ]


async def test_a_list_goes_on_behind_a_job_that_was_deleted(house: BatchHouse) -> None:
    key = await house.key("one")
    made = [await batch(house, key, item("a", f"What is {number}?")) for number in range(3)]
    for id in made:
        await house.ended(id, key=key)
    page = await listed(house, limit=1)
    (first,) = page["items"]
    gone = await house.http.delete(
        f"/v1/messages/batches/{first['id']}", headers={"x-api-key": key}
    )
    assert gone.status_code == 200
    rest = await listed(house, cursor=page["next"])
    assert {job["id"] for job in rest["items"]} == {*made} - {first["id"]}


async def test_wrong_parameters_are_named(house: BatchHouse) -> None:
    for query, field in (
        ("kind=x", "kind"), ("status=done", "status"), ("tenant=nobody", "tenant"),
        ("limit=0", "limit"), ("cursor=x", "cursor"), ("cursor=1e9:x", "cursor"),
        ("colour=red", "colour"),
    ):  # fmt: skip
        got = await house.http.get(f"{PATH}?{query}", headers=ADMIN)
        assert got.status_code == 400, query
        assert f"`{field}`" in got.json()["error"]["message"]
