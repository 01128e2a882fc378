"""The cache inside a process: the same service, the same answers, no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cacheserver.config.settings import Settings
from cacheserver.core.errors import BadRequest, NotCached
from cacheserver.in_process import open_cache
from tests.models import model_dir

QUESTION = "What is the capital of France?"


def settings(data_dir: Path, **more: Any) -> Settings:
    return Settings(data_dir=data_dir, model_dir=model_dir(), upstream="simulated", **more)


async def test_a_question_its_repeat_and_its_paraphrase(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        await cache.ready()
        first = await cache.query(QUESTION, tags=["geo"])
        again = await cache.query(QUESTION)
        similar = await cache.query("What's the capital of France?")
        assert [a.decision.kind for a in (first, again, similar)] == ["miss", "exact", "semantic"]
        assert first.text == again.text == similar.text
        assert first.cost_usd == again.saved_usd
        assert first.cost_usd is not None
        assert first.cost_usd > 0
        assert similar.decision.matched == QUESTION
        stats = await cache.stats()
        assert (stats["requests"], stats["hit_rate"]) == (3, 0.666667)
        assert first.decision_id is not None
        decision = await cache.decision(first.decision_id)
        assert decision is not None
        assert decision["tags"] == ["geo"]
        assert await cache.purge(tag="geo") == 1
        with pytest.raises(NotCached):
            await cache.query(QUESTION, cache="only")


async def test_an_erasure_takes_what_one_person_asked(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        await cache.query(QUESTION, actor="ann")
        await cache.query("What is the capital of Peru?", actor="bob")
        assert (await cache.erase(actor="ann"))["removed"]["answers"] == 1
        with pytest.raises(NotCached):
            await cache.query(QUESTION, cache="only")
        other = await cache.query("What is the capital of Peru?", cache="only")
        assert other.decision.kind == "exact"


async def test_it_streams(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        texts = []
        for _ in range(2):
            async with cache.stream(QUESTION) as events:
                kinds, text = [], ""
                async for event in events:
                    kinds.append(event["type"])
                    text += event.get("delta", {}).get("text", "")
            assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
            texts.append(text)
        assert texts[0] == texts[1] != ""


async def test_what_was_stored_is_there_the_next_time(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        await cache.query(QUESTION)
    async with open_cache(settings(tmp_path)) as cache:
        assert (await cache.query(QUESTION)).decision.kind == "exact"
        await cache.ready()
        similar = await cache.query("What's the capital of France?")
        assert similar.decision.kind == "semantic"


async def test_tenants_are_apart_here_too(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path), tenant="one") as cache:
        await cache.query(QUESTION)
    async with open_cache(settings(tmp_path), tenant="two") as cache:
        assert (await cache.query(QUESTION)).decision.kind == "miss"


async def test_wrong_fields_are_refused_by_name(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        with pytest.raises(BadRequest) as raised:
            await cache.query(QUESTION, namespace="a b")
        assert raised.value.field == "namespace"
