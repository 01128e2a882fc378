"""A whole server whose store is a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.backup import backup, restore
from cacheserver.config.settings import Settings
from cacheserver.simulated import Simulated, SimulatedSettings, serve_simulated
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_clusters import Nodes, cluster
from tests.storage.replicas import KEYS, ask_while_it_dies

QUESTION, SIMILAR = "How is an order cancelled?", "How can an order be cancelled?"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster("valkey") as found:
        yield found


async def test_tenants_similarity_and_purges_are_as_on_one_server(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(tmp_path, redis_url=nodes.url) as house:
        one, two = await house.key("one"), await house.key("two")
        await house.ask(QUESTION, key=one, headers={"x-cache-tags": "orders"})
        assert came_from(await house.ask(QUESTION, key=one))[0] == "exact"
        assert came_from(await house.ask(SIMILAR, key=one))[0] == "semantic"
        assert came_from(await house.ask(QUESTION, key=two)) == ("miss", "empty")
        purged = await house.http.post(
            "/v1/purge", json={"tag": "orders"}, headers={"x-api-key": one}
        )
        assert purged.json()["purged"] == 1, purged.text
        assert came_from(await house.ask(QUESTION, key=one))[0] == "miss"
        assert came_from(await house.ask(QUESTION, key=two))[0] == "exact"
    ours = nodes.primary_of(KEYS)
    for node in nodes.primaries():
        keys = node.run("KEYS", "*")
        assert all(key.startswith(KEYS) for key in keys)
        assert bool(keys) == (node is ours)


async def test_a_primary_killed_under_load_is_misses_for_seconds_and_no_error(
    nodes: Nodes, tmp_path: Path
) -> None:
    async with House.open(tmp_path, redis_url=nodes.url, store_wait_s=0.25) as house:
        primary = nodes.primary_of(KEYS)
        seen = await ask_while_it_dies(house, lambda: nodes.kill(primary))
        assert seen["miss", "degraded"]


async def test_a_backup_of_one_server_is_restored_into_a_cluster_and_back(
    nodes: Nodes, tmp_path: Path
) -> None:
    places: list[dict[str, Any]] = [{}, {"redis_url": nodes.url}, {}]
    async with serve_simulated(Simulated(SimulatedSettings())) as claude:  # one for all
        for number, place in enumerate(places):
            here = Settings(data_dir=tmp_path / str(number), **place)
            if number:
                file = tmp_path / f"{number - 1}.backup"
                await restore.load(here, file, replace=False)
            async with House.open(here.data_dir, upstream=claude, **place) as house:
                if not number:
                    key = await house.key("one")
                    await house.ask(QUESTION, key=key)
                assert came_from(await house.ask(QUESTION, key=key))[0] == "exact"
                assert came_from(await house.ask(SIMILAR, key=key))[0] == "semantic"
            await backup.save(here, tmp_path / f"{number}.backup")


async def test_a_user_with_the_rights_of_the_documentation_is_enough(
    nodes: Nodes, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs/running.md").read_text()
    rule = page.partition("`user app on >PASSWORD ~{cs1:}*")[2].partition("`")[0]
    for node in nodes.all:
        node.run("ACL", "SETUSER", "app", "on", ">p@ss", "~{cs1:}*", *rule.split())
    url = nodes.url.replace("://", "://app:p%40ss@")
    async with House.open(tmp_path, redis_url=url) as house:
        key = await house.key("one")
        await house.ask(QUESTION, key=key)
        assert came_from(await house.ask(SIMILAR, key=key))[0] == "semantic"
        health = await house.http.get("/admin/v1/health", headers={"x-api-key": ADMIN_KEY})
        found = {one["name"]: one["status"] for one in health.json()["checks"]}
        assert (found["store"], found["index"]) == ("ok", "ok"), health.text
