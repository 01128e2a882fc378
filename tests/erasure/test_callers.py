"""Callers with Anthropic keys of their own go with the tenant that they are inside of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.erasure.callers import names_inside
from cacheserver.erasure.selectors import read
from tests.batches.house import QUICK
from tests.erasure.helpers import ADMIN, PREFIX, echo, found, in_files, in_store, marker, store_of
from tests.house import House

OURS = "x-cacheserver-key"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(
        tmp_path, claude=echo, pace=QUICK, credentials="caller", anthropic_api_key=None
    ) as house:
        yield house


async def ask(house: House, who: str, ours: str) -> None:
    """Ask a question of `who`, with an Anthropic key of their own, inside the tenant of `ours`."""
    names = {OURS: ours, "x-cache-tags": f"tag/{who}", "x-cache-actor": f"{who}@example.com"}
    headers = {**names, "x-cache-namespace": f"space-{who}"}
    asked = await house.ask(
        f"Where is {marker(who, 'message')} made?", key=f"sk-{who}", headers=headers
    )
    assert asked.status_code == 200, asked.text
    talk = {"prompt": f"Hello, I am {marker(who, 'talk')}.", "conversation": f"talk-{who}"}
    headers["x-api-key"] = f"sk-{who}"
    said = await house.http.post("/v1/query", json=talk, headers=headers)
    assert said.status_code == 200, said.text


async def left(tmp_path: Path, who: str) -> set[str]:
    redis = await store_of(tmp_path)
    try:
        return found(await in_store(redis), who) | found(in_files(tmp_path), who)
    finally:
        await redis.aclose()


async def test_a_deleted_tenant_takes_its_callers_along_and_nobody_elses(
    house: House, tmp_path: Path
) -> None:
    shop, other = await house.key("shop"), await house.key("shop2")
    for who, ours in (("ann", shop), ("bob", shop), ("eve", other)):
        await ask(house, who, ours)
    assert await left(tmp_path, "ann") == {"message", "talk"}
    used = await house.http.get("/v1/usage", headers={OURS: shop, "x-api-key": "sk-ann"})
    gone = await house.http.request(
        "DELETE", "/admin/v1/tenants/shop", json={"confirm": "shop"}, headers=ADMIN
    )
    assert gone.status_code == 200, gone.text
    assert gone.json()["erased"]["removed"]["answers"] == 4
    assert gone.json()["erased"]["store_file"] == "rewritten"
    for who in ("ann", "bob"):
        assert await left(tmp_path, who) == set(), who
    assert await left(tmp_path, "eve") == {"message", "talk"}
    assert (await house.ask(key="sk-ann", headers={OURS: shop})).status_code == 401
    again = await house.http.get(
        "/v1/usage", headers={OURS: await house.key("shop"), "x-api-key": "sk-ann"}
    )
    assert again.json()["totals"] == used.json()["totals"]  # money stays


@pytest.mark.parametrize(
    "selector",
    [
        {"tenant": "shop"},
        {"actor": "ann@example.com"},
        {"tag": "tag/ann"},
        {"namespace": "space-ann"},
    ],
)
async def test_an_admins_erasure_reaches_all_callers_of_the_tenant(
    house: House, tmp_path: Path, selector: dict[str, Any]
) -> None:
    shop, other = await house.key("shop"), await house.key("other")
    for who, ours in (("ann", shop), ("bob", shop), ("eve", other)):
        await ask(house, who, ours)
    path = "/admin/v1/tenants/shop/erase"
    refused = await house.http.post(path, json={"tenant": "other"}, headers=ADMIN)
    assert refused.status_code == 400
    told = await house.http.post(path, json=selector, headers=ADMIN)
    assert told.status_code == 200, told.text
    assert told.json()["callers"] == 2
    assert await left(tmp_path, "ann") == set()
    assert await left(tmp_path, "bob") == (set() if "tenant" in selector else {"message", "talk"})
    assert await left(tmp_path, "eve") == {"message", "talk"}


async def test_a_callers_own_erasure_reaches_that_caller_alone(
    house: House, tmp_path: Path
) -> None:
    shop = await house.key("shop")
    for who in ("ann", "bob"):
        await ask(house, who, shop)
    name = f"shop@{await house.parts.tenants.pseudonym('sk-ann')}"
    headers = {OURS: shop, "x-api-key": "sk-ann"}
    told = await house.http.post("/v1/erase", json={"tenant": name}, headers=headers)
    assert told.status_code == 200, told.text
    assert await left(tmp_path, "ann") == set()
    assert await left(tmp_path, "bob") == {"message", "talk"}


async def test_what_a_killed_server_began_of_callers_is_finished(
    house: House, tmp_path: Path
) -> None:
    await ask(house, "ann", await house.key("shop"))
    eraser = house.parts.eraser
    (name,) = await eraser.inside("shop")
    tenant = await house.parts.tenants.settings("shop")
    selector = read({"tenant": "shop"}, tenant)
    for one in ("shop", name):
        erasure = await eraser.announce(one, selector, who="admin")
        await eraser.store.let_go(erasure)
    assert await eraser.look() == 2
    assert await left(tmp_path, "ann") == set()


async def test_only_pseudonyms_of_the_very_tenant_are_inside_it(
    house: House, tmp_path: Path
) -> None:
    for tenant in ("shop", "shop2", "a"):
        await ask(house, "ann", await house.key(tenant))
    pseudonym = await house.parts.tenants.pseudonym("sk-ann")
    redis = await store_of(tmp_path)
    try:
        for tenant in ("shop", "shop2", "a", "sho"):
            inside = [] if tenant == "sho" else [f"{tenant}@{pseudonym}"]
            assert await names_inside(redis, PREFIX, tenant) == inside
    finally:
        await redis.aclose()
