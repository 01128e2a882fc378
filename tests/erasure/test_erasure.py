"""After an erasure nothing of the content is left, anywhere, and nothing else is gone."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.types import Tenant
from cacheserver.embedded.process import find_server
from cacheserver.erasure.cover import ErasureCover
from cacheserver.erasure.key_kinds import REGISTRY
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.selectors import Selector, read
from cacheserver.storage.connection import connect
from cacheserver.storage.key_scan import scan_keys
from tests.batches.house import QUICK
from tests.erasure.helpers import (
    ADMIN,
    PIECES,
    PREFIX,
    echo,
    fill,
    found,
    in_files,
    in_store,
    marker,
    store_of,
)
from tests.house import MODEL, House, came_from
from tests.redis_servers import serving

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


async def say(house: House, key: str, talk: str, prompt: str | None = None) -> str:
    """Ask in a conversation; return the id of the answer."""
    body = {"prompt": prompt or f"Hello, {talk}.", "conversation": talk, "model": MODEL}
    said = await house.http.post("/v1/query", json=body, headers={"x-api-key": key})
    assert said.status_code == 200, said.text
    return said.headers["x-cache-entry"]


async def turns_of(house: House, talk: str) -> int:
    return len(await house.parts.conversations.turns.load("acme", "default", talk))


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
        for name in [name async for page in scan_keys(redis, PREFIX) for name in page]:
            known = REGISTRY.find(name[len(PREFIX) :].decode())
            assert known is not None, name
            type = (await redis.execute_command("TYPE", name)).decode()
            # Rows and decisions that were just recorded are moved on behind the answers.
            assert type == "none" or known[0].type == {"zset": "sorted set"}.get(type, type), name
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
        "/admin/v1/tenants/acme/erase", json={"tenant": "acme"}, headers=ADMIN
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
    log = await house.http.get("/admin/v1/tenants/acme/erasures", headers=ADMIN)
    assert [(row["who"], row["kind"]) for row in log.json()] == [("admin", "tenant")]


async def test_a_deleted_tenant_leaves_its_money_and_nothing_else(
    house: House, tmp_path: Path
) -> None:
    path, one, two = "/admin/v1/tenants/acme", await house.key("acme"), await house.key("other")
    for who, key in (("ann", one), ("bob", two)):
        await house.ask(f"Where is {marker(who, 'message')} made?", key=key)
    await house.http.put(path, json={"budgets": {"daily": {"usd": 5}}}, headers=ADMIN)
    batch = [{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 9, "messages": [
        {"role": "user", "content": f"Why {marker('ann', 'batch')}?"}]}}]  # fmt: skip
    made = await house.http.post(
        "/v1/messages/batches", json={"requests": batch}, headers={"x-api-key": one}
    )
    assert made.status_code == 200, made.text
    for wrong in ({}, {"confirm": "other"}, {"confirm": "acme", "all": True}):
        refused = await house.http.request("DELETE", path, json=wrong, headers=ADMIN)
        assert refused.status_code == 400, wrong
    assert (await house.ask(key=one)).status_code == 200
    async with asyncio.timeout(30):
        while True:  # until Claude has given up the batch, if it has it already
            gone = await house.http.request("DELETE", path, json={"confirm": "acme"}, headers=ADMIN)
            assert (await house.ask(key=one)).status_code == 401
            if gone.status_code != 409:
                break
    assert gone.status_code == 200, gone.text
    told = gone.json()
    assert told["settings_removed"] is True
    assert told["erased"]["removed"]["answers"] >= 1
    assert not any("settings" in kept for kept in told["erased"]["kept"])
    redis = await store_of(tmp_path)
    try:
        left = await in_store(redis)
    finally:
        await redis.aclose()
    assert found(left, "ann") == set()
    assert found(left, "bob") == {"message"}
    assert (await house.http.get(path, headers=ADMIN)).status_code == 404
    listed = (await house.http.get("/admin/v1/tenants", headers=ADMIN)).json()["items"]
    assert [row["name"] for row in listed] == ["other"]
    used = await house.http.get("/v1/usage?tenant=acme", headers=ADMIN)  # for the invoice
    assert used.json()["totals"]["requests"] >= 2
    log = await house.http.get(f"{path}/erasures", headers=ADMIN)
    assert {(row["who"], row["kind"]) for row in log.json()} == {("deletion", "tenant")}
    again = await house.http.request("DELETE", path, json={"confirm": "acme"}, headers=ADMIN)
    assert (again.status_code, again.json()["settings_removed"]) == (200, False)


async def test_what_is_not_yours_is_as_what_never_was(house: House) -> None:
    one, two = await house.key("acme"), await house.key("other")
    ids = await fill(house, "ann", one)
    for selector in (
        {"entry_id": ids["entry"]},
        {"tag": "tag/ann"},
        {"conversation": "talk-ann", "namespace": "space-ann"},
        {"actor": "ann@example.com"},
        {"namespace": "space-ann"},
        {"tenant": "other"},
    ):
        assert (await erase(house, two, selector))["removed"] == {}
    refused = await house.http.post(
        "/v1/erase", json={"tenant": "acme"}, headers={"x-api-key": two}
    )
    assert refused.status_code == 400
    never = await house.http.post("/v1/erase", json={"tenant": "none"}, headers={"x-api-key": two})
    assert never.json()["error"] == refused.json()["error"]
    names = {"x-api-key": one, "x-cache-namespace": "space-ann", "x-cache-tags": "tag/ann"}
    asked = await house.ask(f"Where is {marker('ann', 'message')} made?", headers=names)
    assert asked.headers["x-cache"] == "exact"


@pytest.mark.parametrize(
    "selector",
    [{"actor": "ann"}, {"conversation": "talk"}, {"tag": "t"}, {"namespace": "default"}],
    ids=lambda selector: next(iter(selector)),
)
async def test_what_is_under_way_is_refused_and_what_it_leaves_goes_by_the_second_pass(
    house: House, tmp_path: Path, selector: dict[str, str]
) -> None:
    key = await house.key("acme")
    headers = {"x-api-key": key, "x-cache-tags": "t", "x-cache-actor": "ann"}
    slow = {"prompt": f"Slow {marker('ann', 'talk')}? [[sim slow=1.0]]", "conversation": "talk"}
    asking = asyncio.create_task(house.http.post("/v1/query", json=slow, headers=headers))
    async with asyncio.timeout(20):
        while not house.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    told = await erase(house, key, selector)
    answer = (await asking).json()
    assert answer["decision"]["reason"] == "empty", answer
    redis = await store_of(tmp_path)
    try:
        await house.parts.decision_log.flush()
        left = [name async for page in scan_keys(redis, PREFIX) for name in page]
        assert not [name for name in left if name.startswith((b"cs1:e:", b"cs1:cvt"))]
        # Its decision, unless the answer came while the first pass was still under way.
        assert found(await in_store(redis), "ann") <= {"talk"}
        house.clock.ahead_s = told["again_at"] - house.clock() + 1
        assert await house.parts.eraser.look() == 1
        assert found(await in_store(redis), "ann") == set()
        assert found(in_files(tmp_path), "ann") == set()
        assert await house.parts.eraser.look() == 0
    finally:
        await redis.aclose()


async def test_what_a_killed_server_began_is_finished_by_the_next(tmp_path: Path) -> None:
    async with House.open(tmp_path, claude=echo, pace=QUICK) as house:
        key = await house.key("acme")
        await fill(house, "ann", key)
        # As after a kill: it was noted, and nothing has been done.
        begun = Erasure(
            "acme", read({"namespace": "space-ann"}, Tenant("acme")), house.clock(), "admin"
        )
        await house.parts.eraser.close()
        await house.parts.eraser.store.put(begun)
    async with House.open(tmp_path, claude=echo, pace=QUICK) as house:
        redis = await store_of(tmp_path)
        try:
            async with asyncio.timeout(30):
                while not await house.parts.eraser.store.logged("acme"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert found(await in_store(redis), "ann") == set()
            assert found(in_files(tmp_path), "ann") == set()
        finally:
            await redis.aclose()


async def test_a_late_pass_takes_what_was_asked_before_the_erasure_and_nothing_since(
    house: House,
) -> None:
    key, eraser = await house.key("acme"), house.parts.eraser
    await eraser.close()  # its rounds
    old, under_way, new = "Old?", "Under way? [[sim slow=1.0]]", "New?"
    await house.ask(old, key=key)
    await say(house, key, "old")
    asking = asyncio.create_task(house.ask(under_way, key=key))
    async with asyncio.timeout(20):
        while len(house.asked) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # As of a server that is killed now: nothing has been done.
    erasure = await eraser.announce("acme", Selector("namespace", ("default",)), who="admin")
    await eraser.store.let_go(erasure)
    house.clock.ahead_s = 60
    await asking
    assert (await house.ask(new, key=key)).headers["x-cache-entry"]
    for talk in ("old", "new"):
        await say(house, key, talk)
    await house.parts.conversations.history.drain()
    assert await eraser.look() == 1
    assert [await turns_of(house, talk) for talk in ("old", "new")] == [0, 2]
    grown = [one async for one in house.parts.host.store.redis.scan_iter(f"{PREFIX}cvg:*")]
    assert grown == [f"{PREFIX}cvg:4:acme:7:default:new".encode()]
    assert came_from(await house.ask(new, key=key))[0] == "exact"
    for text in (old, under_way):
        assert came_from(await house.ask(text, key=key))[0] == "miss"


async def test_a_late_pass_takes_all_that_quotes_an_erased_answer(house: House) -> None:
    key, eraser = await house.key("acme"), house.parts.eraser
    await eraser.close()  # its rounds
    entry = await say(house, key, "old", "Hello.")
    erasure = await eraser.announce("acme", Selector("entry_id", (entry,)), who="admin")
    await eraser.store.let_go(erasure)
    house.clock.ahead_s = 60  # nothing has been done: it is still served
    assert await say(house, key, "new", "Hello.") == entry
    for about in (entry, "1" * 32):
        await house.parts.labels.add("acme", "s1", {"caller": "x", "evidence": {"entry": about}})
    await house.parts.decision_log.flush()
    # As of a server that is killed when the answer is gone, and all that says what it was.
    await eraser._erase_entries(erasure, ErasureCover(), math.inf)
    assert await eraser.look() == 1
    assert [await turns_of(house, talk) for talk in ("old", "new")] == [0, 0]
    ((_, kept),) = await house.parts.labels.window("acme", "s1")
    assert kept["evidence"]["entry"] == "1" * 32
    decisions = [one async for one in house.parts.host.store.redis.scan_iter(f"{PREFIX}d:*")]
    assert decisions == []


async def test_the_last_pass_of_a_late_erasure_spares_what_was_learned_long_since(
    house: House,
) -> None:
    await house.key("acme")
    eraser = house.parts.eraser
    await eraser.close()  # its rounds
    begun = Erasure("acme", Selector("tenant", ("acme",)), house.clock() - 7_200, "admin")
    await eraser.store.put(begun)
    await house.parts.labels.add("acme", "s1", {"caller": "x", "evidence": {}})
    assert [await eraser.look() for _ in range(3)] == [1, 1, 0]
    assert len(await house.parts.labels.window("acme", "s1")) == 1
    assert await house.parts.labels.scopes("acme") == ["s1"]


async def test_what_is_carried_out_while_others_are_is_not_carried_out_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, eraser = await house.key("acme"), house.parts.eraser
    await eraser.close()  # its rounds
    erasure = await eraser.announce("acme", Selector("namespace", ("default",)), who="admin")
    listed = await eraser.store.due(house.clock())
    assert listed == [erasure]
    await eraser.carry_out(erasure)
    await say(house, key, "talk")

    async def due(_: float) -> list[Erasure]:
        return listed  # as read before

    monkeypatch.setattr(eraser.store, "due", due)
    assert await eraser.look() == 0
    assert await turns_of(house, "talk") == 2


async def test_what_is_stored_before_a_late_pass_over_its_tenant_can_be_opened_after_the_last(
    tmp_path: Path,
) -> None:
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(secrets.token_hex(32))
    async with House.open(tmp_path / "data", encryption_key_file=key_file) as house:
        key, eraser = await house.key("acme"), house.parts.eraser
        await eraser.close()  # its rounds
        await house.ask("Old?", key=key)
        erasure = await eraser.announce("acme", Selector("tenant", ("acme",)), who="admin")
        await eraser.store.let_go(erasure)
        house.clock.ahead_s = 10
        assert (await house.ask("New?", key=key)).headers["x-cache-entry"]
        for _ in range(2):
            assert await eraser.look() == 1
            house.clock.ahead_s += 1_000
        house.parts.entries.entries.hot.close()
        assert came_from(await house.ask("New?", key=key))[0] == "exact"


async def test_an_answer_whose_erasure_is_under_way_is_not_replaced(house: House) -> None:
    key, eraser = await house.key("acme"), house.parts.eraser
    await eraser.close()  # its rounds
    id = (await house.ask("Old?", key=key)).headers["x-cache-entry"]
    erasure = await eraser.announce("acme", Selector("namespace", ("default",)), who="admin")
    await eraser.store.let_go(erasure)
    house.clock.ahead_s = 60
    path = f"/admin/v1/entries/acme/{id}/answer"
    edited = await house.http.put(path, json={"text": "New."}, headers=ADMIN)
    assert edited.status_code == 404, edited.text
    assert await eraser.look() == 1
    assert came_from(await house.ask("Old?", key=key))[0] == "miss"


async def test_of_a_redis_of_the_operators_its_files_are_not_verified(tmp_path: Path) -> None:
    (tmp_path / "replaced-1").mkdir()
    with serving(find_server()) as url:
        async with House.open(tmp_path, claude=echo, redis_url=url) as house:
            key = await house.key("acme")
            await house.ask(f"What is {marker('ann', 'user')}?", key=key)
            told = await erase(house, key, {"tenant": "acme"})
            assert told["store_file"] == "not verified"
            assert told["removed"]["answers"] == 1
            assert "1 files or folders" in told["not_reached"][-1]  # and no other server
            redis = connect(url)
            try:
                assert found(await in_store(redis), "ann") == set()
            finally:
                await redis.aclose()


def texts(house: House) -> list[str]:
    """The texts that a server keeps in memory to read them faster."""
    decider: Any = house.parts.service._decider
    return [*decider._profiles._kept, *house.parts.entries._batcher._memo]


async def test_another_servers_index_and_memory_follow(tmp_path: Path) -> None:
    with serving(find_server()) as url:
        async with (
            House.open(tmp_path / "a", redis_url=url) as a,
            House.open(tmp_path / "b", redis_url=url) as b,
        ):
            key = await a.key("acme")
            await a.ask("Where is the harbour?", key=key)
            assert (await b.ask("where is the harbour", key=key)).headers["x-cache"] == "miss"
            await b.parts.eraser.look()
            for house in (a, b):  # one of them has the other's question near it
                await house.ask("Where is the old harbour?", key=key)
            assert any(texts(house) for house in (a, b))
            await erase(a, key, {"namespace": "default"})
            await b.parts.eraser.look()
            assert not any(texts(house) for house in (a, b))
            assert len(b.parts.entries.index) == 0
            assert (tmp_path / "b" / "index.snapshot").exists()
