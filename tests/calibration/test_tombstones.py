"""Tombstones and their index by entry: what replaces, exports or prolongs an answer reads it."""

from __future__ import annotations

import asyncio

from cacheserver.calibration.labels import Labels
from cacheserver.calibration.tombstones import Tombstones
from cacheserver.storage.connection import Connection, command
from tests.api.admin import ADMIN
from tests.api.test_own_answers import store
from tests.calibration.label_stores import clock, elsewhere, labels
from tests.clock import Clock
from tests.house import House

__all__ = ["clock", "elsewhere", "labels"]

OLD, HEIR = "1" * 32, "2" * 32


async def scans(redis: Connection) -> int:
    found = await command(redis, "INFO", "commandstats")
    return int(found.get("cmdstat_scan", {}).get("calls", 0))


async def refused(labels: Labels, *ids: str) -> dict[str, list[str]]:
    return await labels.tombstones.questions("acme", ids)


async def test_an_heir_is_refused_what_the_old_answer_was(labels: Labels, clock: Clock) -> None:
    stones = labels.tombstones
    for question in ("a", "b:c"):
        await stones.add("acme", question, OLD, life_s=60)
    await stones.add("other", "d", OLD, life_s=60)
    await stones.inherit("acme", {OLD: HEIR, "none": "3" * 32}, clock() + 60)
    assert await refused(labels, OLD, HEIR, "3" * 32) == {OLD: ["a", "b:c"], HEIR: ["a", "b:c"]}
    assert await labels.condemned("acme", [("a", HEIR), ("d", HEIR)]) == [True, False]
    await stones.remove("acme", "a", HEIR, by="me")  # an heir's stands for whoever made the first
    assert (await refused(labels, HEIR))[HEIR] == ["a", "b:c"]


async def test_what_was_taken_back_is_not_inherited(labels: Labels, clock: Clock) -> None:
    stones = labels.tombstones
    await stones.add("acme", "a", OLD, life_s=60, by="me")
    await stones.remove("acme", "a", OLD, by="another")
    assert await refused(labels, OLD) == {OLD: ["a"]}
    await stones.remove("acme", "a", OLD, by="me")
    await stones.inherit("acme", {OLD: HEIR}, clock() + 60)
    assert await refused(labels, OLD, HEIR) == {}


async def test_a_tombstone_that_is_over_is_not_inherited(
    labels: Labels, redis: Connection, prefix: str, clock: Clock
) -> None:
    stones = labels.tombstones
    await stones.add("acme", "long", OLD, life_s=60)
    await stones.add("acme", "short", OLD, life_s=60)
    await command(redis, "PEXPIRE", stones.key("acme", "short", OLD), 0)
    await stones.inherit("acme", {OLD: HEIR}, clock() + 60)
    assert await refused(labels, OLD, HEIR) == {OLD: ["long"], HEIR: ["long"]}
    listed = f"{prefix}tombs:4:acme:{HEIR}"
    assert 59_000 < await command(redis, "PTTL", listed) <= 60_000
    await labels.outlive("acme", HEIR, clock() + 600)
    for key in (listed, stones.key("acme", "long", HEIR)):
        assert 599_000 < await command(redis, "PTTL", key) <= 600_000


async def test_tombstones_of_a_version_without_an_index_are_indexed_once(
    redis: Connection, prefix: str, clock: Clock
) -> None:
    def server() -> Tombstones:
        return Tombstones(redis, prefix=prefix, now=clock)

    async def earlier(question: str) -> None:
        """Write as an earlier version did."""
        await command(redis, "SET", server().key("acme", question, OLD), "1", "PX", 60_000)

    await earlier("b:c")
    await command(redis, "SET", f"{prefix}tomb:odd", "1", "PX", 60_000)
    one = server()
    await asyncio.gather(*(one.inherit("acme", {OLD: str(n) * 32}, clock() + 60) for n in (2, 3)))
    for id in (OLD, HEIR, "3" * 32):
        assert await one.questions("acme", [id]) == {id: ["b:c"]}
    assert 0 < await command(redis, "PTTL", f"{prefix}tombs:4:acme:{OLD}") <= 60_000
    await earlier("mixed")  # by a server that is replaced later in a rolling update
    assert (await server().questions("acme", [OLD]))[OLD] == ["b:c", "mixed"]
    clock.time += 86_401
    before = await scans(redis)
    assert (await server().questions("acme", [OLD]))[OLD] == ["b:c", "mixed"]
    assert await scans(redis) == before


async def test_no_request_walks_all_keys_to_replace_prolong_or_export(house: House) -> None:
    stones = house.parts.labels.tombstones
    await stones.index()
    old = (await store(house)).json()["entry_id"]
    await stones.add("default", "5" * 64, old, life_s=600)
    redis = house.parts.host.store.redis
    before = await scans(redis)
    new = (await store(house, answer="Lutetia.")).json()["entry_id"]
    path = f"/admin/v1/entries/default/{new}"
    assert (
        await house.http.put(f"{path}/ttl", json={"ttl_s": 900}, headers=ADMIN)
    ).status_code == 200
    curated = await house.http.put(f"{path}/answer", json={"text": "Paris."}, headers=ADMIN)
    assert curated.status_code == 200
    (item,) = (await house.http.get("/admin/v1/exports/default", headers=ADMIN)).json()["items"]
    assert item["refused_to"] == ["5" * 64]
    assert await scans(redis) == before
