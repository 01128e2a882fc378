"""After an erasure nothing of the content is left, anywhere, and nothing else is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.stores.kinds import REGISTRY
from cacheserver.stores.storecopy import keys
from tests.batches.house import QUICK
from tests.erasure import ADMIN, PIECES, PREFIX, echo, fill, found, in_files, in_store, store_of
from tests.house import House

WHOLE = set(PIECES)
SELECTORS: dict[str, tuple[dict[str, str], set[str]]] = {
    "entry_id": ({"entry_id": "?"}, {"message"}),
    "tag": ({"tag": "tag/ann"}, WHOLE),
    "conversation": ({"conversation": "talk-ann", "namespace": "space-ann"}, {"talk"}),
    "actor": ({"actor": "ann@example.com"}, WHOLE),
    "namespace": ({"namespace": "space-ann"}, WHOLE),
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=echo, pace=QUICK) as house:
        yield house


async def money(house: House, key: str) -> Any:
    await house.parts.ledger.flush()
    shown = await house.http.get("/v1/stats", headers={"x-api-key": key})
    used = await house.http.get("/v1/usage", headers={"x-api-key": key})
    assert used.status_code == 200, used.text
    return shown.json(), used.json()["totals"]


async def erase(house: House, key: str, selector: Mapping[str, str]) -> dict[str, Any]:
    answer = await house.http.post("/v1/erase", json=selector, headers={"x-api-key": key})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize("kind", SELECTORS)
async def test_nothing_is_left_of_what_is_erased_and_all_of_the_rest(
    house: House, tmp_path: Path, kind: str
) -> None:
    key = await house.key("acme")
    ids = await fill(house, "ann", key)
    await fill(house, "bob", key)
    await house.parts.entries.save()
    redis = await store_of(tmp_path)
    try:
        before = await in_store(redis)
        assert found(before, "ann") == found(before, "bob") == WHOLE
        assert found(in_files(tmp_path), "ann") == WHOLE
        for name in [name async for page in keys(redis, PREFIX) for name in page]:
            assert REGISTRY.find(name[len(PREFIX) :].decode()), name
        counted = await money(house, key)

        selector, gone = SELECTORS[kind]
        if kind == "entry_id":
            selector = {"entry_id": ids["entry"]}
        told = await erase(house, key, selector)
        assert told["store_file"] == told["index_snapshot"] == "rewritten"
        assert told["removed"]["answers"] >= len(gone) - 1

        left = await in_store(redis)
        assert found(left, "ann") == WHOLE - gone
        assert found(left, "bob") == WHOLE
        assert found(in_files(tmp_path), "ann") == WHOLE - gone
        snapshot = (tmp_path / "index.snapshot").read_bytes()
        assert (ids["entry"].encode() in snapshot) == ("message" not in gone)
        assert await money(house, key) == counted
        assert (await erase(house, key, selector))["removed"] == {}
    finally:
        await redis.aclose()


async def test_a_whole_tenant_is_erased_and_no_other(house: House, tmp_path: Path) -> None:
    one, two = await house.key("acme"), await house.key("other")
    await fill(house, "ann", one)
    await fill(house, "bob", two)
    await house.parts.entries.save()
    counted = await money(house, one)
    redis = await store_of(tmp_path)
    told = await house.http.post(
        "/admin/tenants/acme/erase", json={"tenant": "acme"}, headers=ADMIN
    )
    assert told.status_code == 200, told.text
    try:
        left = await in_store(redis)
    finally:
        await redis.aclose()
    assert found(left, "ann") == found(in_files(tmp_path), "ann") == set()
    assert found(left, "bob") == found(in_files(tmp_path), "bob") == WHOLE
    for name in (b"tag/ann", b"talk-ann", b"space-ann"):
        assert name not in left
    assert await money(house, one) == counted
    log = await house.http.get("/admin/tenants/acme/erasures", headers=ADMIN)
    assert [(row["who"], row["kind"]) for row in log.json()] == [("admin", "tenant")]
