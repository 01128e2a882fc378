"""Stored answers through the front door: listed, searched, read, evicted, purged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver.api.resources.entries import purge as purges
from tests.api.admin import ADMIN, PARIS, SIMILAR, put
from tests.house import MODEL, House, came_from
from tests.nocontent.traffic import opened

LIST = "/admin/v1/entries"


async def listed(house: House, path: str = LIST, **params: Any) -> list[dict[str, Any]]:
    """The items of the only page."""
    got = await house.http.get(path, params=params, headers=ADMIN)
    assert got.status_code == 200, got.text
    assert got.json()["next"] is None
    items: list[dict[str, Any]] = got.json()["items"]
    return items


async def purged(house: House, **fields: Any) -> httpx2.Response:
    return await house.http.post("/admin/v1/purge", json=fields, headers=ADMIN)


async def test_a_stored_answer_is_listed_with_what_it_cost_and_what_it_saved(house: House) -> None:
    key = await house.key("shop")
    first = await house.ask(PARIS, key=key, headers={"x-cache-tags": "geo,docs/x"})
    saved = 0.0
    for text in (PARIS, PARIS, SIMILAR):
        hit = await house.ask(text, key=key)
        assert came_from(hit)[0] in ("exact", "semantic")
        record = await house.http.get(
            f"/v1/decisions/{hit.headers['x-cache-decision']}", headers={"x-api-key": key}
        )
        saved += float(record.json()["saved_usd"])
    await house.parts.entries.entries.upkeep()
    (item,) = await listed(house, tenant="shop")
    assert item["id"] == first.headers["x-cache-entry"]
    assert (item["tenant"], item["namespace"], item["model"]) == ("shop", "default", MODEL)
    assert (item["question"], item["tags"]) == (PARIS, ["geo", "docs/x"])
    assert item["answer"] == first.json()["content"][0]["text"]
    assert item["hits"] == 3
    assert float(item["cost_usd"]) > 0
    assert float(item["saved_usd"]) == pytest.approx(saved, abs=1e-12)
    assert item["expires_at"] - item["created_at"] == pytest.approx(3_600)
    assert (item["expired"], item["pinned"], item["corroborated"]) == (False, False, False)
    whole = await house.http.get(f"{LIST}/shop/{item['id']}", headers=ADMIN)
    message = whole.json().pop("message")
    assert message == {k: v for k, v in first.json().items() if k != "id"}
    assert whole.json().items() >= item.items()


async def test_a_list_is_searched_by_every_field_and_read_in_pages(house: House) -> None:
    key = await house.key("shop")
    texts = ["Where is Rome?", "Where is Oslo?", "Who is Ann?"]
    for number, text in enumerate(texts):
        headers = {"x-cache-tags": f"n{number}", "x-cache-namespace": f"s{number}"}
        await house.ask(text, key=key, headers=headers)
        house.clock.ahead_s += 100
    await house.ask("Where is Rome?", key=key, headers={"x-cache-namespace": "s0"})
    await house.ask("Where is it?", key=await house.key("default"))
    await house.parts.entries.entries.upkeep()
    shop = await listed(house, tenant="shop")
    assert [item["question"] for item in shop] == texts[::-1]
    newest, _, oldest = shop
    pin = f"{LIST}/shop/{newest['id']}/pin"
    assert (await house.http.put(pin, headers=ADMIN)).json()["pinned"] is True
    for params, expected in (
        ({"text": "WHERE IS"}, texts[1::-1]),
        ({"namespace": "s1"}, texts[1:2]),
        ({"tag": "n2"}, texts[2:]),
        ({"tag": "n2", "namespace": "s1"}, []),
        ({"model": MODEL, "scope": oldest["scope"]}, texts[:1]),
        ({"model": "claude-opus-5-5"}, []),
        ({"older_than_s": 250}, texts[:1]),
        ({"newer_than_s": 250}, texts[:0:-1]),
        ({"hits_min": 1}, texts[:1]),
        ({"hits_max": 0, "text": "where"}, texts[1:2]),
        ({"pinned": "true"}, texts[2:]),
        ({"pinned": "false", "text": "is"}, texts[1::-1]),
    ):
        found = await listed(house, tenant="shop", **params)
        assert [item["question"] for item in found] == expected, params
    everything = await listed(house)
    assert [item["tenant"] for item in everything] == ["default", "shop", "shop", "shop"]
    seen, cursor = list[dict[str, Any]](), dict[str, Any]()
    for _ in range(4):
        page = await house.http.get(LIST, params={"limit": 1, **cursor}, headers=ADMIN)
        seen += page.json()["items"]
        cursor = {"cursor": page.json()["next"]}
    assert seen == everything
    assert cursor == {"cursor": None}


async def test_an_evicted_answer_is_asked_for_anew(house: House) -> None:
    first = await house.ask(PARIS)
    path = f"{LIST}/default/{first.headers['x-cache-entry']}"
    assert (await house.http.delete(path)).status_code == 401
    done = await house.http.delete(path, headers=ADMIN)
    assert done.json() == {
        "tenant": "default", "entry_id": first.headers["x-cache-entry"], "evicted": True,
    }  # fmt: skip
    for method in ("GET", "DELETE"):
        assert (await house.http.request(method, path, headers=ADMIN)).status_code == 404
    cached = {"cache-control": "only-if-cached"}
    assert (await house.ask(PARIS, headers=cached)).status_code == 404
    assert came_from(await house.ask(SIMILAR))[0] == "miss"


async def test_an_entry_is_only_found_under_its_tenant(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    id = (await house.ask(PARIS, key=one)).headers["x-cache-entry"]
    for method in ("GET", "DELETE"):
        path = f"{LIST}/two/{id}"
        assert (await house.http.request(method, path, headers=ADMIN)).status_code == 404
    own = await house.http.get("/v1/entries", headers={"x-api-key": one})
    assert [item["id"] for item in own.json()["items"]] == [id]
    whole = await house.http.get(f"/v1/entries/{id}", headers={"x-api-key": one})
    assert whole.json()["id"] == id
    others = await house.http.get("/v1/entries", headers={"x-api-key": two})
    assert others.json() == {"items": [], "next": None}
    params = {"tenant": "one"}  # no field of theirs
    refused = await house.http.get("/v1/entries", params=params, headers={"x-api-key": two})
    assert refused.status_code == 400
    for method in ("PUT", "DELETE", "POST"):
        path = f"/v1/entries/{id}"
        got = await house.http.request(method, path, headers={"x-api-key": one})
        assert got.status_code == 405


async def test_a_caller_with_a_key_of_their_own_is_listed_and_evicted(
    tmp_path: Path,
) -> None:
    async with House.open(tmp_path, credentials="caller", anthropic_api_key=None) as house:
        await house.ask(PARIS, key="sk-ant-theirs")
        (item,) = await listed(house)
        assert item["tenant"].startswith("default@")
        assert await listed(house, tenant=item["tenant"]) == [item]
        assert await listed(house, tenant="default") == []
        tried = await purged(house, tenant=item["tenant"], dry_run=True)
        assert tried.json()["would_purge"] == 1
        path = f"{LIST}/{item['tenant']}/{item['id']}"
        assert (await house.http.delete(path, headers=ADMIN)).json()["evicted"] is True
        assert await listed(house) == []


async def test_a_wrong_parameter_is_400_with_its_name(house: House) -> None:
    for params, field in (
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"scope": "x"}, "scope"),
        ({"pinned": "maybe"}, "pinned"),
        ({"text": ""}, "text"),
        ({"older_than_s": "-1"}, "older_than_s"),
        ({"tag": "a b"}, "tag"),
        ({"tag": "a", "context": "b"}, "context"),
        ({"colour": "red"}, "colour"),
    ):
        refused = await house.http.get(LIST, params=params, headers=ADMIN)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].startswith(f"`{field}`: ")


async def test_a_dry_run_counts_shows_and_removes_nothing(house: House) -> None:
    for text in ("Where is Rome?", "Where is Oslo?", "Who is Ann?"):
        await house.ask(text, headers={"x-cache-tags": "t"})
    for fields, count in (
        ({"text": "where"}, 2),
        ({"tenant": "default"}, 3),
        ({"tenant": "default", "tag": "t"}, 3),
        ({"tag": "t"}, 3),
        ({"model": MODEL, "newer_than_s": 0}, 0),
        ({"hits_max": 0, "text": "ann"}, 1),
    ):
        tried = (await purged(house, **fields, dry_run=True)).json()
        assert (tried["would_purge"], len(tried["examples"])) == (count, count), fields
        assert tried["confirm"] is None
    assert len(await listed(house)) == 3
    assert (await purged(house, text="where")).json() == {"purged": 2}
    assert [item["question"] for item in await listed(house)] == ["Who is Ann?"]
    assert came_from(await house.ask("Who is Ann?"))[0] == "exact"
    assert came_from(await house.ask("Where is Rome?"))[0] == "miss"


async def test_a_large_purge_needs_the_phrase_of_its_dry_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purges, "FREELY", 1)
    for text in ("Where is Rome?", "Where is Oslo?"):
        await house.ask(text, headers={"x-cache-tags": "t"})
    for fields in ({"tenant": "default", "tag": "t"}, {"older_than_s": 0.5, "text": "where"}):
        house.clock.ahead_s += 1
        tried = (await purged(house, **fields, dry_run=True)).json()
        assert tried["would_purge"] == 2
        for confirm in ({}, {"confirm": "purge everything"}):
            refused = await purged(house, **fields, **confirm)
            assert refused.status_code == 400
            message = refused.json()["error"]["message"]
            assert message.startswith("`confirm`: this would purge 2 entries; ")
            assert tried["confirm"] in message
    assert tried["confirm"] == "purge text where, older_than_s 0.5"
    done = await purged(house, **fields, confirm=tried["confirm"])
    assert done.json() == {"purged": 2}


async def test_all_is_purged_only_with_its_phrase(house: House) -> None:
    key, other = await house.key("shop"), await house.key("default")
    await house.ask(PARIS, key=key)
    await house.ask(PARIS, key=other)
    refused = await purged(house, all=True)
    assert refused.status_code == 400
    tried = (await purged(house, all=True, dry_run=True)).json()
    assert (tried["would_purge"], tried["confirm"]) == (2, "purge everything")
    assert {item["tenant"] for item in tried["examples"]} == {"shop", "default"}
    assert (await purged(house, all=True, confirm="purge everything")).json() == {"purged": 2}
    assert came_from(await house.ask(PARIS, key=key))[0] == "miss"
    assert came_from(await house.ask(SIMILAR, key=other))[0] == "miss"


async def test_a_purge_that_is_unclear_removes_nothing(house: House) -> None:
    await house.ask(PARIS, headers={"x-cache-tags": "t"})
    unclear: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "tenant"),
        ({"all": False}, "tenant"),
        ({"all": True, "tag": "t"}, "all"),
        ({"all": "yes"}, "all"),
        ({"entry_id": "0" * 32}, "entry_id"),
        ({"entry_id": "0" * 32, "tenant": "default", "tag": "t"}, "entry_id"),
        ({"tag": "t", "dry_run": "yes"}, "dry_run"),
        ({"older_than_s": "60"}, "older_than_s"),
        ({"teg": "t"}, "teg"),
    )
    for fields, field in unclear:
        refused = await purged(house, **fields)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].startswith(f"`{field}`: ")
    assert len(await listed(house)) == 1


async def test_one_entry_is_purged_by_its_id(house: House) -> None:
    id = (await house.ask(PARIS)).headers["x-cache-entry"]
    tried = (await purged(house, tenant="default", entry_id=id, dry_run=True)).json()
    assert (tried["would_purge"], tried["examples"][0]["id"]) == (1, id)
    assert (await purged(house, tenant="default", entry_id=id)).json() == {"purged": 1}
    assert (await purged(house, tenant="default", entry_id=id)).json() == {"purged": 0}


async def ttl(house: House, id: str, **fields: Any) -> httpx2.Response:
    return await house.http.put(f"{LIST}/default/{id}/ttl", json=fields, headers=ADMIN)


async def test_a_life_is_shortened_and_lengthened_for_exact_and_similar_questions(
    house: House,
) -> None:
    first = await house.ask(PARIS)
    id = first.headers["x-cache-entry"]
    assert came_from(await house.ask(PARIS))[0] == "exact"
    longer = await ttl(house, id, ttl_s=7_200)
    assert longer.status_code == 200, longer.text
    house.clock.ahead_s += 7_000
    assert came_from(await house.ask(PARIS))[0] == "exact"
    assert came_from(await house.ask(SIMILAR))[0] == "semantic"
    (item,) = await listed(house)
    assert item["expires_at"] == longer.json()["expires_at"]
    shorter = await ttl(house, id, ttl_s=60)
    assert shorter.json()["expires_at"] < item["expires_at"]
    assert came_from(await house.ask(SIMILAR))[0] == "semantic"
    house.clock.ahead_s += 61
    assert came_from(await house.ask(SIMILAR))[0] == "miss"


async def test_a_life_beyond_the_tenants_maximum_must_be_meant(house: House) -> None:
    rules = {"max_ttl_s": 7_200, "ttl_rules": [{"tag": "prices", "max_ttl_s": 600}]}
    await put(house, "tenants/default", **rules)
    id = (await house.ask(PARIS, headers={"x-cache-tags": "prices"})).headers["x-cache-entry"]
    longest = (await ttl(house, id, ttl_s="longest")).json()["expires_at"]
    assert longest == pytest.approx(house.parts.clock() + 600, abs=30)
    refused = await ttl(house, id, ttl_s=601)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("`ttl_s`: is beyond")
    done = await ttl(house, id, ttl_s=10_000, beyond_maximum=True)
    assert done.status_code == 200
    house.clock.ahead_s += 9_900
    assert came_from(await house.ask(PARIS))[0] == "exact"
    for fields in ({}, {"ttl_s": 0}, {"ttl_s": "60"}, {"ttl_s": 60, "more": 1}):
        assert (await ttl(house, id, **fields)).status_code == 400
    assert (await ttl(house, "0" * 32, ttl_s=60)).status_code == 404


async def test_what_an_answer_was_found_wrong_for_outlives_its_old_deadline(house: House) -> None:
    id = (await house.ask(PARIS)).headers["x-cache-entry"]
    hit = await house.ask(SIMILAR)
    assert came_from(hit)[0] == "semantic"
    bad = {"verdict": "bad", "decision_id": hit.headers["x-cache-decision"]}
    assert (await house.http.post("/v1/feedback", json=bad)).json()["done"] == "tombstoned"
    assert (await ttl(house, id, ttl_s=100_000)).status_code == 200
    store = house.parts.host.store
    keys = [key async for key in store.redis.scan_iter(f"{store.prefix}tomb:*")]
    assert len(keys) == 1
    assert await store.redis.pttl(keys[0]) >= 100_000_000
    late = house.parts.labels  # of an audit that read the entry before
    await late.tombstones.add("default", "another", id, life_s=5)
    keys = [key async for key in store.redis.scan_iter(f"{store.prefix}tomb:*another*")]
    assert await store.redis.pttl(keys[0]) > 99_000_000


async def test_all_of_it_works_on_a_store_that_is_encrypted(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        id = (await house.ask(PARIS)).headers["x-cache-entry"]
        (item,) = await listed(house, text="capital")
        assert item["question"] == PARIS
        assert (await ttl(house, id, ttl_s=7_200)).status_code == 200
        house.clock.ahead_s += 7_000
        assert came_from(await house.ask(SIMILAR))[0] == "semantic"
        assert (await purged(house, text="CAPITAL")).json() == {"purged": 1}


async def curate(house: House, id: str, **fields: Any) -> httpx2.Response:
    return await house.http.put(f"{LIST}/default/{id}/answer", json=fields, headers=ADMIN)


async def test_a_curated_answer_is_served_in_place_of_the_old_one(house: House) -> None:
    await put(house, "tenants/default", corroborate=True)
    first = await house.ask(PARIS, headers={"x-cache-tags": "geo", "x-cache-actor": "ann"})
    old = first.headers["x-cache-entry"]
    done = await curate(house, old, text="Paris, of course.")
    assert done.status_code == 200, done.text
    new = done.json()
    assert (new["origin"], new["replaced"], new["tags"]) == ("curated", old, ["geo"])
    assert new["curated_by"]
    assert (new["cost_usd"], new["pinned"], new["hits"]) == ("0.000000000", True, 0)
    assert new["expires_at"] - new["created_at"] == pytest.approx(3_600)
    assert (await house.http.get(f"{LIST}/default/{old}", headers=ADMIN)).status_code == 404
    for text, kind in ((PARIS, "exact"), (SIMILAR, "semantic")):
        hit = await house.ask(text, headers={"x-cache-actor": "bob"})
        assert (came_from(hit)[0], hit.headers["x-cache-entry"]) == (kind, new["id"])
        assert hit.json()["content"] == [{"type": "text", "text": "Paris, of course."}]
        assert hit.json().keys() == first.json().keys()
        assert hit.json()["usage"] == first.json()["usage"]
    message = await house.sdk().messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": PARIS}]
    )
    assert message.content[0].text == "Paris, of course."  # type: ignore[union-attr]
    assert len(house.asked) == 1
    await house.parts.calibration.learner.idle()
    again = await curate(house, new["id"], text="Paris.", ttl_s=600)
    assert again.json()["expires_at"] - again.json()["created_at"] == pytest.approx(600)
    assert (await curate(house, new["id"], text="Late")).status_code == 404
    assert (await purged(house, tenant="default", tag="geo")).json() == {"purged": 1}
    assert came_from(await house.ask(SIMILAR))[0] == "miss"


async def test_a_curated_answer_that_will_not_do_changes_nothing(house: House) -> None:
    first = await house.ask(PARIS)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({}, "text"),
        ({"text": " \u200b"}, "text"),
        ({"text": "x", "ttl_s": 31_000_000}, "ttl_s"),
        ({"text": "x", "author": "me"}, "author"),
    )
    for fields, field in wrong:
        refused = await curate(house, first.headers["x-cache-entry"], **fields)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].startswith(f"`{field}`: ")
    assert (await house.ask(PARIS)).headers["x-cache-entry"] == first.headers["x-cache-entry"]


async def test_no_answer_of_claude_takes_the_place_of_a_curated_one(house: House) -> None:
    """Neither one that a caller refreshes, nor one that was asked for before."""
    old = (await house.ask(PARIS)).headers["x-cache-entry"]
    new = (await curate(house, old, text="Paris, of course.", ttl_s=600)).json()["id"]
    fresh = {"cache-control": "no-cache"}
    assert came_from(await house.ask(PARIS, headers=fresh))[0] == "miss"
    assert (await house.ask(PARIS)).headers["x-cache-entry"] == new
    assert (await ttl(house, new, ttl_s=1_200)).status_code == 200
    house.clock.ahead_s += 900
    await house.ask(PARIS, headers=fresh)
    assert (await house.ask(PARIS)).headers["x-cache-entry"] == new
    house.clock.ahead_s += 600  # its deadline is over
    assert came_from(await house.ask(PARIS))[0] == "miss"
    again = (await house.ask(PARIS)).headers["x-cache-entry"]
    assert again != new
    assert (await curate(house, again, text="Paris.")).status_code == 200


async def test_a_curated_answer_is_refused_where_the_old_one_was(house: House) -> None:
    old = (await house.ask(PARIS)).headers["x-cache-entry"]
    hit = await house.ask(SIMILAR)
    bad = {"verdict": "bad", "decision_id": hit.headers["x-cache-decision"]}
    assert (await house.http.post("/v1/feedback", json=bad)).json()["done"] == "tombstoned"
    assert (await curate(house, old, text="Paris, of course.")).status_code == 200
    assert came_from(await house.ask(SIMILAR))[0] == "miss"
