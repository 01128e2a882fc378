"""Answers of an application's own: who may put them, how they are served, what nobody learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.core.types import VolatilityCaps
from tests.api.admin import ADMIN, PARIS, SIMILAR, put
from tests.house import ADMIN_KEY, MODEL, House
from tests.nocontent.traffic import opened

OWN = "Paris, says the handbook."


async def store(house: House, key: str | None = None, **fields: Any) -> httpx2.Response:
    body = {"prompt": PARIS, "answer": OWN, **fields}
    body = {name: value for name, value in body.items() if value is not None}
    headers = {} if key is None else {"x-api-key": key}
    return await house.http.put("/v1/entries", json=body, headers=headers)


async def asked(house: House, text: str, key: str = "any", **fields: Any) -> httpx2.Response:
    body = {"prompt": text, **fields}
    return await house.http.post("/v1/query", json=body, headers={"x-api-key": key})


async def writer(house: House, tenant: str = "shop") -> str:
    _, plain = await house.parts.tenants.create_key(tenant, role="write")
    return plain


def field_of(refused: httpx2.Response) -> str:
    assert refused.status_code == 400, refused.text
    return str(refused.json()["error"]["field"])


async def test_it_is_served_exactly_and_by_similarity_and_says_whose_it_is(house: House) -> None:
    key = await writer(house)
    done = await store(house, key, tags=["faq"], ttl_s=600)
    assert done.status_code == 200, done.text
    new = done.json()
    assert (new["origin"], new["ttl_s"], new["unstored"]) == ("own", 600, None)
    for text, kind in ((PARIS, "exact"), (SIMILAR, "semantic")):
        hit = await asked(house, text, key)
        assert (hit.headers["x-cache"], hit.headers["x-cache-origin"]) == (kind, "own")
        answer = hit.json()
        assert (answer["text"], answer["origin"], answer["model"]) == (OWN, "own", "own")
        assert (answer["cost_usd"], answer["saved_usd"]) == ("0.000000000", "0.000000000")
        assert answer["entry_id"] == new["entry_id"]
    assert house.asked == []
    listed = (await house.http.get("/admin/v1/entries", headers=ADMIN)).json()["items"]
    assert [(one["origin"], one["tags"]) for one in listed] == [("own", ["faq"])]
    assert listed[0]["put_by"] not in (None, key)
    purged = await house.http.post("/v1/purge", json={"tag": "faq"}, headers={"x-api-key": key})
    assert purged.json() == {"purged": 1}
    assert (await asked(house, SIMILAR, key)).json()["origin"] == "simulated"


async def test_the_sdk_gets_it_as_a_message_and_as_a_stream(house: House) -> None:
    messages: Any = [{"role": "user", "content": PARIS}]
    assert (await store(house, prompt=None, messages=messages, model=MODEL, max_tokens=100)).json()[
        "entry_id"
    ]
    given: Any = {"model": MODEL, "max_tokens": 100, "messages": messages}
    message = await house.sdk().messages.create(**given)
    assert (message.model, message.content[0].text) == ("own", OWN)
    async with house.sdk().messages.stream(**given) as stream:
        assert await stream.get_final_text() == OWN
    assert house.asked == []


async def test_only_a_key_that_may_write_or_an_admin_puts(house: House) -> None:
    assert (await store(house)).status_code == 200  # no key is needed yet: all of it is one party's
    plain = await house.key("shop")
    refused = await store(house, plain)
    assert refused.status_code == 403
    assert "--role write" in refused.json()["error"]["message"]
    assert (await store(house)).status_code == 401
    assert field_of(await store(house, await writer(house), tenant="other")) == "tenant"
    assert field_of(await store(house, ADMIN_KEY)) == "tenant"
    assert field_of(await store(house, ADMIN_KEY, tenant="nobody")) == "tenant"
    done = await store(house, ADMIN_KEY, tenant="shop")
    assert done.status_code == 200, done.text
    assert (await asked(house, PARIS, plain)).json()["text"] == OWN
    reader = {"name": "ann", "role": "read"}
    made = await house.http.post("/admin/v1/admin-keys", json=reader, headers=ADMIN)
    assert (await store(house, made.json()["key"], tenant="shop")).status_code == 403
    trail = (await house.http.get("/admin/v1/audit-trail", headers=ADMIN)).json()["items"]
    assert ("PUT", "/v1/entries", "shop") in [
        (one["method"], one["route"], one["tenant"]) for one in trail
    ]


async def test_the_role_is_set_with_the_key_and_stays_when_it_is_rotated(house: House) -> None:
    made = await house.http.post(
        "/admin/v1/keys", json={"tenant": "shop", "role": "write"}, headers=ADMIN
    )
    assert (made.status_code, made.json()["role"]) == (200, "write")
    id = made.json()["id"]
    turned = await house.http.post(f"/admin/v1/keys/{id}/rotate", json={}, headers=ADMIN)
    assert (await store(house, turned.json()["key"])).status_code == 200
    wrong = await house.http.post(
        "/admin/v1/keys", json={"tenant": "shop", "role": "root"}, headers=ADMIN
    )
    assert field_of(wrong) == "role"


async def test_what_is_no_answer_is_refused_with_the_field(house: House) -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"answer": None}, "answer"),
        ({"answer": ""}, "answer"),
        ({"answer": " \u200b"}, "answer"),
        ({"answer": "x" * 100_001}, "answer"),
        ({"answer": ["x"]}, "answer"),
        ({"tags": "faq"}, "tags"),
        ({"cache": "refresh"}, "cache"),
        ({"stream": True}, "stream"),
        ({"prompt": None}, "prompt"),
        ({"answer": "no JSON", "schema": {"type": "object"}}, "answer"),
        ({"answer": "[]", "schema": {"type": "object"}}, "answer"),
    )
    for fields, field in wrong:
        assert field_of(await store(house, **fields)) == field, fields
    assert (await store(house, answer="{}", schema={"type": "object"})).json()["entry_id"]
    assert (await asked(house, PARIS)).json()["origin"] == "simulated"


async def test_what_may_not_be_stored_says_so(house: House) -> None:
    for fields, why in (
        ({"ttl_s": 0}, "ttl-0"),
        ({"prompt": "What is the weather near me?"}, "bypass"),
    ):
        done = (await store(house, **fields)).json()
        assert (done["entry_id"], done["unstored"]) == (None, why)
    await put(house, "tenants/default", default_ttl_s=60, max_ttl_s=60)
    assert (await store(house, ttl_s=3_600)).json()["ttl_s"] == 60
    await put(house, "tenants/default", default_ttl_s=86_400, max_ttl_s=86_400)
    ages = (await store(house, prompt="What is the weather in Paris?", ttl_s=86_400)).json()
    assert ages["ttl_s"] == VolatilityCaps().time_s


async def test_it_stands_until_another_one_is_put_or_it_expires(house: House) -> None:
    old = (await asked(house, PARIS)).json()["entry_id"]
    first = (await store(house, ttl_s=600)).json()
    assert first["replaced"] == old
    refreshed = await asked(house, PARIS, cache="refresh")
    assert (refreshed.headers["x-cache"], refreshed.json()["origin"]) == ("miss", "simulated")
    assert (await asked(house, PARIS)).json()["entry_id"] == first["entry_id"]
    second = (await store(house, answer="Lutetia.", ttl_s=600)).json()
    assert second["replaced"] == first["entry_id"]
    assert [(await asked(house, text)).json()["text"] for text in (PARIS, SIMILAR)] == [
        "Lutetia.",
        "Lutetia.",
    ]
    path = f"/admin/v1/entries/default/{second['entry_id']}/answer"
    assert (await house.http.put(path, json={"text": "Paris."}, headers=ADMIN)).status_code == 200
    curated = (await asked(house, PARIS)).json()
    assert (curated["text"], curated["origin"]) == ("Paris.", "curated")
    assert (await store(house)).status_code == 409
    house.clock.ahead_s += 601
    assert (await asked(house, PARIS)).json()["origin"] == "simulated"


async def test_a_look_up_asks_nobody(house: House) -> None:
    """`cache` `only` without verification: neither an answer nor an audit is asked for."""
    await put(house, "tenants/default", bar={"similarity": 0.95, "audit_share": 1.0})
    only: Any = {"cache": "only", "levers_off": ["verify"]}
    assert (await asked(house, PARIS, **only)).status_code == 404
    assert house.asked == []
    await asked(house, PARIS)  # an answer of Claude's: audits may follow its hits
    count = len(house.asked)
    assert (await asked(house, SIMILAR, **only)).headers["x-cache"] == "semantic"
    await house.parts.calibration.learner.idle()
    assert len(house.asked) == count


async def test_nothing_is_learned_from_it(tmp_path: Path) -> None:
    async with House.open(tmp_path, similarity=None, target=0.5, audit_usd_per_day=0) as house:
        await store(house)
        for verdict, done in (("good", "counted"), ("bad", "tombstoned")):
            hit = await asked(house, SIMILAR)
            assert hit.headers["x-cache"] == "semantic", hit.text
            given = {"verdict": verdict, "decision_id": hit.headers["x-cache-decision"]}
            assert (await house.http.post("/v1/feedback", json=given)).json()["done"] == done
        assert (await asked(house, SIMILAR)).headers["x-cache"] == "miss"
        await house.parts.calibration.learner.idle()
        assert await house.parts.labels.scopes("default") == []


async def test_another_question_is_still_refused_a_new_answer_to_the_old_one(house: House) -> None:
    await store(house)
    hit = await asked(house, SIMILAR)
    bad = {"verdict": "bad", "decision_id": hit.headers["x-cache-decision"]}
    assert (await house.http.post("/v1/feedback", json=bad)).json()["done"] == "tombstoned"
    await store(house, answer="Lutetia.")
    assert (await asked(house, SIMILAR)).headers["x-cache"] == "miss"


async def test_no_other_tenant_is_served_it(house: House) -> None:
    one, two = await writer(house, "one"), await writer(house, "two")
    await store(house, one, tags=["faq"])
    for text in (PARIS, SIMILAR):
        assert (await asked(house, text, two)).json()["origin"] == "simulated"
    mine = (await store(house, two, answer="Lutetia.")).json()
    assert mine["replaced"] is not None
    assert (await asked(house, PARIS, one)).json()["text"] == OWN


@pytest.mark.parametrize("no_content", [False, True])
async def test_an_encrypted_store_keeps_it_sealed(tmp_path: Path, no_content: bool) -> None:
    async with opened(tmp_path) as house:
        if no_content:
            await put(house, "tenants/default", no_content=True)
        stored = await store(house)
        assert stored.json()["entry_id"], stored.text
        assert (await asked(house, SIMILAR)).json()["text"] == OWN
        path = f"/admin/v1/entries/default/{stored.json()['entry_id']}"
        shown = (await house.http.get(path, headers=ADMIN)).json()
        assert (shown["message"] is None) is no_content
        assert shown["origin"] == "own"
        redis = house.parts.host.store.redis
        raw = [await redis.dump(key) async for key in redis.scan_iter()]
        assert not any(OWN.encode() in one for one in raw if one)


async def test_the_ledger_has_its_hits_with_no_saving_and_no_price_missing(house: House) -> None:
    await store(house)
    for text in (PARIS, SIMILAR):
        await asked(house, text)
    report = (await house.http.get("/v1/usage?group_by=model,decision")).json()
    text = json.dumps(report)
    assert report["totals"]["requests"] == 2
    assert report["totals"]["saved_usd"] == "0.000000000"
    assert '"own"' in text
    assert report["totals"].get("unpriced", 0) == 0
