"""Health: what each part says while it works and while it fails, and the canary's real path."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from tests.api.admin import ADMIN, put
from tests.hostile.claude import scripted
from tests.house import House


async def health(house: House) -> dict[str, Any]:
    got = await house.http.get("/admin/v1/health", headers=ADMIN)
    assert got.status_code == 200, got.text
    found = got.json()
    assert isinstance(found, dict)
    return found


async def canary(house: House) -> Any:
    return await house.http.post("/admin/v1/health/canary", headers=ADMIN)


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["checks"]}


async def test_a_working_server_is_ok_in_every_part(house: House) -> None:
    found = await health(house)
    parts = by_name(found)
    assert parts.keys() == {
        "store", "disk", "room", "index", "embedder", "upstream", "ledger", "tasks", "servers",
    }  # fmt: skip
    wrong = {name: one for name, one in parts.items() if one["status"] != "ok"}
    assert not wrong.keys() - {"store", "disk"}, wrong  # the machine of a test may be slow, or full
    assert all(one["do"] is None for one in parts.values() if one["status"] == "ok")
    assert found["versions"]["store"]
    assert float(found["canary"]["most_usd"]) > 0


async def test_background_tasks_tell_when_they_ran_last_and_how_that_ended(house: House) -> None:
    monitor, fails = house.parts.alerts, [True]

    async def step() -> None:
        if fails[0]:
            raise StoreError("away")

    monitor._tick_s = 0.001
    task = asyncio.create_task(monitor._repeat(step), name="alerts:test")
    try:
        async with asyncio.timeout(10):
            while not (ran := rounds(by_name(await health(house)), "alerts:test")):
                pass
            assert ran["error"] == "StoreError"
            found = by_name(await health(house))["tasks"]
            assert found["status"] == "degraded"
            assert "alerts:test (StoreError)" in found["found"]
            assert ran["failed"] == ran["rounds"] > 0
            fails[0] = False
            while (ran := rounds(by_name(await health(house)), "alerts:test"))["error"]:
                pass
            assert 0 < ran["failed"] < ran["rounds"]
            assert 0 <= ran["last_s"] < 5
            assert 0 <= ran["took_ms"] < 5_000
    finally:
        await end(task)


def rounds(parts: dict[str, Any], task: str) -> dict[str, Any]:
    """The rounds of a background task in health; nothing: it has ended none."""
    found = [one for one in parts["tasks"]["facts"]["rounds"] if one["task"] == task]
    return found[0] if found else {}


async def test_the_canary_takes_the_real_path_and_leaves_its_money_and_nothing_else(
    house: House,
) -> None:
    got = await canary(house)
    assert got.status_code == 200, got.text
    found = got.json()
    assert [one["got"] for one in found["steps"]] == ["miss", "exact", "semantic"]
    assert found["status"] == "ok"
    assert found["removed_entries"] == 1
    assert len(house.asked) == 1
    assert all(one["ms"] > 0 for one in found["steps"])
    assert float(found["cost_usd"]) == float(found["steps"][0]["cost_usd"]) > 0
    listed = await house.http.get("/admin/v1/entries", headers=ADMIN)
    assert listed.json()["items"] == []
    await house.parts.ledger.flush()
    now = house.clock()
    pages = [page async for page in house.parts.ledger_export.rows(now - 60, now + 60)]
    assert {row["tenant"] for page in pages for row in page} == {"~canary"}
    paid = sum(row["cost_nanodollars"] for page in pages for row in page)
    assert f"{paid / 10**9:.9f}" == found["cost_usd"]
    again = await canary(house)
    assert (again.status_code, again.headers["retry-after"]) == (429, "10")


async def test_the_canary_fills_again_once_its_time_is_over(house: House) -> None:
    await canary(house)
    await house.parts.host.store.redis.delete(f"{house.parts.host.store.prefix}canary")
    assert (await canary(house)).json()["steps"][0]["got"] == "miss"
    assert len(house.asked) == 2


async def test_no_key_can_be_the_canarys(house: House) -> None:
    got = await house.http.post("/admin/v1/keys", headers=ADMIN, json={"tenant": "~canary"})
    assert got.status_code == 400
    got = await house.http.put("/admin/v1/tenants/~canary", headers=ADMIN, json={})
    assert got.status_code == 400


async def test_a_strict_bar_is_no_fault(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=1.0) as house:
        found = (await canary(house)).json()
        assert found["status"] == "ok"
        assert (found["steps"][2]["got"], len(house.asked)) == ("miss", 2)
        assert "bar is strict" in found["steps"][2]["do"]


async def test_a_claude_that_fails_is_told_with_what_to_do(tmp_path: Path) -> None:
    async with scripted(tmp_path, retries=0, breaker_calls=1) as (house, claude):
        claude.cut = True
        found = (await canary(house)).json()
        assert found["status"] == "failed"
        assert found["steps"][0]["got"] == "failed"
        upstream = by_name(await health(house))["upstream"]
        assert upstream["status"] in ("failed", "degraded")
        assert upstream["do"]


@pytest.mark.parametrize("role", ["read"])
async def test_a_read_key_sees_health_and_runs_no_canary(house: House, role: str) -> None:
    made = await house.http.post(
        "/admin/v1/admin-keys", headers=ADMIN, json={"name": "eve", "role": role}
    )
    key = {"x-api-key": made.json()["key"]}
    assert (await house.http.get("/admin/v1/health", headers=key)).status_code == 200
    assert (await house.http.post("/admin/v1/health/canary", headers=key)).status_code == 403


async def test_jobs_near_their_limit_are_told(house: House) -> None:
    await put(house, "settings", max_job_bytes=10_000_000)
    redis, prefix = house.parts.host.store.redis, house.parts.host.store.prefix
    await redis.hset(f"{prefix}bt:bytes", "total", "9500000")
    room = by_name(await health(house))["room"]
    assert room["status"] == "degraded"
    assert "max_job_bytes" in room["do"]
