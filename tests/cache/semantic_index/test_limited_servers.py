"""Servers with room in memory for one scope: what they answer, and what they say of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache.semantic_index import scope_limit
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"x-api-key": ADMIN_KEY}
QUESTION, ALIKE = "How do I reset my password?", "how do i reset my password"
SYSTEMS = ["Answer in French.", "Answer in German.", "Answer in Greek."]


async def outcome(house: House, text: str, system: str) -> str:
    """Ask; once more if the scope was not in memory in time."""
    found = came_from(await house.ask(text, system=system))
    while found[1] == "warming":
        found = came_from(await house.ask(text, system=system, max_tokens=99))
    return found[0]


async def scopes_of(house: House) -> dict[str, Any]:
    stats = (await house.http.get("/admin/v1/stats", headers=ADMIN)).json()
    found: dict[str, Any] = stats["index"]["scopes"]
    return found


async def test_scopes_leave_memory_and_their_answers_are_found(tmp_path: Path) -> None:
    async with House.open(tmp_path, index_bytes=1) as house:
        for system in SYSTEMS:
            assert await outcome(house, QUESTION, system) == "miss"
        for system in [*SYSTEMS, *SYSTEMS]:
            assert await outcome(house, ALIKE, system) == "semantic"
        assert await outcome(house, ALIKE, "Answer in Danish.") == "miss"
        assert len(house.asked) == 4
        await until(lambda: house.parts.entries.index.scopes.loaded == 1)  # type: ignore[union-attr]
        found = await scopes_of(house)
        assert (found["loaded"], found["known"], found["limit_bytes"]) == (1, 4, 1)
        metrics = (await house.http.get("/metrics", headers=ADMIN)).text
        told = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
        assert float(told["cacheserver_index_evictions_total"]) >= 5
        assert float(told["cacheserver_index_load_seconds_count"]) >= 5
        upstream = house.parts.host.settings.upstream  # it is part of a fingerprint
    async with House.open(tmp_path, index_bytes=1, upstream=upstream) as again:
        for system in SYSTEMS:
            assert await outcome(again, ALIKE, system) == "semantic"


async def test_the_limit_is_lifted_and_set_while_the_server_runs(tmp_path: Path) -> None:
    async with House.open(tmp_path, index_bytes=1) as house:
        put = {"index_bytes": "unlimited"}
        assert (
            await house.http.put("/admin/v1/settings", headers=ADMIN, json=put)
        ).status_code == 200
        for system in SYSTEMS:
            await outcome(house, QUESTION, system)
        assert (await scopes_of(house))["loaded"] == 3
        little = {"index_bytes": 1}
        refused = await house.http.put("/admin/v1/settings", headers=ADMIN, json=little)
        assert refused.status_code == 400
        assert "index_bytes" in refused.text
        assert (
            await house.http.put("/admin/v1/settings", headers=ADMIN, json={"index_bytes": None})
        ).status_code == 200
        await until(lambda: house.parts.entries.index.scopes.loaded == 1)  # type: ignore[union-attr]


@asynccontextmanager
async def two(folder: Path, url: str, prefix: str) -> AsyncIterator[tuple[House, House]]:
    store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:], "index_bytes": 1}
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(House.open(folder / "1", **store))
        upstream = one.parts.host.settings.upstream  # one Claude: it is part of a fingerprint
        other = await stack.enter_async_context(
            House.open(folder / "2", upstream=upstream, **store)
        )
        await until(lambda: one.parts.host.peers.live == other.parts.host.peers.live == 2)
        yield one, other


async def test_what_one_server_stores_and_purges_holds_for_scopes_that_the_other_has_not_loaded(
    tmp_path: Path, url: str, prefix: str
) -> None:
    async with two(tmp_path, url, prefix) as (one, other):
        for system in SYSTEMS:
            assert await outcome(one, QUESTION, system) == "miss"
        await until(lambda: len(other.parts.entries.index) == 3)
        for system in SYSTEMS:
            assert await outcome(other, ALIKE, system) == "semantic"
        first = (await one.ask(QUESTION, system=SYSTEMS[0])).headers["x-cache-entry"]
        purge = {"tenant": "default", "entry_id": first}
        gone = await one.http.post("/admin/v1/purge", headers=ADMIN, json=purge)
        assert gone.json()["purged"] == 1, gone.text
        assert await outcome(other, ALIKE, SYSTEMS[0]) == "miss"
        for system in SYSTEMS[1:]:
            assert await outcome(other, f"{ALIKE}?", system) == "semantic"


async def test_a_scope_that_is_not_in_memory_is_known_to_admins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with House.open(tmp_path, index_bytes=1) as house:
        for system in SYSTEMS:
            await outcome(house, QUESTION, system)
        await until(lambda: house.parts.entries.index.scopes.loaded == 1)  # type: ignore[union-attr]
        monkeypatch.setattr(scope_limit, "WAIT_S", 0.0)  # they wait as long as it takes
        names = [name async for name in _scopes(house)]
        assert len(names) == 3
        for scope in names:
            assert await house.parts.entries.has_questions("default", scope)
            assert not await house.parts.entries.has_questions("other", scope)


async def _scopes(house: House) -> AsyncIterator[str]:
    async for row in house.parts.entries.entries.vectors.scan():
        yield row.scope
