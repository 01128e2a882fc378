"""A whole server whose store is a Valkey that Sentinels watch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import ADMIN_KEY, House, came_from
from tests.redis_sentinels import Sentinels, sentinels
from tests.storage.replicas import ask_while_it_dies, question

KEPT, PURGED, LATER = question(0), "How is an order cancelled?", "How is an order returned?"


@pytest.fixture
def watched() -> Iterator[Sentinels]:
    with sentinels() as found:
        yield found


async def purge(house: House, tag: str) -> httpx2.Response:
    headers = {"x-api-key": "any"}
    return await house.http.post("/v1/purge", json={"tag": tag}, headers=headers)


async def store_check(house: House) -> dict[str, Any]:
    found = await house.http.get("/admin/v1/health", headers={"x-api-key": ADMIN_KEY})
    return next(one for one in found.json()["checks"] if one["name"] == "store")


async def test_a_primary_killed_under_load_is_misses_and_a_purge_needs_a_replica(
    watched: Sentinels, tmp_path: Path
) -> None:
    async with House.open(
        tmp_path, redis_url=watched.url, redis_replicas=1, store_wait_s=0.25
    ) as house:
        for text, tag in ((PURGED, "early"), (LATER, "late")):
            assert came_from(await house.ask(text, headers={"x-cache-tags": tag}))[0] == "miss"
            assert came_from(await house.ask(text))[0] == "exact"
        purged = await purge(house, "early")
        assert (purged.status_code, purged.json()["purged"]) == (200, 1), purged.text

        before = watched.primary()
        seen = await ask_while_it_dies(house, lambda: watched.kill(before))
        assert seen["miss", "degraded"]
        assert {came for came, _ in seen} <= {"exact", "miss", "coalesced"}, seen
        assert came_from(await house.ask(KEPT))[0] == "exact"
        assert came_from(await house.ask(PURGED))[0] == "miss"  # as was acknowledged

        refused = await purge(house, "late")  # the replica is the primary now, and has none
        assert refused.status_code == 503, refused.text
        assert "0 of 1 replicas have it" in refused.text
        assert came_from(await house.ask(LATER, headers={"x-cache-tags": "late"}))[0] == "miss"
        assert came_from(await house.ask(LATER))[0] == "exact"  # answers need no replica
        assert (await store_check(house))["found"] == "0 of 1 replicas follow"

        await asyncio.to_thread(watched.start, before)
        purged = await purge(house, "late")
        assert (purged.status_code, purged.json()["purged"]) == (200, 1), purged.text
        assert came_from(await house.ask(LATER))[0] == "miss"
        assert (await store_check(house))["status"] == "ok"
