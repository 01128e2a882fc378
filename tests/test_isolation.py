"""Tenants, namespaces and scopes never meet: not exactly, not by similarity, not by an id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.house import ADMIN_KEY, House, came_from, serving
from tests.passthrough.claude import AnyClaude

QUESTION, SIMILAR = "How is an order cancelled?", "How can an order be cancelled?"


async def test_one_tenants_answer_never_serves_another(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    await house.ask(QUESTION, key=one)
    assert came_from(await house.ask(QUESTION, key=two)) == ("miss", "empty")
    assert came_from(await house.ask(SIMILAR, key=one))[0] == "semantic"
    assert came_from(await house.ask("Who wrote Hamlet?", key=two))[0] == "miss"
    assert len(house.asked) == 3


async def test_two_keys_of_one_tenant_share(house: House) -> None:
    one, other = await house.key("one"), await house.key("one")
    await house.ask(key=one)
    assert came_from(await house.ask(key=other))[0] == "exact"


async def test_one_tenants_concurrent_question_never_joins_anothers(house: House) -> None:
    import asyncio

    one, two = await house.key("one"), await house.key("two")
    slow = "Slow? [[sim slow=0.4]]"
    answers = await asyncio.gather(house.ask(slow, key=one), house.ask(slow, key=two))
    assert [came_from(a)[0] for a in answers] == ["miss", "miss"]


async def test_namespaces_do_not_meet(house: House) -> None:
    await house.ask(QUESTION, headers={"x-cache-namespace": "a"})
    other = await house.ask(QUESTION, headers={"x-cache-namespace": "b"})
    assert came_from(other) == ("miss", "empty")
    assert came_from(await house.ask(SIMILAR)) == ("miss", "empty")
    assert len(house.asked) == 3


SCOPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "system": ({"system": "Answer in French."}, {"system": "Answer in German."}),
    "model": ({}, {"model": "claude-sonnet-5-5"}),
    "max_tokens": ({}, {"max_tokens": 200}),
    "stop_sequences": ({}, {"stop_sequences": ["x"]}),
    "version": ({}, {"headers": {"anthropic-version": "2023-01-01"}}),
    "beta": ({}, {"headers": {"anthropic-beta": "b"}}),
    "task": ({}, {"headers": {"x-cache-task": "analysis"}}),
    "deep analysis": ({}, {"headers": {"x-cache-deep-analysis": "true"}}),
    "unknown field": ({}, {"of_tomorrow": 1}),
}


@pytest.mark.parametrize("what", sorted(SCOPES))
async def test_scopes_do_not_meet(house: House, what: str) -> None:
    one, two = SCOPES[what]
    await house.ask(QUESTION, **_copy(one))
    for text in (QUESTION, SIMILAR):
        answer = await house.ask(text, **_copy(two))
        kind, _ = came_from(answer)
        first = text == QUESTION
        assert kind == ("miss" if first else "semantic")
    assert len(house.asked) == 2
    assert came_from(await house.ask(SIMILAR, **_copy(one)))[0] == "semantic"


async def test_earlier_turns_are_a_scope(house: House) -> None:
    def turns(name: str) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": f"I am {name}."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Who am I?"},
        ]

    first = await house.http.post("/v1/messages", json=_body(turns("Ann")))
    assert came_from(first)[0] == "miss"
    assert came_from(await house.http.post("/v1/messages", json=_body(turns("Bob"))))[0] == "miss"


async def test_a_decision_is_shown_to_its_own_tenant_only(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    answer = await house.ask(QUESTION, key=one)
    path = f"/v1/decisions/{answer.headers['x-cache-decision']}"
    assert (await house.http.get(path, headers={"x-api-key": one})).status_code == 200
    assert (await house.http.get(path, headers={"x-api-key": two})).status_code == 404


async def test_a_tenant_purges_its_own_answers_only(house: House) -> None:
    one, two = await house.key("one"), await house.key("two")
    entry = (await house.ask(key=one, headers={"x-cache-tags": "t"})).headers["x-cache-entry"]
    for what in ({"entry_id": entry}, {"tag": "t"}, {"namespace": "default"}):
        purged = await house.http.post("/v1/purge", json=what, headers={"x-api-key": two})
        assert purged.json() == {"purged": 0}
    assert came_from(await house.ask(key=one))[0] == "exact"
    mine = await house.http.post("/v1/purge", json={"tag": "t"}, headers={"x-api-key": one})
    assert mine.json() == {"purged": 1}
    assert came_from(await house.ask(key=one))[0] == "miss"


async def test_a_wrong_key_is_401_and_none_is_too(house: House) -> None:
    await house.key("one")
    assert (await house.ask(key="cs_wrong")).status_code == 401
    refused = await house.http.post("/v1/messages", json=_body([{"role": "user", "content": "x"}]))
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "authentication_error"
    assert house.asked == []


@pytest.mark.parametrize(
    "path", ["/admin/v1/tenants", "/admin/v1/keys", "/admin/v1/stats", "/metrics"]
)
async def test_the_admins_paths_need_the_admins_key(house: House, path: str) -> None:
    tenant_key = await house.key("one")
    for headers in ({}, {"x-api-key": tenant_key}, {"authorization": f"Bearer {tenant_key}"}):
        assert (await house.http.get(path, headers=headers)).status_code == 401
    allowed = await house.http.get(path, headers={"authorization": f"Bearer {ADMIN_KEY}"})
    assert allowed.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"host": "127.0.0.1.evil.example"},
    ],
)
async def test_a_web_page_cannot_drive_an_open_server(
    house: House, headers: dict[str, str]
) -> None:
    assert (await house.ask(headers=headers)).status_code == 403
    assert house.asked == []


async def test_callers_with_their_own_key_are_apart(tmp_path: Path) -> None:
    async with House.open(tmp_path, credentials="caller") as house:
        for caller in ("sk-ant-ann", "sk-ant-bob"):
            answer = await house.ask(key=caller)
            assert came_from(answer)[0] == "miss"
        assert len({asked.account for asked in house.asked}) == 2
        assert came_from(await house.ask(key="sk-ant-ann"))[0] == "exact"


async def test_an_admin_key_is_never_sent_to_anthropic(tmp_path: Path) -> None:
    claude = AnyClaude()
    async with (
        serving(claude.app) as upstream,
        House.open(tmp_path, upstream=upstream, credentials="caller") as house,
    ):
        named = await house.http.post(
            "/admin/v1/admin-keys",
            json={"name": "ann", "role": "read"},
            headers={"x-api-key": ADMIN_KEY},
        )
        for key in (ADMIN_KEY, named.json()["key"]):
            for path in ("/v1/models", "/v1/agents", "/v1/of-tomorrow"):
                answer = await house.http.get(path, headers={"x-api-key": key})
                assert answer.status_code == 401, path
            assert (await house.ask(key=key)).status_code == 401
        assert claude.got == []


def _copy(given: dict[str, Any]) -> dict[str, Any]:
    return {k: dict(v) if isinstance(v, dict) else v for k, v in given.items()}


def _body(messages: list[dict[str, str]]) -> dict[str, Any]:
    return {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": messages}
