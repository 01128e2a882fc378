"""Who gets in, through the front door: emptied stores, wrong keys, limits."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from cacheserver.api.slowdown import Slowdown
from cacheserver.embedded.store import running_url
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from cacheserver.storage.connection import connect
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, House, came_from
from tests.redis_servers import ENGINES, serving

ADMIN = {"x-api-key": ADMIN_KEY}


async def empty(house: House, url: str | None) -> None:
    """FLUSHALL, by somebody else, and the seconds after which a server looks again."""
    assert url is not None
    redis = connect(url)
    await redis.flushall()
    await redis.aclose()
    house.parts.tenants._closed.forget("")


async def test_an_emptied_store_makes_nobody_the_open_tenant(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        one, two = await house.key("one"), await house.key("two")
        assert came_from(await house.ask(key=one)) == ("miss", "empty")
        await empty(house, running_url(tmp_path))
        house.parts.tenants._found.forget("")
        for key in ("", "any", "cs_unknown"):
            refused = await house.ask(key=key)
            assert refused.status_code == 401, key
            assert refused.json()["error"]["type"] == "authentication_error"
    async with House.open(tmp_path) as house:  # started again on the same directory
        for key in (one, two, "", "any"):
            assert (await house.ask(key=key)).status_code == 401
        assert len(house.asked) == 0
        fresh = await house.key("one")  # the way back in is the admin's
        assert (await house.ask(key=fresh)).status_code == 200


async def test_servers_on_a_redis_of_their_own_stay_closed_when_it_is_emptied(
    tmp_path: Path,
) -> None:
    with serving(ENGINES["valkey"]) as url:
        async with (
            House.open(tmp_path / "a", redis_url=url) as a,
            House.open(tmp_path / "b", redis_url=url) as b,
        ):
            key = await a.key("one")
            assert (await b.ask(key=key)).status_code == 200
            for house in (a, b):
                await empty(house, url)
            for house in (b, a):
                assert (await house.ask()).status_code == 401
        async with House.open(tmp_path / "fresh", redis_url=url) as house:
            assert (await house.ask()).status_code == 401  # the others told Redis again
            assert (await house.ask(key=key)).status_code == 401


async def test_the_last_key_revoked_closes_and_a_fresh_server_is_open(tmp_path: Path) -> None:
    async with House.open(tmp_path) as house:
        assert (await house.ask()).status_code == 200
        key = await house.key("one")
        listed = (await house.http.get("/admin/v1/keys", headers=ADMIN)).json()["items"]
        await house.http.delete(f"/admin/v1/keys/{listed[0]['id']}", headers=ADMIN)
        assert (await house.ask()).status_code == 401
        assert (await house.ask(key=key)).status_code == 401


class Delays:
    """The delays that were asked for; each lasts until `over` is set."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.over = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.asked.append(delay_s)
        await self.over.wait()


async def test_wrong_keys_are_slowed_and_logged_and_right_ones_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    delays = Delays()
    async with House.open(tmp_path, slowdown=Slowdown(sleep=delays.sleep)) as house:
        right = await house.key("one")
        caplog.set_level(logging.WARNING, "cacheserver.api.slowdown")
        delays.over.set()
        for n in range(5):
            assert (await house.ask(key=f"cs_guess_{n}")).status_code == 401
        assert delays.asked == [0.05, 0.1, 0.2, 0.4, 0.8]
        delays.over.clear()
        guess = asyncio.create_task(house.ask(key="cs_guess_again"))
        await until(lambda: len(delays.asked) == 6)
        assert (await house.ask(key=right)).status_code == 200  # from the same address
        wrong_admin = {"x-api-key": "an-admin-key-for-guessers"}
        admin = asyncio.create_task(house.http.get("/admin/v1/keys", headers=wrong_admin))
        await until(lambda: len(delays.asked) == 7)
        assert (await house.http.get("/admin/v1/keys", headers=ADMIN)).status_code == 200
        assert not admin.done()
        assert not guess.done()
        assert delays.asked[5:] == [1.6, 3.2]
        delays.over.set()
        assert (await admin).status_code == (await guess).status_code == 401
    logged = [record.getMessage() for record in caplog.records]
    assert logged[0] == "a wrong key from 127.0.0.1, 1 in a row"
    assert "a wrong admin key from 127.0.0.1, 7 in a row" in logged
    assert not any("guess" in line for line in logged)


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/export"])
async def test_a_tenants_key_is_no_wrong_one_where_the_admins_is_taken_too(
    house: House, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    headers = {"x-api-key": await house.key("one")}
    assert (await house.http.get(path, headers=headers)).status_code == 200
    assert [r for r in caplog.records if r.name == "cacheserver.api.slowdown"] == []
    wrong = {"x-api-key": "cs_guess"}
    assert (await house.http.get(path, headers=wrong)).status_code == 401
    said = [r.getMessage() for r in caplog.records if r.name == "cacheserver.api.slowdown"]
    assert said == ["a wrong key from 127.0.0.1, 1 in a row"]


async def test_a_flood_of_wrong_keys_holds_few_connections(house: House) -> None:
    right = await house.key("one")
    for _ in range(3):
        await house.ask(key="cs_guess")
    flood = await asyncio.gather(*(house.ask(key="cs_guess") for _ in range(60)))
    statuses = [answer.status_code for answer in flood]
    assert set(statuses) == {401, 429}
    assert statuses.count(429) >= 60 - 32 - 8
    assert all("retry-after" in a.headers for a in flood if a.status_code == 429)
    assert (await house.ask(key=right)).status_code == 200


async def test_a_key_of_the_wrong_kind_is_told_how_ours_begin(house: House) -> None:
    await house.key("one")
    refused = await house.ask(key="sk-ant-api03-x")
    assert "begins with `cs_`" in refused.json()["error"]["message"]
    none = await house.http.post("/v1/messages", json={})
    assert "no cacheserver key was sent" in none.json()["error"]["message"]


async def test_limits_of_a_tenant_and_of_a_key_are_set_and_held(house: House) -> None:
    made = (
        await house.http.post(
            "/admin/v1/keys",
            headers=ADMIN,
            json={"tenant": "shop", "limits": {"requests_per_minute": 2}, "expires": "90d"},
        )
    ).json()
    assert made["limits"]["requests_per_minute"] == 2
    assert [(await house.ask(key=made["key"])).status_code for _ in range(3)] == [200, 200, 429]
    refused = await house.ask(key=made["key"])
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["x-cache-reason"] == "limit-requests"
    assert refused.headers["x-limit"] == f"shop/{made['id']}/requests_per_minute"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    put = await house.http.put(f"/admin/v1/keys/{made['id']}/limits", headers=ADMIN, json={})
    assert put.json()["limits"]["requests_per_minute"] is None
    assert (await house.ask(key=made["key"])).status_code == 200
    put = await house.http.put(
        "/admin/v1/tenants/shop", headers=ADMIN, json={"limits": {"tokens_per_minute": 150}}
    )
    assert put.json()["settings"]["limits"]["tokens_per_minute"] == 150
    assert came_from(await house.ask("A question?", key=made["key"]))[0] == "miss"
    assert came_from(await house.ask("A question?", key=made["key"]))[0] == "exact"  # hits are free
    wrong = await house.http.put(
        "/admin/v1/tenants/shop", headers=ADMIN, json={"limits": {"requests_per_minute": 0}}
    )
    assert wrong.status_code == 400
    assert "`limits.requests_per_minute`" in wrong.text


async def test_misses_under_way_are_bounded_and_joined_ones_take_no_seat(tmp_path: Path) -> None:
    def slow(body: object) -> Directives:
        return Directives(text="An answer.", fault=Fault("slow", delay_s=0.8))

    async with House.open(tmp_path, claude=slow) as house:
        key = await house.key("shop")
        put = {"limits": {"concurrent_misses": 1}}
        await house.http.put("/admin/v1/tenants/shop", headers=ADMIN, json=put)
        first = asyncio.create_task(house.ask("One?", key=key))
        while not house.asked:
            await house.http.get("/healthz")
        joined = asyncio.create_task(house.ask("One?", key=key))
        refused = await house.ask("Another?", key=key)
        assert refused.status_code == 429
        assert refused.headers["x-cache-reason"] == "limit-misses"
        assert (await first).status_code == 200
        assert came_from(await joined)[0] == "coalesced"
        decision = refused.headers["x-cache-decision"]
        kept = await house.http.get(f"/v1/decisions/{decision}", headers={"x-api-key": key})
        assert (kept.json()["status"], kept.json()["outcome"]) == (429, "miss")
        assert came_from(await house.ask("Another?", key=key))[0] == "miss"


async def test_a_rotated_key_is_shown_with_its_overlap_and_last_use(house: House) -> None:
    made = (await house.http.post("/admin/v1/keys", headers=ADMIN, json={"tenant": "shop"})).json()
    path = f"/admin/v1/keys/{made['id']}/rotate"
    new = (await house.http.post(path, headers=ADMIN, json={"overlap": "24h"})).json()
    assert (new["id"], new["tenant"]) == (made["id"], "shop")
    for key in (made["key"], new["key"]):
        assert (await house.ask(key=key)).status_code == 200
    house.clock.ahead_s += 90_000
    assert (await house.ask(key=made["key"])).status_code == 401
    assert (await house.ask(key=new["key"])).status_code == 200
    (listed,) = (await house.http.get("/admin/v1/keys", headers=ADMIN)).json()["items"]
    assert listed["overlaps_until"] == pytest.approx(new["overlaps_until"])
    assert listed["last_used"] is not None
    assert "key" not in listed
    for field, value in (("overlap", "a day"), ("overlap", -1), ("expires", "x"), ("label", "y")):
        wrong = await house.http.post(path, headers=ADMIN, json={field: value})
        assert wrong.status_code == 400
        assert f"`{field}`" in wrong.text
