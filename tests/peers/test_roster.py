"""The roster of the servers on a store, and the settings in which they must agree."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import SettingsError
from cacheserver.peers import roster
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.peers.roster import About, Roster, differences, live_servers
from cacheserver.storage.connection import Connection, command
from tests.house import ADMIN_KEY, House
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures

ADMIN = {"x-api-key": ADMIN_KEY}
MUST = "CACHESERVER_UPSTREAM"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "_GONE_S", 0.05)  # nobody was killed here


async def test_servers_with_the_same_settings_are_listed_with_what_they_say(
    redis: Connection, prefix: str
) -> None:
    about = About("1.0", 5.0, {MUST: "Claude"}, {"CACHESERVER_TOP_K": "5"})
    peers = [Peers(redis, uncounted, prefix=prefix) for _ in range(2)]
    entered: list[Roster] = []
    for one in peers:
        await one.start()
        entered.append(Roster(redis, pytest.fail, name=one.name, about=about, prefix=prefix))
        await entered[-1].start()
    found = await live_servers(redis, prefix)
    assert [one.name for one in found] == sorted(one.name for one in peers)
    assert [one.about for one in found] == [about, about]
    assert all(0 < one.lease_s <= 1 for one in found)
    assert await entered[0].others_use("faiss")  # an earlier version does not say
    await entered[1].use(["vector-sets"])
    assert not await entered[0].others_use("faiss")
    assert await entered[0].others_use("vector-sets")
    for one, leaving in zip(peers, entered, strict=True):
        await leaving.close()
        await one.close()
    assert await live_servers(redis, prefix) == []
    assert not await command(redis, "KEYS", f"{prefix}server:*")


async def test_a_server_that_must_agree_and_does_not_is_refused_while_the_other_lives(
    redis: Connection, prefix: str
) -> None:
    first, second = (Peers(redis, uncounted, prefix=prefix) for _ in range(2))
    await first.start()
    one = Roster(
        redis, pytest.fail, name=first.name, about=About("1", 1, {MUST: "Claude"}), prefix=prefix
    )
    await one.start()
    await second.start()
    other = Roster(
        redis,
        pytest.fail,
        name=second.name,
        about=About("1", 1, {MUST: "simulated"}),
        prefix=prefix,
    )
    with pytest.raises(SettingsError, match=r"simulated here and Claude on .*stop that server"):
        await other.start()
    assert [server.about for server in await live_servers(redis, prefix) if server.about] == [
        one.about
    ]
    await one.close()
    await first.close()
    await other.start()
    await other.close()
    await second.close()


async def test_of_two_that_start_at_once_and_differ_not_both_serve(
    redis: Connection, prefix: str
) -> None:
    peers = [Peers(redis, uncounted, prefix=prefix) for _ in range(2)]
    rosters = [
        Roster(redis, pytest.fail, name=one.name, about=About("1", 1, {MUST: says}), prefix=prefix)
        for one, says in zip(peers, ("Claude", "simulated"), strict=True)
    ]
    for one in peers:
        await one.start()
    started = await asyncio.gather(*(one.start() for one in rosters), return_exceptions=True)
    assert any(isinstance(one, SettingsError) for one in started)
    for leaving in rosters:
        await leaving.close()
    for one in peers:
        await one.close()


def test_a_setting_that_one_version_does_not_know_is_no_difference() -> None:
    assert differences({"A": "1", "B": "2"}, [("host", {"B": "2", "C": "3"})]) == []
    assert differences({"A": "1"}, [("host", {"A": "2"})]) == [("A", "1", "2", "host")]


async def test_a_simulated_server_does_not_join_one_of_claudes(
    url: str, prefix: str, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
    async with House.open(tmp_path / "0", **store) as house:
        with pytest.raises(SettingsError, match="`CACHESERVER_UPSTREAM`"):
            async with House.open(tmp_path / "1", upstream="simulated", **store):
                pytest.fail("it serves")
        assert (await house.ask()).status_code == 200


async def test_a_server_with_a_key_does_not_join_one_without_and_seals_nothing(
    url: str, prefix: str, redis: Connection, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
    async with House.open(tmp_path / "0", **store):
        with pytest.raises(SettingsError, match="`CACHESERVER_ENCRYPTION_KEY_FILE`"):
            async with House.open(tmp_path / "1", encryption_key_file=key, **store):
                pytest.fail("it serves")
        assert not await command(redis, "KEYS", f"{prefix[-9:]}seal*")


async def test_health_names_the_servers_their_work_and_what_differs(
    url: str, prefix: str, tmp_path: Path
) -> None:
    store: dict[str, Any] = {"redis_url": url, "redis_prefix": prefix[-9:]}
    async with House.open(tmp_path / "0", **store) as one:
        alone = await servers_of(one)
        assert alone["found"] == "one server uses the store"
        same = {**store, "upstream": one.parts.host.settings.upstream}
        async with House.open(tmp_path / "1", **same) as two:
            both = await servers_of(two)
            assert (both["status"], both["found"]) == ("ok", "2 servers share the store")
            shown = both["facts"]["servers"]
            names = {house.parts.host.peers.name for house in (one, two)}
            assert {server["name"] for server in shown} == names
            assert [server["name"] for server in shown if server["own"]] == [
                two.parts.host.peers.name
            ]
            assert None not in both["facts"]["work"].values()
        async with House.open(tmp_path / "2", top_k=7, **same) as other:
            told = await servers_of(other)
            assert told["status"] == "degraded"
            assert told["found"].startswith("`CACHESERVER_TOP_K` is 7 here and 10 on ")
            assert told["facts"]["differ"] == ["CACHESERVER_TOP_K"]
            metrics = (await other.http.get("/metrics", headers=ADMIN)).text
            assert 'cacheserver_work{work="ledger"} 0.0' in metrics
            assert "cacheserver_lease_held 1.0" in metrics


async def servers_of(house: House) -> dict[str, Any]:
    house.parts.host.leases.of("ledger")  # has it ask at once
    async with asyncio.timeout(10):
        while True:
            got = (await house.http.get("/admin/v1/health", headers=ADMIN)).json()
            found = next(one for one in got["checks"] if one["name"] == "servers")
            if not found["found"].startswith("nobody does"):
                return dict(found)
