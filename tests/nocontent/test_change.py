"""The mode is switched on and off, refused, and erased by: nothing of before is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cacheserver.core import json_text
from cacheserver.core.errors import SettingsError
from cacheserver.core.types import Tenant, Usage
from cacheserver.embedded.process import find_server
from cacheserver.storage.connection import command, connect
from tests.batches.house import BatchHouse, item
from tests.erasure.helpers import ADMIN, PREFIX, echo, fill, in_store, marker, store_of
from tests.house import MODEL, House
from tests.nocontent.traffic import (
    GUESSED,
    fill_more,
    guess,
    guessed,
    kept_of,
    key_file,
    opened,
    put,
    small_of,
    talk_of,
    texts,
    without_content,
)
from tests.redis_servers import serving


async def test_a_change_of_mode_erases_what_there_is_both_ways(
    house: House, tmp_path: Path
) -> None:
    key = await house.key("acme")
    await fill_more(house, "ann", key)
    assert await guessed(house, "acme", "ann", await kept_of(house, tmp_path)) >= GUESSED
    changed = await put(house, "acme", no_content=True)
    assert changed.status_code == 200, changed.text
    assert changed.json()["settings"]["no_content"] is True
    assert changed.json()["erased"]["removed"]["answers"] > 0
    kept = await kept_of(house, tmp_path)
    assert texts("ann", kept) == set()
    assert await guessed(house, "acme", "ann", kept) == set()

    assert (await house.ask(key=key)).headers["x-cache"] == "miss"
    assert (await house.ask(key=key)).headers["x-cache"] == "exact"
    again = await put(house, "acme", no_content=True)
    assert "erased" not in again.json()
    assert (await house.ask(key=key)).headers["x-cache"] == "exact"

    changed = await put(house, "acme", no_content=False)
    assert changed.json()["erased"]["removed"]["answers"] == 1
    assert (await house.ask(key=key)).headers["x-cache"] == "miss"
    assert (await house.ask(key=key)).headers["x-cache"] == "exact"
    log = await house.http.get("/admin/v1/tenants/acme/erasures", headers=ADMIN)
    assert [row["who"] for row in log.json()] == ["no_content", "no_content"]


async def test_what_was_under_way_at_the_change_leaves_no_digest(
    house: House, tmp_path: Path
) -> None:
    key = await house.key("acme")
    await put(house, "acme", no_content=True)
    plain = await house.http.get("/admin/v1/tenants/acme", headers=ADMIN)
    assert plain.json()["settings"]["no_content"] is True
    # As a request notes its prompt that was let in before, and answered after.
    late = guess(house, Tenant("acme"), "ann", talk_of("ann"), actor=False)
    house.parts.prompt_caching.watch.learn(late, MODEL, Usage(), house.clock())
    await house.parts.prompt_caching.writes.drain()
    assert "skeleton" in await guessed(house, "acme", "ann", await kept_of(house, tmp_path))
    house.clock.ahead_s += 700
    await house.parts.eraser.look()
    assert await guessed(house, "acme", "ann", await kept_of(house, tmp_path)) == set()
    assert (await house.ask(key=key)).status_code == 200


@pytest.mark.parametrize(
    ("settings", "fields", "named"),
    [
        ({"encryption_key_file": None}, {"no_content": True}, "CACHESERVER_ENCRYPTION_KEY_FILE"),
        ({"credentials": "caller"}, {"no_content": True}, "CACHESERVER_CREDENTIALS"),
        ({}, {"no_content": "yes"}, "valid boolean"),
        (
            {},
            {
                "no_content": True,
                "caching": {"prewarm": [{"name": "a", "model": MODEL, "system": "You."}]},
            },
            "caching.prewarm",
        ),
    ],
)
async def test_a_mode_that_cannot_be_is_a_400_that_names_why(
    tmp_path: Path, settings: dict[str, Any], fields: dict[str, Any], named: str
) -> None:
    async with opened(tmp_path, **settings) as house:
        refused = await put(house, "acme", **fields)
        assert refused.status_code == 400
        assert named in refused.json()["error"]["message"]
        assert "no_content" in refused.json()["error"]["message"]
        assert not (await house.parts.tenants.settings("acme")).no_content


async def test_without_encryption_no_server_starts_beside_such_a_tenant(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        await without_content(house, "sealed")
    with pytest.raises(SettingsError, match="CACHESERVER_ENCRYPTION_KEY_FILE"):
        async with opened(tmp_path, encryption_key_file=None):
            raise AssertionError("it started")


async def test_where_the_key_is_given_up_nobody_is_served_under_guessed_settings(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as house:
        key = await without_content(house, "sealed")
        await house.ask(key=key)
    given_up = {"encryption_key_file": None, "encryption_give_up": True}
    async with opened(tmp_path, **given_up) as house:
        refused = await house.ask(key=key)
        assert refused.status_code == 503
        assert "sealed" in refused.json()["error"]["message"]
        assert len(house.asked) == 0
        listed = await house.http.get("/admin/v1/tenants", headers=ADMIN)
        assert [one["name"] for one in listed.json()["items"]] == ["sealed"]
        unsaid = await put(house, "sealed", default_ttl_s=60)
        assert unsaid.status_code == 400
        assert "`no_content`: must be given" in unsaid.json()["error"]["message"]
        anew = await put(house, "sealed", default_ttl_s=60, no_content=False)
        assert (anew.status_code, anew.json()["settings"]["no_content"]) == (200, False)
        assert anew.json()["erased"]["removed"]["answers"] > 0
        assert (await house.ask(key=key)).headers["x-cache"] == "miss"


async def test_settings_that_do_not_open_are_the_tightest_until_they_are_put_anew(
    house: House, tmp_path: Path
) -> None:
    key = await without_content(house, "sealed")
    await without_content(house, "other")
    redis = await store_of(tmp_path / "data")
    try:
        moved = await command(redis, "HGET", f"{PREFIX}tenants", "other")
        await command(redis, "HSET", f"{PREFIX}tenants", "sealed", moved)
        house.parts.tenants.forget("sealed")
        for _ in range(2):
            asked = await house.ask("Where is the harbour?", key=key)
            assert (asked.status_code, asked.headers["x-cache"]) == (200, "miss")
        await house.parts.decision_log.flush()
        id = asked.headers["x-cache-decision"]
        record = await house.parts.decision_log.decision("sealed", id)
        assert record is not None
        assert record["withheld"] == "no-content"
    finally:
        await redis.aclose()
    assert (await put(house, "sealed", no_content=True)).status_code == 200
    for came in ("miss", "exact"):
        assert (await house.ask("Where is the harbour?", key=key)).headers["x-cache"] == came


async def test_an_end_user_is_erased_by_name(house: House, tmp_path: Path) -> None:
    key = await without_content(house, "sealed")
    await fill(house, "ann", key)
    await fill(house, "bob", key)
    told = await house.http.post(
        "/v1/erase", json={"actor": "ann@example.com"}, headers={"x-api-key": key}
    )
    assert told.json()["removed"]["answers"] > 0
    assert told.json()["removed"]["jobs"] > 0
    for who, came in (("ann", "miss"), ("bob", "exact")):
        names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
        asked = await house.ask(f"Where is {marker(who, 'message')} made?", headers=names)
        assert asked.headers["x-cache"] == came


@pytest.mark.parametrize("named", ["header", "body"])
async def test_an_end_users_work_that_waits_is_erased_by_name(tmp_path: Path, named: str) -> None:
    async with BatchHouse.start(
        tmp_path / "data", claude=echo, encryption_key_file=key_file(tmp_path)
    ) as house:
        await put(house, "default", no_content=True)
        house.door.hold_at(lambda method, path: method == "POST", "before")
        items = [
            item(f"{who}-item", f"Where is {marker(who, 'batch')}?", **_user(who, named))
            for who in ("ann", "bob")
        ]
        made = []
        for who, asked in zip(("ann", "bob"), items, strict=True):
            headers = {"x-cache-actor": who} if named == "header" else {}
            answer = await house.http.post(
                "/v1/messages/batches", json={"requests": [asked]}, headers=headers
            )
            made.append(answer.json()["id"])
        await house.door.reached.wait()
        told = await house.http.post("/v1/erase", json={"actor": "ann"})
        assert told.json()["removed"]["jobs"] == 1
        house.door.release()
        for id, kind in zip(made, ("errored", "succeeded"), strict=True):
            await house.ended(id)
            lines = await house.http.get(f"/v1/messages/batches/{id}/results")
            assert json_text.loads(lines.content)["result"]["type"] == kind


def _user(who: str, named: str) -> dict[str, Any]:
    return {"metadata": {"user_id": who}} if named == "body" else {}


async def test_servers_on_one_store_follow_before_the_mode_is_said_to_be_on(tmp_path: Path) -> None:
    with serving(find_server()) as url:
        async with (
            opened(tmp_path, redis_url=url) as a,
            House.open(
                tmp_path / "b", redis_url=url, claude=echo, encryption_key_file=key_file(tmp_path)
            ) as b,
        ):
            key = await a.key("acme")
            names = {"x-api-key": key, "x-cache-namespace": "space-ann"}
            await b.http.post("/v1/messages", json=small_of("ann"), headers=names)
            changed = await put(a, "acme", no_content=True)
            assert changed.json()["erased"]["removed"]["answers"] == 1
            for house in (a, b):
                said = await house.http.post("/v1/messages", json=small_of("ann"), headers=names)
                assert said.headers["x-cache"] == "miss"
                await house.parts.decision_log.flush()
            redis = connect(url)
            try:
                kept = await in_store(redis)
            finally:
                await redis.aclose()
            for house in (a, b):
                assert await guessed(house, "acme", "ann", kept) == set()
