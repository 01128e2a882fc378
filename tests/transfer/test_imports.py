"""Imports through the front door: found by the requests that an application sends, and undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cacheserver.index.models import BatchedEmbedder
from cacheserver.storage.connection import command
from tests.api.admin import ADMIN
from tests.house import House, came_from
from tests.nocontent.traffic import opened
from tests.transfer.imports import FAQ, IMPORTS, REQUEST, SYSTEM, begun, imported, send

ASKED, ANSWER = FAQ[0]["question"], FAQ[0]["answer"]


async def listed(house: House, **params: Any) -> list[dict[str, Any]]:
    got = await house.http.get("/admin/v1/entries", params=params, headers=ADMIN)
    assert got.status_code == 200, got.text
    items: list[dict[str, Any]] = got.json()["items"]
    return items


async def test_an_imported_answer_is_found_as_the_application_asks(house: House) -> None:
    key = await house.key("shop")
    done = await imported(house)
    assert done["counts"]["stored"] == 3
    assert (done["state"], done["done"], done["problems"]) == ("done", 3, [])
    exact = await house.ask(ASKED, key=key, system=SYSTEM)
    assert came_from(exact) == ("exact", "identical")
    assert exact.json()["content"] == [{"type": "text", "text": ANSWER}]
    near = await house.ask("How do I return my order?", key=key, system=SYSTEM)
    assert came_from(near)[0] == "semantic"
    assert near.json()["content"][0]["text"] == ANSWER
    async with house.sdk(key=key) as claude:
        message = await claude.messages.create(
            model=REQUEST["model"],
            max_tokens=100,
            system=SYSTEM,
            messages=[{"role": "user", "content": ASKED}],
        )
    assert message.content[0].type == "text"
    assert message.content[0].text == ANSWER
    assert not house.asked
    # Another system prompt, length or tenant is another question.
    for other in ({"system": "Be rude."}, {"system": SYSTEM, "max_tokens": 99}):
        assert came_from(await house.ask(ASKED, key=key, **other))[0] == "miss"
    elsewhere = await house.ask(ASKED, key=await house.key("bank"), system=SYSTEM)
    assert came_from(elsewhere)[0] == "miss"


async def test_an_import_is_embedded_behind_the_requests(house: House) -> None:
    """With the model for many texts; those of callers have theirs, and its memory."""
    await house.key("shop")
    await imported(house)
    entries = house.parts.entries
    assert isinstance(entries._behind._embedder, BatchedEmbedder)
    assert [entries._batcher.recall(one["question"]) for one in FAQ] == [None] * len(FAQ)


async def test_a_question_that_comes_twice_has_the_first_answer(house: House) -> None:
    key = await house.key("shop")
    done = await imported(house, [FAQ[0], {**FAQ[0], "answer": "Not at all."}, FAQ[1]])
    assert (done["counts"]["stored"], done["counts"]["unchanged"]) == (2, 1)
    found = await house.ask(ASKED, key=key, system=SYSTEM)
    assert came_from(found)[0] == "exact"
    assert found.json()["content"][0]["text"] == ANSWER


async def test_a_place_in_the_last_text_takes_the_question(house: House) -> None:
    key = await house.key("shop")
    asks = "Customer: {question}\nAgent:"
    request = {**REQUEST, "messages": [{"role": "user", "content": asks}]}
    await imported(house, request=request, batch={"request": request})
    found = await house.ask(f"Customer: {ASKED}\nAgent:", key=key, system=SYSTEM)
    assert came_from(found)[0] == "exact"


async def test_a_question_at_query_finds_it_and_its_namespace_counts(house: House) -> None:
    key = await house.key("shop")
    given: dict[str, Any] = {
        "request": {**REQUEST, "max_tokens": 1024},
        "headers": {"x-cache-namespace": "faq"},
    }
    await imported(house, FAQ, batch=given, **given)
    asked = {"prompt": ASKED, "model": REQUEST["model"], "system": SYSTEM}
    for space, kind in (("faq", "exact"), ("default", "miss")):
        got = await house.http.post(
            "/v1/query", json={**asked, "namespace": space}, headers={"x-api-key": key}
        )
        assert got.json()["decision"]["kind"] == kind


async def test_entries_say_where_they_came_from_and_cost_nothing(house: House) -> None:
    await house.key("shop")
    done = await imported(house, tags=["faq"], ttl_s=600)
    items = await listed(house, tag=done["tag"], tenant="shop")
    assert {one["question"] for one in items} == {one["question"] for one in FAQ}
    for one in items:
        assert (one["origin"], one["pinned"], one["corroborated"]) == ("curated", True, True)
        assert one["curated_by"] == done["by"]
        assert float(one["cost_usd"]) == 0
        assert one["expires_at"] - one["created_at"] == pytest.approx(600)
        assert one["tags"][0] == "faq"
    assert [one["question"] for one in await listed(house, tag="pay", tenant="shop")] == [
        FAQ[2]["question"]
    ]
    other = await imported(house, [{**FAQ[0], "question": "Anything else?"}], curated=False)
    (item,) = await listed(house, tag=other["tag"], tenant="shop")
    assert (item["origin"], item["pinned"]) == ("own", False)
    assert item["expires_at"] - item["created_at"] == pytest.approx(30 * 86_400)


async def test_an_import_is_undone_by_its_id(house: House) -> None:
    key = await house.key("shop")
    kept, undone = await imported(house, FAQ[:1]), await imported(house, FAQ[1:])
    got = await house.http.delete(f"{IMPORTS}/shop/{undone['id']}", headers=ADMIN)
    assert got.json() == {
        "id": undone["id"],
        "tenant": "shop",
        "undone": True,
        "removed": {"entries": 2, "labels": 0},
    }
    for at, kind in enumerate(("exact", "miss", "miss")):
        found = await house.ask(FAQ[at]["question"], key=key, system=SYSTEM)
        assert came_from(found)[0] == kind
    states = await house.http.get(f"{IMPORTS}/shop", headers=ADMIN)
    assert {one["id"]: one["state"] for one in states.json()["items"]} == {
        kept["id"]: "done",
        undone["id"]: "undone",
    }
    assert (await send(house, undone)).status_code == 409
    trail = await house.http.get("/admin/v1/audit-trail?tenant=shop", headers=ADMIN)
    seen = [(one["method"], one["route"].removeprefix(IMPORTS)) for one in trail.json()["items"]]
    batch, begin = ("POST", "/{tenant}/{id}/records"), ("POST", "")
    assert seen == [("DELETE", "/{tenant}/{id}"), batch, begin, batch, begin]


async def test_an_import_goes_on_where_it_was_cut(house: House) -> None:
    await house.key("shop")
    job = await begun(house)
    first = await send(house, job, FAQ[:2], last=False)
    assert first.json()["done"] == 2
    again = await send(house, job, FAQ[:2], last=False)  # its answer was lost
    assert (again.json()["done"], again.json()["batch"]) == (2, None)
    gap = await send(house, job, FAQ[2:], first=9)
    assert (gap.status_code, "2 records" in gap.text) == (409, True)
    rest = await send(house, job, FAQ[2:], first=2)
    assert (rest.json()["state"], rest.json()["counts"]["stored"]) == ("done", 3)
    assert len(await listed(house, tenant="shop")) == 3


async def test_what_a_killed_server_had_stored_counts_once(house: House) -> None:
    await house.key("shop")
    job = await begun(house)
    assert (await send(house, job)).status_code == 200
    # As if it had been killed before it could count the batch.
    key = f"{house.parts.host.store.prefix}import:4:shop:{job['id']}"
    words = ("state", "open", "done", 0, "stored", 0)
    await command(house.parts.host.store.redis, "HSET", key, *words)
    again = await send(house, job)
    assert (again.json()["counts"]["stored"], again.json()["done"]) == (3, 3)
    assert len(await listed(house, tenant="shop")) == 3


async def test_a_curated_answer_takes_claudes_place_and_a_new_version_its_own(
    house: House,
) -> None:
    key = await house.key("shop")
    first = await house.ask(ASKED, key=key, system=SYSTEM)
    assert came_from(first)[0] == "miss"
    kept = await imported(house, FAQ[:1], curated=False)
    assert kept["batch"] == {"kept": 1}
    done = await imported(house, FAQ[:1])
    assert done["batch"] == {"replaced": 1}
    hit = await house.ask(ASKED, key=key, system=SYSTEM)
    assert hit.json()["content"][0]["text"] == ANSWER
    assert hit.headers["x-cache-entry"] != first.headers["x-cache-entry"]
    record = await house.http.get(
        f"/v1/decisions/{hit.headers['x-cache-decision']}", headers={"x-api-key": key}
    )
    assert float(record.json()["saved_usd"]) > 0  # what the replaced answer had cost
    newer = await imported(house, [{**FAQ[0], "answer": "Within 14 days."}])
    assert newer["batch"] == {"replaced": 1}
    # Claude's newer answer does not take its place.
    await house.ask(ASKED, key=key, system=SYSTEM, headers={"cache-control": "no-cache"})
    again = await house.ask(ASKED, key=key, system=SYSTEM)
    assert again.json()["content"][0]["text"] == "Within 14 days."
    assert len(await listed(house, tenant="shop")) == 1


async def test_an_answer_found_wrong_stays_refused_in_its_new_version(house: House) -> None:
    key = await house.key("shop")
    await imported(house, FAQ[:1])
    similar = "How do I return my order?"
    hit = await house.ask(similar, key=key, system=SYSTEM)
    bad = {"verdict": "bad", "decision_id": hit.headers["x-cache-decision"]}
    got = await house.http.post("/v1/feedback", json=bad, headers={"x-api-key": key})
    assert got.status_code == 200, got.text
    await imported(house, [{**FAQ[0], "answer": "Within 14 days."}])
    assert came_from(await house.ask(similar, key=key, system=SYSTEM))[0] == "miss"


async def test_records_that_will_not_do_are_named_and_the_rest_is_stored(house: House) -> None:
    await house.key("shop")
    done = await imported(
        house,
        [
            FAQ[0],
            {"question": "  ", "answer": "x", "where": "faq.csv:3"},
            {"question": "What is the time now?", "answer": "Noon.", "ttl_s": 0},
            {"question": "Is there a shop near me?", "answer": "Yes."},
            {"question": "Long?", "answer": "x" * 100_001},
            {"question": "Tags?", "answer": "x", "tags": [f"t{n}" for n in range(16)]},
            {"question": "Odd?", "answer": ["x"]},
            {"question": "Bad tag?", "answer": "x", "tags": ["a b"]},
        ],
    )
    assert done["batch"] == {"stored": 1, "refused": 7}
    assert (done["done"], len(done["problems"])) == (8, 7)
    assert done["problems"][0] == {"where": "faq.csv:3", "why": "has no question"}
    assert len(await listed(house, tenant="shop")) == 1


async def test_a_volatile_answer_lives_no_longer_than_one_of_claudes(house: House) -> None:
    await house.key("shop")
    await imported(house, [{"question": "What is the weather in Rome today?", "answer": "Sun."}])
    (one,) = await listed(house, tenant="shop")
    assert one["expires_at"] - one["created_at"] == pytest.approx(300)


async def test_an_answer_must_fit_the_schema_of_its_request(house: House) -> None:
    await house.key("shop")
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    form = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    request = {**REQUEST, **form}
    records = [{"question": "One?", "answer": '{"a": "x"}'}, {"question": "Two?", "answer": "x"}]
    done = await imported(house, records, request=request, batch={"request": request})
    assert done["batch"] == {"stored": 1, "refused": 1}


async def test_it_is_said_whether_such_requests_are_known(house: House) -> None:
    key = await house.key("shop")
    assert (await begun(house))["known"] is False
    await house.ask("Do you ship to Malta?", key=key, system=SYSTEM)
    assert (await begun(house))["known"] is True


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"request": None}, "request"),
        ({"request": {"max_tokens": 5}}, "model"),
        ({"request": {**REQUEST, "container": "c"}}, "container"),
        ({"request": {**REQUEST, "messages": [{"role": "assistant", "content": "x"}]}}, "messages"),
        ({"headers": {"x-cache-namespce": "x"}}, "x-cache-namespce"),
        ({"headers": {"cache-control": "no-store"}}, "headers"),
        ({"headers": {"x-cache-question": "x", "x-cache-context-blocks": "system"}}, "headers"),
        ({"tags": ["a b"]}, "tags"),
        ({"tags": [f"t{n}" for n in range(16)]}, "tags"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"tenant": "nobody"}, "tenant"),
        ({"kind": "calls"}, "request"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_a_wrong_import_is_refused_by_name(
    house: House, fields: dict[str, Any], says: str
) -> None:
    await house.key("shop")
    body = {"tenant": "shop", "request": REQUEST, **fields}
    body = {name: value for name, value in body.items() if value is not None}
    got = await house.http.post(IMPORTS, json=body, headers=ADMIN)
    assert got.status_code == 400, got.text
    assert says in got.json()["error"]["message"]


async def test_a_batch_for_another_request_is_refused(house: House) -> None:
    await house.key("shop")
    job = await begun(house)
    got = await send(house, job, request={**REQUEST, "system": "Other."})
    assert (got.status_code, "request" in got.text) == (400, True)
    assert (await send(house, {**job, "tenant": "default"})).status_code == 404
    assert (await send(house, job, [FAQ[0]] * 1_001)).status_code == 400


async def test_calls_of_a_log_are_found_by_their_own_requests(house: House) -> None:
    key = await house.key("shop")
    body = {**REQUEST, "messages": [{"role": "user", "content": "Capital of Peru?"}]}
    message = {
        "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": "Lima."}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 12, "output_tokens": 4},
    }  # fmt: skip
    cut = {**message, "stop_reason": "max_tokens"}
    job = await begun(house, kind="calls", curated=False, request=None)
    records = [{"request": body, "message": message}, {"request": body, "message": cut}]
    got = await send(house, job, records, request=None)
    assert got.json()["batch"] == {"stored": 1, "refused": 1}, got.text
    found = await house.ask("Capital of Peru?", key=key, system=SYSTEM)
    assert came_from(found)[0] == "exact"
    assert found.json()["content"][0]["text"] == "Lima."
    (one,) = await listed(house, tenant="shop")
    assert (one["origin"], one["pinned"], float(one["cost_usd"]) > 0) == ("claude", False, True)


async def test_nothing_of_an_import_is_kept_but_entries(house: House) -> None:
    await house.key("shop")
    await imported(house)
    redis, prefix = house.parts.host.store.redis, house.parts.host.store.prefix
    async for key in redis.scan_iter(f"{prefix}import*"):
        if await redis.type(key) == b"hash":
            text = repr(await redis.hgetall(key))
            assert SYSTEM not in text
            assert ANSWER not in text
            assert ASKED not in text


async def test_a_tenant_without_content_is_warmed_and_shows_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        await house.key("shop")
        got = await house.http.put(
            "/admin/v1/tenants/shop", json={"no_content": True}, headers=ADMIN
        )
        assert got.status_code == 200, got.text
        key = await house.key("shop")
        done = await imported(house)
        assert done["counts"]["stored"] == 3
        assert came_from(await house.ask(ASKED, key=key, system=SYSTEM))[0] == "exact"
        assert {one["question"] for one in await listed(house, tenant="shop")} == {None}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"question": 1},
        {"question": None, "answer": "x"},
        {"question": "q", "answer": "x", "tags": 5},
        {"question": "q", "answer": "x", "tags": [1]},
        {"question": "q", "answer": "x", "ttl_s": 1e99},
        {"question": "q", "answer": "x", "ttl_s": True},
        {"question": "q", "answer": "x", "ttl_s": -1},
        {"question": "q", "answer": "\ud800"},
        {"question": "\ud800", "answer": "x"},
        {"question": "q", "answer": "x", "where": [1]},
        {"question": "q" * 60_000, "answer": "x"},
        {"question": "q", "answer": "x", "ttl_s": "9" * 5_000},
        {"question": "q", "answer": "x\x00"},
    ],
)
async def test_no_record_is_a_failure_of_the_server(house: House, record: dict[str, Any]) -> None:
    await house.key("shop")
    got = await send(house, await begun(house), [record])
    assert got.status_code in (200, 400), got.text
    for odd in (record, {"request": record, "message": record}, {"request": 1, "message": []}):
        job = await begun(house, kind="calls", request=None)
        got = await send(house, job, [odd], request=None)
        assert got.status_code in (200, 400), got.text


async def test_a_pinned_answer_goes_before_a_more_similar_one(house: House) -> None:
    key = await house.key("shop")
    bar = await house.http.put(
        "/admin/v1/tenants/shop", json={"bar": {"similarity": 0.8}}, headers=ADMIN
    )
    assert bar.status_code == 200, bar.text
    nearer, asked = "How can I return my order?", "Please, how can I return my order?"
    claudes = await house.ask(nearer, key=key, system=SYSTEM)
    await imported(house, FAQ[:1])
    hit = await house.ask(asked, key=key, system=SYSTEM)
    assert came_from(hit)[0] == "semantic"
    assert hit.json()["content"][0]["text"] == ANSWER
    pin = f"/admin/v1/entries/shop/{hit.headers['x-cache-entry']}/pin"
    assert (await house.http.delete(pin, headers=ADMIN)).status_code == 200
    hit = await house.ask(asked, key=key, system=SYSTEM)
    assert came_from(hit)[0] == "semantic"
    assert hit.headers["x-cache-entry"] == claudes.headers["x-cache-entry"]
