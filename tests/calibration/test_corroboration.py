"""Corroboration through the front door: an answer serves others once a second one agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.simulated import Directives
from tests.batches.house import BatchHouse, item
from tests.house import ADMIN_KEY, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
ANN, BOB, CEM, *OTHERS = (
    "What is the capital of France?",
    "What's the capital of France?",
    "What is the capital of France ?",
    "What's the capital of France ?",
    "What is the  capital of France?",
    "What's the  capital of France?",
)


def answering(body: Mapping[str, Any]) -> Directives:
    """A Claude of whom one asker had another answer made."""
    text = str(body["messages"][-1]["content"])
    if "please" in text:
        return Directives(text="The capital of Germany is Berlin, on the river Spree.")
    return Directives(text="The capital of France is Paris, on the river Seine.")


@pytest.fixture(params=[{"similarity": 0.93}, {"similarity": None, "target": 0.5}])
async def house(tmp_path: Path, request: Any) -> AsyncIterator[House]:
    """A server with a threshold, and one with a target; both ask for a second witness."""
    async with House.open(tmp_path, claude=answering, **request.param) as house:
        await settings(house, corroborate=True)
        yield house


async def settings(house: House, **fields: Any) -> None:
    done = await house.http.put("/admin/v1/tenants/default", headers=ADMIN, json=fields)
    assert done.status_code == 200, done.text


async def ask(house: House, text: str, who: str | None, **given: Any) -> httpx2.Response:
    named = {} if who is None else {"x-cache-actor": who}
    return await house.ask(text, headers=named, **given)


async def test_a_second_actors_answer_that_agrees_opens_an_entry_to_all(house: House) -> None:
    await ask(house, ANN, "ann")
    assert came_from(await ask(house, BOB, "ann"))[0] == "semantic"  # her own
    assert came_from(await ask(house, ANN, "bob"))[0] == "exact"  # a repeat is no doubt
    answer = await ask(house, BOB, "bob")
    assert came_from(answer) == ("miss", "uncorroborated")
    assert "x-cache-similarity" in answer.headers
    await house.parts.calibration.learner.idle()
    third = await ask(house, CEM, "cem")
    assert came_from(third)[0] == "semantic"
    shown = await house.http.get(f"/v1/decisions/{third.headers['x-cache-decision']}")
    decision = shown.json()["decision"]
    assert (decision["corroborated"], decision["pinned"]) == (True, False)
    assert len(house.asked) == 2


async def test_an_answer_that_differs_corroborates_nothing(house: House) -> None:
    await ask(house, "please: What is the capital of France?", "eve")
    assert came_from(await ask(house, ANN, "bob"))[0] == "miss"
    await house.parts.calibration.learner.idle()
    answer = await ask(house, CEM, "cem")
    assert came_from(answer)[0] == "miss"
    assert "Paris" in answer.text


async def test_one_actor_under_one_name_never_corroborates_himself(house: House) -> None:
    for text in (ANN, BOB):
        await house.ask(text, headers={"cache-control": "no-cache", "x-cache-actor": "eve"})
    await house.parts.calibration.learner.idle()
    assert came_from(await ask(house, CEM, "ann")) == ("miss", "uncorroborated")


async def test_who_gives_no_name_is_no_witness_and_is_served_what_has_two(house: House) -> None:
    await ask(house, ANN, None)
    for who, text in ((None, BOB), ("ann", CEM)):
        assert came_from(await ask(house, text, who)) == ("miss", "uncorroborated")
        await house.parts.calibration.learner.idle()
    assert came_from(await ask(house, OTHERS[0], None)) == ("miss", "uncorroborated")
    assert came_from(await ask(house, OTHERS[1], "bob")) == ("miss", "uncorroborated")
    await house.parts.calibration.learner.idle()
    assert came_from(await ask(house, OTHERS[2], None))[0] == "semantic"


async def test_an_operator_pins_an_entry_and_takes_that_back(house: House) -> None:
    entry = (await ask(house, ANN, "ann")).headers["x-cache-entry"]
    path = f"/admin/v1/entries/default/{entry}/pin"
    assert (await house.http.put(path)).status_code == 401
    done = await house.http.put(path, headers=ADMIN)
    assert done.json() == {"tenant": "default", "entry_id": entry, "pinned": True}
    hit = await ask(house, BOB, "bob")
    assert came_from(hit)[0] == "semantic"
    shown = await house.http.get(f"/v1/decisions/{hit.headers['x-cache-decision']}")
    assert shown.json()["decision"]["pinned"] is True
    done = await house.http.delete(path, headers=ADMIN)
    assert done.json()["pinned"] is False
    assert came_from(await ask(house, BOB, "bob")) == ("miss", "uncorroborated")


async def test_a_pin_of_what_is_not_there_is_404(house: House) -> None:
    entry = (await ask(house, ANN, "ann")).headers["x-cache-entry"]
    done = await house.http.put("/admin/v1/tenants/other", headers=ADMIN, json={})
    assert done.status_code == 200  # a tenant that exists, of which the entry is not
    for path in (f"default/{'0' * 32}", f"other/{entry}"):
        for method in ("PUT", "DELETE"):
            refused = await house.http.request(
                method, f"/admin/v1/entries/{path}/pin", headers=ADMIN
            )
            assert refused.status_code == 404
    await house.http.post("/v1/purge", json={"entry_id": entry})
    gone = await house.http.put(f"/admin/v1/entries/default/{entry}/pin", headers=ADMIN)
    assert gone.status_code == 404


async def test_a_name_is_checked_and_goes_nowhere(house: House) -> None:
    secret = "ann-of-green-gables"
    answer = await ask(house, ANN, secret)
    both = await house.ask(BOB, headers={"x-cache-actor": secret}, metadata={"user_id": "another"})
    assert both.status_code == 200  # the header counts
    assert secret not in both.text
    wrong = await house.http.post("/v1/query", json={"prompt": ANN, "actor": "a\u200bb"})
    assert wrong.status_code == 400
    assert "`actor`" in wrong.json()["error"]["message"]
    plain = await house.http.post("/v1/query", json={"prompt": ANN, "actor": secret})
    assert plain.status_code == 200
    seen = await house.http.get(f"/v1/decisions/{answer.headers['x-cache-decision']}")
    assert secret not in seen.text + plain.text + answer.text
    for request in house.upstream.requests:
        assert secret.encode() not in request.raw
        assert secret not in str(request.headers)
    assert secret.encode() not in b"\n".join([one async for one in kept(house)])


async def kept(house: House) -> AsyncIterator[bytes]:
    """Every name and value in the store."""
    redis: Any = house.parts.entries.entries._redis
    async for key in redis.scan_iter():
        yield key
        match await redis.type(key):
            case b"string":
                yield await redis.get(key) or b""
            case b"hash":
                yield b" ".join([b" ".join(pair) for pair in (await redis.hgetall(key)).items()])
            case b"list":
                yield b" ".join(await redis.lrange(key, 0, -1))
            case b"zset":
                yield b" ".join(await redis.zrange(key, 0, -1))
            case b"set":
                yield b" ".join(await redis.smembers(key))
            case b"stream":
                for _, fields in await redis.xrange(key):
                    yield b" ".join([b" ".join(pair) for pair in fields.items()])
            case other:
                raise AssertionError(f"nobody looks into a {other!r}")


async def test_where_each_key_is_an_actor_names_are_no_second_witness(house: House) -> None:
    one, two = await house.key("default"), await house.key("default")
    await settings(house, actors="key")
    await ask(house, ANN, "ann", key=one)
    await house.ask(BOB, key=one, headers={"x-cache-actor": "bob", "cache-control": "no-cache"})
    await house.parts.calibration.learner.idle()
    assert came_from(await ask(house, CEM, "cem", key=two)) == ("miss", "uncorroborated")
    await house.parts.calibration.learner.idle()
    assert came_from(await ask(house, OTHERS[0], None, key=one))[0] == ("semantic")


async def test_within_a_batch_nobody_waits_for_anothers_answer(tmp_path: Path) -> None:
    async with BatchHouse.start(tmp_path, claude=answering, similarity=0.93) as house:
        for on, asks in ((False, 1), (True, 2)):
            await settings(house, corroborate=on)
            space = {"x-cache-namespace": f"corroborate-{on}"}
            made = await house.sdk().messages.batches.create(
                requests=[
                    item("a", ANN, metadata={"user_id": "ann"}),
                    item("b", BOB, metadata={"user_id": "ann"}),
                    item("c", CEM, metadata={"user_id": "cem"}),
                ],
                extra_headers=space,
            )
            await house.ended(made.id)
            assert len(house.sent[-1]) == asks
