"""Erasures that meet a batch at Claude: the texts go, the bill stays, others get their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.ledger_row import Row
from cacheserver.erasure.key_kinds import REGISTRY
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.selectors import Selector
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.json_values import tenant_key
from tests.batches.house import BatchHouse, item
from tests.erasure.helpers import echo, found, in_files, in_store, marker, store_of

ANN, BOB = {"user_id": "ann"}, {"user_id": "bob"}


async def results(house: BatchHouse, id: str) -> dict[str, Any]:
    answer = await house.http.get(f"/v1/messages/batches/{id}/results", headers={"x-api-key": "a"})
    assert answer.status_code == 200, answer.text
    lines = [json.loads(line) for line in answer.text.splitlines()]
    return {line["custom_id"]: line["result"] for line in lines}


async def rows(redis: Connection) -> list[Row]:
    packed = [
        pair
        async for key in redis.scan_iter("cs1:lr:*")
        for pair in (await command(redis, "HGETALL", key)).items()
    ]
    found = [stored_row.decode(id.decode(), stored_row.parted(one).row) for id, one in packed]
    return [row for row in found if row is not None]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_items_of_one_person_go_while_claude_answers(tmp_path: Path, when: str) -> None:
    async with BatchHouse.start(tmp_path, claude=echo) as house:
        house.door.hold_at(lambda method, path: path.endswith("/results"), when)
        asked = [
            item("hers", f"Where is {marker('ann', 'message')}?", metadata=ANN),
            item("his", f"Where is {marker('bob', 'message')}?", metadata=BOB),
            item("hers-too", f"What is {marker('bob', 'query')}?", metadata=ANN),
            item("his-too", f"What is {marker('bob', 'query')}?", metadata=BOB),
        ]
        made = await house.http.post("/v1/messages/batches", json={"requests": asked})
        assert made.status_code == 200, made.text
        await house.door.reached.wait()
        told = await house.http.post("/v1/erase", json={"actor": "ann"})
        assert told.status_code == 200, told.text
        assert told.json()["removed"]["jobs"] == 2
        redis = await store_of(tmp_path)
        try:
            assert found(await in_store(redis), "ann") == set()
            house.door.release()
            await house.ended(made.json()["id"])
            lines = await results(house, made.json()["id"])
            assert [lines[one]["type"] for one in ("hers", "hers-too")] == ["errored"] * 2
            assert lines["hers"]["error"]["error"]["message"] == "erased"
            for one, piece in (("his", "message"), ("his-too", "query")):
                assert marker("bob", piece) in json.dumps(lines[one])
            await house.parts.decision_log.flush()
            await house.parts.ledger.flush()
            assert found(await in_store(redis), "bob") == {"message", "query"}
            # Claude answered three asks, and all three are booked.
            usage = (await house.http.get("/v1/usage")).json()["totals"]
            assert usage["calls"] == 3
            again = await house.ask(f"Where is {marker('bob', 'message')}?", metadata=BOB)
            assert again.headers["x-cache"] == "exact"
            answer = await house.ask("-", metadata=BOB)
            assert answer.headers["x-cache"] == "miss"  # nothing is kept for the blank request
            house.clock.ahead_s = told.json()["again_at"] - house.clock() + 1
            await house.parts.eraser.look()
            assert found(await in_store(redis), "ann") == set()
            assert found(in_files(tmp_path), "ann") == set()
        finally:
            await redis.aclose()


async def test_results_of_one_person_are_found_when_nothing_else_tells_of_them(
    tmp_path: Path,
) -> None:
    """A day later no decision is kept, and no answer was stored."""
    async with BatchHouse.start(tmp_path, claude=echo) as house:
        asked = [
            item("hers", f"Where is {marker('ann', 'message')}?", metadata=ANN),
            item("his", f"Where is {marker('bob', 'message')}?", metadata=BOB),
        ]
        made = await house.http.post(
            "/v1/messages/batches", json={"requests": asked}, headers={"x-cache-ttl": "0"}
        )
        await house.ended(made.json()["id"])
        await house.parts.decision_log.flush()
        redis = await store_of(tmp_path)
        try:
            for kind in ("d", "dn"):
                async for key in redis.scan_iter(match=f"cs1:{kind}:*"):
                    await redis.delete(key)
            told = await house.http.post("/v1/erase", json={"actor": "ann"})
            assert told.json()["removed"]["jobs"] == 1
            lines = await results(house, made.json()["id"])
            assert lines["hers"]["error"]["error"]["message"] == "erased"
            assert marker("bob", "message") in json.dumps(lines["his"])
            assert found(await in_store(redis), "ann") == set()
        finally:
            await redis.aclose()


async def test_a_job_that_waits_is_erased_with_its_namespace(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, claude=echo) as house:
        house.door.hold_at(lambda method, path: method == "POST", "before")
        text = f"Later: {marker('ann', 'job')}?"
        made = await house.job(text, namespace="ann", deadline=600)
        assert made.status_code == 202, made.text
        told = await house.http.post("/v1/erase", json={"namespace": "ann"})
        assert told.json()["removed"]["jobs"] == 1
        redis = await store_of(tmp_path)
        try:
            assert found(await in_store(redis), "ann") == set()
            house.door.release()
            shown = await house.ended(made.json()["id"])
            assert shown["result"]["type"] == "errored"
            house.clock.ahead_s = told.json()["again_at"] - house.clock() + 1
            await house.parts.eraser.look()
            gone = await house.http.get(f"/v1/jobs/{made.json()['id']}")
            assert gone.status_code == 404
        finally:
            await redis.aclose()


@pytest.mark.parametrize("kind", ["tag", "actor", "namespace"])
async def test_what_claude_answers_after_the_last_pass_is_booked_and_leaves_nothing(
    tmp_path: Path, kind: str
) -> None:
    async with BatchHouse.start(tmp_path, claude=echo) as house:
        house.door.hold_at(lambda method, path: path.endswith("/results"), "before")
        header = {"tag": "x-cache-tags"}.get(kind, f"x-cache-{kind}")
        names = {header: "ann", "x-cache-task": "support"}
        asked = {"requests": [item("hers", f"Where is {marker('ann', 'message')}?")]}
        made = await house.http.post("/v1/messages/batches", json=asked, headers=names)
        assert made.status_code == 200, made.text
        await house.door.reached.wait()
        told = await house.http.post("/v1/erase", json={kind: "ann"})
        assert told.json()["removed"]["jobs"] == 1
        house.clock.ahead_s = told.json()["again_at"] - house.clock() + 1
        assert await house.parts.eraser.look() == 1
        house.door.release()
        await house.ended(made.json()["id"])
        house.clock.ahead_s += 3_601
        redis = await store_of(tmp_path)
        try:
            verdict = f"verdict:{tenant_key('default')}:{'0' * 64}"
            found_kind = REGISTRY.find(verdict)
            assert found_kind is not None
            assert found_kind[0].name == "verdicts"
            await redis.set(f"cs1:{verdict}", "1")  # learned since
            assert await house.parts.eraser.look() == 1
            assert await redis.exists(f"cs1:{verdict}")
            await house.parts.ledger.flush()
            (row,) = await rows(redis)
            assert (row.tags, row.task) == ((), "support")
            assert row.cost
            assert not await redis.keys(f"*{made.json()['id']}*")
            assert await house.parts.eraser.look() == 0
        finally:
            await redis.aclose()


async def test_what_a_job_asked_before_an_erasure_goes_though_claude_was_called_after_it(
    tmp_path: Path,
) -> None:
    async with BatchHouse.start(tmp_path, claude=echo) as house:
        eraser = house.parts.eraser
        await eraser.close()  # its rounds
        text = f"Later: {marker('ann', 'job')}?"
        made = await house.job(text, namespace="ann", deadline=60, tags=["ann"])
        shown = await house.ended(made.json()["id"])
        path = f"/v1/decisions/{shown['result']['decision_id']}"
        asked = (await house.http.get(path)).json()
        assert asked["at"] > asked["received_at"] == shown["created_at"]
        # As recorded between the two.
        await house.parts.ledger.flush()
        begun = Erasure("default", Selector("tag", ("ann",)), shown["created_at"], "admin")
        await eraser.store.put(begun)
        assert await eraser.look() == 1
        assert (await house.http.get(path)).status_code == 404
        redis = await store_of(tmp_path)
        try:
            assert found(await in_store(redis), "ann") == set()
            (row,) = await rows(redis)
            assert row.tags == ()
        finally:
            await redis.aclose()
