"""`/v1/query`, statistics, decisions, purges and the admin API, through the front door."""

from __future__ import annotations

from typing import Any

import pytest

from tests.house import ADMIN_KEY, MODEL, House, came_from

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
QUESTION = "What is the capital of France?"


async def query(house: House, prompt: str | None = QUESTION, **fields: Any) -> dict[str, Any]:
    asked = {"prompt": prompt, **fields} if prompt is not None else fields
    response = await house.http.post("/v1/query", json=asked)
    assert response.status_code == 200, response.text
    found = response.json()
    assert isinstance(found, dict)
    return found


async def test_a_question_its_repeat_and_its_paraphrase(house: House) -> None:
    first = await query(house)
    again = await query(house)
    similar = await query(house, "What's the capital of France?")
    kinds = [a["decision"]["kind"] for a in (first, again, similar)]
    assert kinds == ["miss", "exact", "semantic"]
    assert first["text"] == again["text"] == similar["text"] != ""
    assert similar["decision"]["question"] == QUESTION
    assert 0.95 <= similar["decision"]["similarity"] < 1
    assert similar["decision"]["bar"] == 0.95
    assert first["cost_usd"] == again["saved_usd"] == similar["saved_usd"]
    assert first["entry_id"] == again["entry_id"] == similar["entry_id"]
    assert first["model"] == MODEL
    assert len(house.asked) == 1


async def test_it_shares_its_entries_with_the_messages_api(house: House) -> None:
    await house.ask(QUESTION, model="auto", max_tokens=1_024)
    assert (await query(house))["decision"]["kind"] == "exact"


async def test_a_model_can_be_forced_the_cache_skipped_and_the_output_capped(house: House) -> None:
    forced = await query(house, model="claude-sonnet-5-5", max_tokens=7)
    assert forced["model"] == "claude-sonnet-5-5"
    assert house.asked[-1].body["max_tokens"] == 7
    assert (await query(house, cache="off"))["decision"]["kind"] == "bypass"
    await query(house)
    assert (await query(house, cache="refresh"))["decision"]["reason"] == "refresh"
    refused = await house.http.post("/v1/query", json={"prompt": "New?", "cache": "only"})
    assert refused.status_code == 404


async def test_a_schema_goes_to_claude_and_is_part_of_the_question(house: House) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    first = await query(house, schema=schema)
    assert house.asked[0].body["output_config"] == {
        "format": {"type": "json_schema", "schema": schema}
    }
    assert (await query(house, schema=schema))["decision"]["kind"] == "exact"
    assert (await query(house))["decision"]["kind"] == "miss"
    body: dict[str, Any] = house.asked[0].body
    assert first["decision"]["kind"] == "miss"
    config: Any = {"output_config": body["output_config"]}
    shared = await house.ask(QUESTION, **{**config, "model": "auto", "max_tokens": 1_024})
    assert shared.headers["x-cache"] == "exact"


async def test_deep_analysis_is_never_answered_with_a_quick_answer(house: House) -> None:
    await query(house)
    deep = await query(house, requires_deep_analysis=True)
    assert deep["decision"]["kind"] == "miss"


async def test_a_miss_shows_how_near_the_nearest_came_and_not_its_question(house: House) -> None:
    first = await query(house)
    other = await query(house, "What is the capital of Germany?")
    assert other["decision"]["kind"] == "miss"
    assert other["decision"]["question"] is None
    assert 0.5 < other["decision"]["similarity"] < 0.95
    (nearest,) = other["decision"]["candidates"]
    assert (nearest["entry"], nearest["question"]) == (first["entry_id"], None)
    assert nearest["similarity"] == other["decision"]["similarity"]


async def test_streamed_it_is_anthropics_events(house: House) -> None:
    asked = {"prompt": QUESTION, "stream": True}
    response = await house.http.post("/v1/query", json=asked)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("event: message_start")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": "a", "max_tokens": "9"}, "max_tokens"),
        ({"prompt": "a", "cache": "maybe"}, "cache"),
        ({"prompt": "a", "ttl_s": -1}, "ttl_s"),
        ({"prompt": "a", "tags": ["a b"]}, "tags"),
        ({"prompt": "a", "namespace": ""}, "namespace"),
        ({"prompt": "a", "nonsense": 1}, "nonsense"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ],
)
async def test_bad_fields_are_400_and_named(
    house: House, fields: dict[str, Any], field: str
) -> None:
    refused = await house.http.post("/v1/query", json=fields)
    assert refused.status_code == 400
    assert f"`{field}" in refused.json()["error"]["message"]


async def test_a_purge_forgets_and_what_is_left_stays(house: House) -> None:
    one = await query(house, tags=["a"])
    await query(house, "Who wrote Hamlet?", tags=["b"])
    purged = await house.http.post("/v1/purge", json={"tag": "a"})
    assert purged.json() == {"purged": 1}
    assert (await query(house))["decision"]["kind"] == "miss"
    assert (await query(house, "Who wrote Hamlet?"))["decision"]["kind"] == "exact"
    gone = await house.http.post("/v1/purge", json={"entry_id": one["entry_id"]})
    assert gone.json() == {"purged": 0}
    for wrong in ({}, {"tag": "a", "namespace": "b"}, {"tag": 3}, {"all": True}):
        assert (await house.http.post("/v1/purge", json=wrong)).status_code == 400


async def test_a_purged_question_is_not_found_by_similarity(house: House) -> None:
    await query(house, namespace="n")
    await house.http.post("/v1/purge", json={"namespace": "n"})
    similar = await query(house, "What's the capital of France?", namespace="n")
    assert similar["decision"]["kind"] == "miss"


async def test_statistics_add_up(house: House) -> None:
    await query(house)
    for _ in range(2):
        await query(house)
    await query(house, "What's the capital of France?")
    await query(house, cache="off")
    await house.ask("Fail [[sim error=400]]")
    stats = (await house.http.get("/v1/stats")).json()
    outcomes = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed")
    assert [stats[o] for o in outcomes] == [2, 1, 0, 0, 1, 1, 1]
    assert stats["requests"] == sum(stats[o] for o in outcomes) == 6
    assert stats["hit_rate"] == 0.75
    assert float(stats["saved_usd"]) == pytest.approx(float(stats["cost_usd"]) * 1.5)
    page = (await house.http.get("/metrics", headers=ADMIN)).text
    assert 'cacheserver_requests_total{outcome="exact"} 2.0' in page
    assert 'cacheserver_upstream_calls_total{status="200"} 2.0' in page


async def test_a_decision_tells_all_of_it_for_a_day(house: House) -> None:
    answer = await query(house, tags=["a"], task="short_qa")
    shown = (await house.http.get(f"/v1/decisions/{answer['decision_id']}")).json()
    assert shown["decision"]["kind"] == "miss"
    assert shown["entry_id"] == answer["entry_id"]
    assert (shown["task"], shown["tags"], shown["ttl_s"]) == ("short_qa", ["a"], 3_600)
    assert shown["cost_usd"] == answer["cost_usd"]
    assert shown["prices"].startswith("genai-prices")
    assert (await house.http.get("/v1/decisions/dec_unknown")).status_code == 404


async def test_lifetimes_and_bars_are_set_live(house: House) -> None:
    changed = await house.http.put(
        "/admin/v1/tenants/default",
        headers=ADMIN,
        json={
            "default_ttl_s": 100,
            "max_ttl_s": 200,
            "bar": {"similarity": 0.999},
            "ttl_rules": [{"tag": "news", "max_ttl_s": 10}],
        },
    )
    assert changed.status_code == 200, changed.text
    first = await house.ask(QUESTION)
    assert first.headers["x-cache-ttl"] == "100"
    assert came_from(await house.ask("What's the capital of France?"))[0] == "miss"
    news = await house.ask("News?", headers={"x-cache-tags": "news", "x-cache-ttl": "150"})
    assert news.headers["x-cache-ttl"] == "10"
    for wrong in ({"bar": {"similarity": 2}}, {"max_ttl_s": -1}, {"nonsense": 1}):
        refused = await house.http.put("/admin/v1/tenants/default", headers=ADMIN, json=wrong)
        assert refused.status_code == 400


async def test_keys_are_made_shown_once_and_revoked(house: House) -> None:
    made = (await house.http.post("/admin/v1/keys", headers=ADMIN, json={"tenant": "shop"})).json()
    listed = (await house.http.get("/admin/v1/keys", headers=ADMIN)).json()["items"]
    assert [key["id"] for key in listed] == [made["id"]]
    assert made["key"] not in str(listed)
    assert came_from(await house.ask(key=made["key"]))[0] == "miss"
    await house.http.delete(f"/admin/v1/keys/{made['id']}", headers=ADMIN)
    assert (await house.http.get("/admin/v1/keys", headers=ADMIN)).json()["items"] == []


async def test_the_whole_api_is_described(house: House) -> None:
    described = (await house.http.get("/openapi.json")).json()
    fields = described["paths"]["/v1/query"]["post"]["requestBody"]["content"]
    schema = fields["application/json"]["schema"]
    assert {"prompt", "messages", "system", "model", "max_tokens", "ttl_s", "tags"} <= set(
        schema["properties"]
    )
    assert schema["examples"]


async def test_health_needs_no_key_and_readiness_says_what_is_missing(house: House) -> None:
    await house.key("one")
    assert (await house.http.get("/healthz")).json() == {"status": "ok"}
    ready = (await house.http.get("/readyz")).json()
    assert ready == {
        "ready": True,
        "store": "ok",
        "lease": "ok",
        "queue": "ok",
        "similarity": "ok",
        "upstream": "ok",
        "embedder": "ok",
    }
