"""Declared questions through the front door: a prompt with documents, and a chat."""

from __future__ import annotations

import json
from asyncio import create_task, gather
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from cacheserver import AsyncClient
from cacheserver.client.types import BadRequestError
from cacheserver.core.money import usd
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import Fault
from tests.batches.house import BatchHouse, item
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, MODEL, House, came_from

QUESTION = "How long is the warranty of the X200?"
ALIKE = "How long does the X200's warranty last?"
ADMIN = {"x-api-key": ADMIN_KEY}


def echo(body: Mapping[str, Any]) -> Directives:
    """Claude says what its prompt begins with: answers are known by their documents."""
    content = body["messages"][0]["content"]
    words = content if isinstance(content, str) else content[0]["text"]
    return Directives(text=f"It says: {words}")


def prompt(document: str, asked: str = "Answer from the text: how long?") -> list[dict[str, Any]]:
    texts = [{"type": "text", "text": words} for words in (document, asked)]
    return [{"role": "user", "content": texts}]


async def allow(house: House, tenant: str = "default", **rules: Any) -> None:
    declared = {"declared": {"enabled": True, **rules}}
    done = await house.http.put(f"/admin/v1/tenants/{tenant}", json=declared, headers=ADMIN)
    assert done.status_code == 200, done.text
    house.parts.tenants.forget(tenant)


def headers(question: str = QUESTION, context: str = "kb@v1", **more: str) -> dict[str, str]:
    names = {"x-cache-question": question, "x-cache-context-blocks": "messages.-1.content"}
    return {**names, **({"x-cache-context": context} if context else {}), **more}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House.open(tmp_path, claude=echo, similarity=0.8) as house:
        await allow(house)
        yield house


async def ask(
    house: House, document: str, given: Mapping[str, str], **body: Any
) -> httpx2.Response:
    return await house.ask(messages=prompt(document), headers=given, **body)


async def test_prompts_with_other_documents_share_an_answer(house: House) -> None:
    first = await ask(house, "Two years.", headers())
    assert came_from(first) == ("miss", "empty")
    assert came_from(await ask(house, "24 months.", headers())) == ("exact", "identical")
    assert came_from(await ask(house, "2 yrs", headers(ALIKE))) == ("semantic", "similar")
    assert house.asked[0].body["messages"] == prompt("Two years.")
    assert len(house.asked) == 1


async def test_another_version_of_the_documents_is_asked_anew(house: House) -> None:
    await ask(house, "Two years.", headers())
    second = await ask(house, "Three years.", headers(context="kb@v2"))
    assert came_from(second) == ("miss", "empty")
    assert second.json()["content"][0]["text"] == "It says: Three years."
    assert came_from(await ask(house, "Two years.", headers(context=""))) == ("miss", "empty")


async def test_a_new_version_purges_the_answers_of_the_old_one(house: House) -> None:
    for document, context in (("One.", "kb@v1"), ("Two.", "kb@v2"), ("Both.", "kb@v1,kb@v2")):
        await ask(house, document, headers(context=context))
    purged = await house.http.post("/v1/purge", json={"context": "kb@v1"})
    assert purged.json() == {"purged": 2}
    assert came_from(await ask(house, "One.", headers()))[0] == "miss"
    assert came_from(await ask(house, "Two.", headers(context="kb@v2")))[0] == "exact"
    purged = await house.http.post("/v1/purge", json={"tag": "context:kb@v2"})
    assert purged.json() == {"purged": 1}
    refused = await house.http.post("/v1/purge", json={"context": "a b"})
    assert refused.status_code == 400
    assert "`context`" in refused.text


async def test_a_declared_question_and_a_plain_one_never_meet(house: House) -> None:
    await house.ask(QUESTION)
    assert came_from(await ask(house, "Two years.", headers(context=""))) == ("miss", "empty")
    assert came_from(await house.ask(QUESTION))[0] == "exact"
    assert came_from(await ask(house, "Two years.", headers(context="")))[0] == "exact"
    assert came_from(await house.ask(ALIKE))[0] == "semantic"
    assert len(house.asked) == 2


async def test_thinking_of_one_prompt_does_not_go_to_another(tmp_path: Path) -> None:
    def thoughtful(body: Mapping[str, Any]) -> Directives:
        return replace(echo(body), thinking=20)

    async with House.open(tmp_path, claude=thoughtful, similarity=0.8) as house:
        await allow(house, share_calls=True)
        first = await ask(house, "Ann's two years.", headers(), max_tokens=1_000)
        assert [block["type"] for block in first.json()["content"]] == ["thinking", "text"]
        again = await ask(house, "Bob's 24 months.", headers(), max_tokens=1_000)
        assert came_from(again) == ("exact", "identical")
        assert [block["type"] for block in again.json()["content"]] == ["text"]
        given = headers("How long does it take to ship?")
        both = await gather(
            *(ask(house, f"{who} 3 days.", given, max_tokens=1_000) for who in ("Ann", "Bob"))
        )
        kinds = {one.headers["x-cache"]: one.json()["content"] for one in both}
        assert [block["type"] for block in kinds["miss"]] == ["thinking", "text"]
        assert [block["type"] for block in kinds["coalesced"]] == ["text"]
        given = headers("How long may I send it back?")
        streams = await gather(
            *(
                ask(house, f"{who} 9 days.", given, max_tokens=1_000, stream=True)
                for who in ("Ann", "Bob")
            )
        )
        shown = {one.headers["x-cache"]: "thinking_delta" in one.text for one in streams}
        assert shown == {"miss": True, "coalesced": False}


async def test_what_was_not_named_still_separates(house: House) -> None:
    await ask(house, "Two years.", headers(), system="Be brief.")
    assert came_from(await ask(house, "24 months.", headers(), system="Be long."))[0] == "miss"
    given = headers(**{"x-cache-context-blocks": "messages.-1.content.0"})
    assert came_from(await ask(house, "Two years.", given, system="Be brief."))[0] == "miss"


async def test_two_tenants_never_meet(house: House) -> None:
    keys = {}
    for tenant in ("one", "two"):
        await allow(house, tenant)
        keys[tenant] = await house.key(tenant)
    for tenant in ("one", "two"):
        answer = await house.ask(
            messages=prompt(f"Of {tenant}."), headers=headers(), key=keys[tenant]
        )
        assert came_from(answer) == ("miss", "empty")
        assert answer.json()["content"][0]["text"] == f"It says: Of {tenant}."


async def test_the_decision_shows_what_was_declared(house: House) -> None:
    asked = await ask(house, "Two years.", headers(**{"x-cache-tags": "mine"}))
    id = asked.headers["x-cache-decision"]
    await house.parts.decision_log.flush()
    record = (await house.http.get(f"/v1/decisions/{id}")).json()
    assert record["declared"] == {
        "question": QUESTION,
        "context": ["kb@v1"],
        "blocks": ["messages.0.content.0:2"],
    }
    assert record["asked"] == QUESTION
    assert record["tags"] == ["mine", "context:kb@v1"]
    plain = await house.ask("How far is the moon?")
    await house.parts.decision_log.flush()
    id = plain.headers["x-cache-decision"]
    assert (await house.http.get(f"/v1/decisions/{id}")).json()["declared"] is None


async def test_marks_in_the_body_are_stripped_before_claude(house: House) -> None:
    messages = prompt("Two years.")
    for block in messages[0]["content"]:
        block["cache_context"] = True
    marks: dict[str, Any] = {"cache_question": QUESTION, "cache_context": ["kb@v1"]}
    first = await house.ask(messages=messages, **marks)
    assert came_from(first) == ("miss", "empty")
    assert house.asked[0].body["messages"] == prompt("Two years.")
    assert not marks.keys() & house.asked[0].body.keys()
    assert came_from(await ask(house, "24 months.", headers()))[0] == "exact"


async def test_the_official_sdk_marks_by_extra_fields(house: House) -> None:
    sdk = house.sdk()
    for document, kind in (("Two years.", "miss"), ("24 months.", "exact")):
        found = await sdk.messages.with_raw_response.create(
            model=MODEL,
            max_tokens=100,
            messages=prompt(document),  # type: ignore[arg-type]
            extra_headers=headers("UTF-8''" + quote("Wie lange gilt die Gewähr?")),
        )
        assert found.headers["x-cache"] == kind


@pytest.mark.parametrize(
    ("given", "body", "says"),
    [
        ({"x-cache-question": QUESTION}, {}, "`x-cache-context-blocks`: is required"),
        ({"x-cache-context": "kb"}, {}, "`x-cache-question`: is required"),
        (headers(**{"x-cache-context-blocks": "system"}), {}, "there is no `system`"),
        (headers(**{"x-cache-context-blocks": "tools"}), {}, "each name must be like"),
        (headers(context="a b"), {}, "`x-cache-context`: each key must be"),
        (headers("caf\xe9"), {}, "`x-cache-question`: must be printable ASCII"),
        ({}, {"cache_question": 7}, "`cache_question`: must be 1 to"),
        (headers("Another?"), {"cache_question": QUESTION}, "`x-cache-question`: is not what"),
    ],
)
async def test_bad_declarations_are_refused(
    house: House, given: dict[str, str], body: dict[str, Any], says: str
) -> None:
    refused = await house.http.post(
        "/v1/messages",
        json={"model": MODEL, "max_tokens": 9, "messages": prompt("Two years."), **body},
        headers=[(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    )
    assert refused.status_code == 400
    assert says in refused.json()["error"]["message"]
    assert not house.asked


async def test_a_tenant_must_opt_in_and_may_require_context(house: House) -> None:
    cases: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"enabled": False}, headers()),
        ({"require_context": True}, headers(context="")),
    ]
    for rules, given in cases:
        await allow(house, **rules)
        refused = await ask(house, "Two years.", given)
        assert refused.status_code == 400
        setting = "declared.enabled" if "enabled" in rules else "declared.require_context"
        assert setting in refused.json()["error"]["message"]
    field = await house.http.post(
        "/v1/query", json={"prompt": "a", "question": "q", "context_blocks": ["messages"]}
    )
    assert field.status_code == 400
    assert field.json()["error"]["message"].startswith("`context`:")


async def test_query_takes_fields_and_its_prompt_is_a_turn(house: House) -> None:
    fields = {"question": QUESTION, "context": "kb@v1", "context_blocks": ["messages.-1"]}
    for document, kind in (("Two years.", "miss"), ("24 months.", "exact")):
        asked = {"prompt": document, "model": MODEL, **fields}
        answer = await house.http.post("/v1/query", json=asked)
        assert answer.json()["decision"]["kind"] == kind
    missing = {"prompt": "a", **fields, "context_blocks": ["system.0"]}
    refused = await house.http.post("/v1/query", json=missing)
    assert refused.status_code == 400
    assert (
        refused.json()["error"]["message"] == "`context_blocks`: there is no `system.0` in the body"
    )


async def test_the_client_declares_and_purges(house: House) -> None:
    client = AsyncClient(house.url)
    given: Any = {"context": ["kb@v1"], "context_blocks": ["messages"], "model": MODEL}
    first = await client.query("Two years.", question=QUESTION, **given)
    second = await client.query("24 months.", question=ALIKE, **given)
    assert (first.decision.kind, second.decision.kind) == ("miss", "semantic")
    assert second.text == "It says: Two years."
    assert await client.purge(context="kb@v1") == 1
    with pytest.raises(BadRequestError, match="context_blocks"):
        await client.query("Two years.", question=QUESTION)
    await client.close()


async def test_a_chat_declares_all_its_turns(house: House) -> None:
    """Users with histories of their own ask the same; the answer rests on the help pages."""
    for history in ([], ["Hi"], ["Hello", "Do you sell phones?"]):
        turns: list[dict[str, Any]] = []
        for said in history:
            turns += [{"role": "user", "content": said}, {"role": "assistant", "content": "Yes?"}]
        turns.append({"role": "user", "content": "And how long is its warranty?"})
        given = headers(**{"x-cache-context-blocks": "messages"})
        answer = await house.ask(messages=turns, headers=given)
        assert came_from(answer)[0] == ("exact" if history else "miss")


async def test_a_conversation_of_ours_declares_its_turns_too(house: House) -> None:
    fields: dict[str, Any] = {"context_blocks": ["messages"], "context": "kb@v1", "model": MODEL}
    kinds = []
    for talk in ("a", "b"):
        for said, question in (("Hi", "A greeting"), ("How long?", QUESTION)):
            asked = {"prompt": said, "conversation": talk, "question": question, **fields}
            answer = await house.http.post("/v1/query", json=asked)
            kinds.append(answer.json()["decision"]["kind"])
    assert kinds == ["miss", "miss", "exact", "exact"]
    turns = (await house.http.get("/v1/conversations/b")).json()
    assert "How long?" in str(turns)


async def test_a_conversation_keeps_turns_without_marks(house: House) -> None:
    marked = {"role": "user", "content": "How long?", "cache_context": True}
    asked = {"messages": [marked], "conversation": "a", "question": QUESTION, "context": "kb@v1"}
    assert (await house.http.post("/v1/query", json=asked)).status_code == 200
    turns = (await house.http.get("/v1/conversations/a")).json()["messages"]
    assert turns[0] == {"role": "user", "content": "How long?"}
    again = await house.http.post("/v1/query", json={"prompt": "And?", "conversation": "a"})
    assert again.status_code == 200, again.text


async def test_an_erased_tag_takes_declared_questions_with_it(house: House) -> None:
    asked = await ask(house, "Two years.", headers())
    await house.parts.decision_log.flush()
    erased = await house.http.post("/v1/erase", json={"tag": "context:kb@v1"})
    assert erased.status_code == 200, erased.text
    id = asked.headers["x-cache-decision"]
    assert (await house.http.get(f"/v1/decisions/{id}")).status_code == 404
    assert came_from(await ask(house, "Two years.", headers()))[0] == "miss"


async def test_an_erased_namespace_takes_labels_that_outlive_their_decisions(
    tmp_path: Path,
) -> None:
    fixed = Directives(text="Berlin has been the capital of Germany since 1990.")
    chosen: dict[str, Any] = {"claude": lambda body: fixed, "similarity": None, "target": 0.01}
    async with House.open(tmp_path, **chosen) as house:
        await allow(house)
        redis = house.parts.host.store.redis
        for space in ("mine", "other"):
            more = {"x-cache-namespace": space}
            await ask(house, "Two years.", headers("How do I reset my password?", **more))
            miss = await ask(house, "Two years.", headers("how to reset a password", **more))
            assert came_from(miss)[0] == "miss"
        await house.parts.calibration.learner.idle()
        await house.parts.decision_log.flush()
        assert len(await redis.keys("cs1:labels:*")) == 2
        await redis.delete(*await redis.keys("cs1:d:*"))  # a day later
        erased = await house.http.post("/v1/erase", json={"namespace": "mine"})
        assert erased.json()["removed"]["labels"] == 1
        (left,) = await redis.keys("cs1:labels:*")
        rows: Any = await redis.xrange(left)
        assert [json.loads(row[b"l"])["namespace"] for _, row in rows] == ["other"]


# Calls under way


def at_length(body: Mapping[str, Any]) -> Directives:
    return Directives(words=400, fault=Fault("slow", delay_s=0.5))


@pytest.mark.parametrize("share", [False, True])
async def test_calls_are_shared_where_the_operator_says_so(tmp_path: Path, share: bool) -> None:
    async with House.open(tmp_path, claude=at_length) as house:
        await allow(house, share_calls=share)
        first = create_task(ask(house, "Two years.", headers(), max_tokens=4_000))
        await until(lambda: len(house.asked) == 1)
        long = "24 months. " * 200
        second = await ask(house, long, headers(), max_tokens=4_000)
        assert came_from(await first)[0] == "miss"
        assert came_from(second)[0] == ("coalesced" if share else "miss")
        if share:  # it saved what its own prompt would have cost, not the one that was sent
            again = await ask(house, long, headers(context="kb@v2"), max_tokens=4_000)
            assert second.headers["x-saved-usd"] == again.headers["x-cost-usd"]


# Queued work


@pytest.fixture
async def batches(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path, claude=echo) as house:
        await allow(house)
        yield house


async def test_items_of_a_batch_are_marked_in_their_bodies(batches: BatchHouse) -> None:
    marks = {"cache_question": QUESTION, "cache_context": "kb@v1"}
    messages = prompt("Two years.")
    for block in messages[0]["content"]:
        block["cache_context"] = True
    first = await ask(batches, "24 months.", headers())
    assert came_from(first)[0] == "miss"
    other = prompt("Three years.")
    other[0]["content"][0]["cache_context"] = True
    items = [
        item("same", messages=messages, **marks),
        item("other", messages=other, **{**marks, "cache_context": "kb@v2"}),
        item("half", messages=messages),
    ]
    made = await batches.http.post("/v1/messages/batches", json={"requests": items})
    assert made.status_code == 200, made.text
    batches.clock.ahead_s += 60
    assert (await batches.ended(made.json()["id"]))["counts"]["succeeded"] == 2
    lines = await batches.http.get(f"/v1/messages/batches/{made.json()['id']}/results")
    by_id = {line["custom_id"]: line["result"] for line in map(json.loads, lines.text.splitlines())}
    assert by_id["same"]["message"]["content"][0]["text"] == "It says: 24 months."
    assert by_id["other"]["message"]["content"][0]["text"] == "It says: Three years."
    assert "`x-cache-question`: is required" in str(by_id["half"])
    for sent in batches.sent:
        assert "cache_" not in str(sent)


async def test_a_batch_has_no_question_of_its_own(batches: BatchHouse) -> None:
    refused = await batches.http.post(
        "/v1/messages/batches", json={"requests": [item("a")]}, headers=headers()
    )
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("`x-cache-question`: stands for one")


async def test_a_job_keeps_what_was_declared(batches: BatchHouse) -> None:
    fields: dict[str, Any] = {"question": QUESTION, "context": ["kb@v1"]}
    fields["context_blocks"] = ["messages.-1"]
    taken = await batches.job("Two years.", deadline=600, **fields)
    assert taken.status_code == 202, taken.text
    batches.clock.ahead_s += 60
    job = await batches.ended(taken.json()["id"])
    assert job["counts"]["succeeded"] == 1
    asked = {"prompt": "24 months.", "model": MODEL, **fields}
    again = await batches.http.post("/v1/query", json=asked)
    assert again.json()["decision"]["kind"] == "exact"
    purged = await batches.http.post("/v1/purge", json={"context": "kb@v1"})
    assert purged.json() == {"purged": 1}


# Money


@pytest.mark.parametrize("times", [2_000, 20])
async def test_a_hit_saves_what_its_own_prompt_would_have_cost(tmp_path: Path, times: int) -> None:
    """The stored answer is of a longer or a shorter prompt; Claude's invoice is the measure."""
    stored, asked = "One year. " * times, "Two years. " * 200
    answer = Directives(text="It says the same. " * 10)
    async with BatchHouse.start(tmp_path, claude=lambda body: answer, similarity=0.8) as house:
        await allow(house)
        await ask(house, stored, headers())
        hits = [await ask(house, asked, headers(one)) for one in (QUESTION, ALIKE)]
        assert [came_from(one)[0] for one in hits] == ["exact", "semantic"]
        messages = prompt(asked)
        for block in messages[0]["content"]:
            block["cache_context"] = True
        marked = item("a", messages=messages, cache_question=QUESTION, cache_context="kb@v1")
        made = await house.http.post("/v1/messages/batches", json={"requests": [marked]})
        await house.ended(made.json()["id"])
        lines = await house.http.get(f"/v1/messages/batches/{made.json()['id']}/results")
        batched = json.loads(lines.text)["cache"]
        await ask(house, asked, {})  # nothing declared: Claude is asked
        charged = house.upstream.invoice[-1].nanodollars
        assert {one.headers["x-saved-usd"] for one in hits} == {usd(charged)}
        assert (batched["kind"], batched["saved_usd"]) == ("exact", usd(round(charged / 2)))

        fields: dict[str, Any] = {"question": QUESTION, "context": ["kb@v1"]}
        fields["context_blocks"] = ["messages.-1"]
        await house.http.post("/v1/query", json={"prompt": stored, "model": MODEL, **fields})
        taken = await house.job(asked, deadline=600, **fields)
        job = (await house.ended(taken.json()["id"]))["result"]
        plain = {"prompt": asked, "model": MODEL, "levers_off": ["prompt-caching"]}
        await house.http.post("/v1/query", json=plain)
        charged = house.upstream.invoice[-1].nanodollars
        assert (job["kind"], job["saved_usd"]) == ("exact", usd(charged))
