"""Deleting a tenant that keeps no content, and one whose jobs Claude is at."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.api.admin import ADMIN, PARIS
from tests.batches.house import BatchHouse, item
from tests.nocontent.traffic import opened, without_content

SHOP = "/admin/v1/tenants/shop"
CONFIRM = {"confirm": "shop"}


async def test_a_tenant_without_content_is_deleted_and_comes_back_as_a_new_one(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as house:
        key = await without_content(house, "shop")
        assert (await house.ask(PARIS, key=key)).status_code == 200
        assert (await house.ask(PARIS, key=key)).headers["x-cache"] == "exact"
        gone = await house.http.request("DELETE", SHOP, json=CONFIRM, headers=ADMIN)
        assert gone.status_code == 200, gone.text
        assert gone.json()["settings_removed"] is True
        assert gone.json()["erased"]["removed"]["answers"] == 1
        assert gone.json()["erased"]["keys"].startswith("destroyed")
        assert (await house.ask(PARIS, key=key)).status_code == 401
        assert (await house.http.get(SHOP, headers=ADMIN)).status_code == 404
        again = await house.key("shop")  # by the server's defaults now: content is kept
        assert (await house.ask(PARIS, key=again)).headers["x-cache"] == "miss"
        listed = await house.http.get("/admin/v1/entries?tenant=shop", headers=ADMIN)
        assert [one["question"] for one in listed.json()["items"]] == [PARIS]


async def test_a_tenant_whose_job_claude_is_at_is_deleted_once_that_has_ended(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path) as house:
        key = await house.key("shop")
        house.door.hold_at(lambda method, path: path.endswith("/batches"), "after")
        made = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [item("i1", text="Later?")]},
            headers={"x-api-key": key},
        )
        assert made.status_code == 200, made.text
        await house.door.reached.wait()  # Claude has taken it, and we do not know yet
        refused = await house.http.request("DELETE", SHOP, json=CONFIRM, headers=ADMIN)
        assert refused.status_code == 409, refused.text
        assert refused.json()["error"]["type"] == "conflict_error"
        assert "1 jobs of this tenant are with Claude" in refused.text
        # The keys are revoked all the same, and the trail says so.
        assert (await house.ask(PARIS, key=key)).status_code == 401
        trail = await house.http.get("/admin/v1/audit-trail?limit=1", headers=ADMIN)
        (latest,) = trail.json()["items"]
        assert (latest["method"], latest["tenant"], latest["status"]) == ("DELETE", "shop", 409)
        house.door.release()
        async with asyncio.timeout(60):
            while True:
                gone = await house.http.request("DELETE", SHOP, json=CONFIRM, headers=ADMIN)
                if gone.status_code != 409:
                    break
        assert gone.status_code == 200, gone.text
        assert (await house.http.get(SHOP, headers=ADMIN)).status_code == 404
