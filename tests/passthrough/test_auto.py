"""`auto` is a model for `count_tokens` and `models` too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import anthropic
import pytest

from cacheserver.core.rules.routing import Haiku
from tests.house import House

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def counted(house: House) -> str:
    counts = [r for r in house.upstream.requests if r.path.endswith("count_tokens")]
    return str(counts[-1].body["model"])


async def test_tokens_of_auto_are_counted_with_the_model_that_a_question_goes_to(
    house: House,
) -> None:
    for headers in ({"x-cache-task": "extraction"}, {"x-cache-task": "code"},
                    {"x-cache-deep-analysis": "true"}, {"x-cache-off": "routing"}, {}):  # fmt: skip
        body = {"model": "auto", "messages": QUESTION}
        count = await house.http.post("/v1/messages/count_tokens", json=body, headers=headers)
        assert count.json()["input_tokens"] > 0, count.text
        asked = {**body, "max_tokens": 50}
        answer = await house.http.post("/v1/messages", json=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        assert counted(house) == house.asked[-1].body["model"], headers
        assert count.headers["x-cache-route"].startswith(f"{counted(house)}; ")
    assert {r.body["model"] for r in house.asked} == {HAIKU, SONNET, OPUS}


async def test_a_named_models_count_goes_up_to_the_byte(house: House) -> None:
    raw = json.dumps({"messages": QUESTION, "model": HAIKU}, indent=3).encode()
    answer = await house.http.post("/v1/messages/count_tokens", content=raw)
    assert answer.status_code == 200, answer.text
    assert house.upstream.requests[-1].raw == raw
    assert "x-cache-route" not in answer.headers


async def test_a_count_asks_no_model_how_hard_it_is(house: House) -> None:
    tenant = await house.parts.tenants.get("default")
    routing = replace(tenant.routing, haiku=Haiku(ask="always"))
    await house.parts.tenants.put(replace(tenant, routing=routing))
    body = {"model": "auto", "messages": QUESTION}
    assert (await house.http.post("/v1/messages/count_tokens", json=body)).status_code == 200
    assert house.asked == []


async def test_auto_is_listed_first_and_once(house: House) -> None:
    claude = house.sdk()
    models = [model.id async for model in claude.models.list(limit=2)]
    assert models[0] == "auto"
    assert models.count("auto") == 1
    assert {HAIKU, SONNET, OPUS} < set(models)
    assert (await claude.models.retrieve("auto")).display_name.startswith("Auto")
    assert (await claude.models.retrieve(HAIKU)).id == HAIKU
    with pytest.raises(anthropic.NotFoundError):
        await claude.models.retrieve("automatic")


async def test_with_own_keys_the_count_is_the_callers(tmp_path: Path) -> None:
    async with House.open(tmp_path, credentials="caller") as house:
        claude = house.sdk("sk-ant-mine")
        count = await claude.messages.count_tokens(model="auto", messages=QUESTION)  # type: ignore[arg-type]
        assert count.input_tokens > 0
        assert (await claude.models.retrieve("auto")).id == "auto"
        with pytest.raises(anthropic.BadRequestError):
            await claude.messages.count_tokens(model="auto", messages=[])
