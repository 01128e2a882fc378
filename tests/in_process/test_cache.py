"""The cache inside a process: the same service, the same client, no server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cacheserver.client import BadRequestError, NotCachedError, UpstreamFailed
from cacheserver.config.settings import Settings, load
from cacheserver.core.errors import SettingsError
from cacheserver.in_process import Cache, open_cache
from tests.hostile.raw import until
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
        with pytest.raises(NotCachedError):
            await cache.query(QUESTION, cache="only")


async def test_an_erasure_takes_what_one_person_asked(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        await cache.query(QUESTION, actor="ann")
        await cache.query("What is the capital of Peru?", actor="bob")
        assert (await cache.erase(actor="ann"))["removed"]["answers"] == 1
        with pytest.raises(NotCachedError):
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
        with pytest.raises(BadRequestError) as raised:
            await cache.query(QUESTION, namespace="a b")
        assert "`namespace`" in raised.value.message


async def test_it_has_the_whole_client_and_the_admins_routes(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path), tenant="shop") as cache:
        stored = await cache.put("How long do refunds take?", "Five days.", tags=["faq"])
        assert stored.unstored is None
        found = await cache.get("How long do refunds take?")
        assert found is not None
        assert (found.text, found.origin, found.decision.kind) == ("Five days.", "own", "exact")
        assert await cache.get("Never asked?") is None
        assert (await cache.usage())["totals"]["requests"] == 2
        http = cache._http
        overview = (await http.get("http://x/admin/v1/tenants")).json()
        assert overview["items"] is not None
        # An admin's act is in the trail, under the process's name.
        put = await http.put("http://x/admin/v1/tenants/shop", json={"stale_s": 60})
        assert put.status_code == 200, put.text
        trail = (await http.get("http://x/admin/v1/audit-trail")).json()
        assert trail["items"][0]["who"] == "process", trail


async def test_opened_in_one_task_and_closed_in_another(tmp_path: Path) -> None:
    """The order of a notebook, where each cell is a task."""
    cache = await asyncio.create_task(_opened(tmp_path))
    assert (await cache.query(QUESTION)).decision.kind == "miss"
    await asyncio.create_task(cache.close())
    await cache.close()
    with pytest.raises(RuntimeError, match="the cache is closed"):
        await cache.query(QUESTION)


async def _opened(folder: Path) -> Cache:
    return await open_cache(settings(folder))


async def test_what_an_operator_must_change_is_raised_and_nothing_is_left_running(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    wrong = settings(tmp_path / "file" / "below")
    with pytest.raises((SettingsError, OSError)):
        await open_cache(wrong)
    assert len(asyncio.all_tasks()) == 1


async def test_a_stream_leaves_piece_by_piece(tmp_path: Path) -> None:
    async with (
        open_cache(settings(tmp_path)) as cache,
        cache.stream("Long? [[sim words=300 hang=5]]") as stream,
    ):
        seen = 0
        async for _ in stream:  # Claude says nothing more after its fifth event
            seen += 1
            if seen == 4:
                break
    assert seen == 4


async def test_a_caller_that_leaves_is_told_to_the_service(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        asking = asyncio.create_task(cache.query("Never? [[sim hang=0]]"))
        transport = cache._opened.transport
        await until(lambda: bool(transport._running))
        (task,) = transport._running
        asking.cancel()
        await asyncio.wait({asking})
        await asyncio.wait({task}, timeout=10)
        assert task.done()


async def test_claudes_errors_have_its_status(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:
        with pytest.raises(UpstreamFailed) as failed:
            await cache.query("Q? [[sim error=529 should_retry=false]]")
        assert failed.value.status == 529


async def test_another_loop_is_refused(tmp_path: Path) -> None:
    async with open_cache(settings(tmp_path)) as cache:

        def elsewhere() -> str:
            try:
                asyncio.run(_ask(cache))
            except RuntimeError as error:
                return str(error)
            return "answered"

        assert "another event loop" in await asyncio.to_thread(elsewhere)


async def _ask(cache: Cache) -> None:
    await cache.query(QUESTION)


def test_the_environment_is_read_beside_the_settings_given() -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-x", "CACHESERVER_SIMILARITY": "0.9"}
    mine = Settings(similarity=0.97)
    both = load(environ, given=mine)
    assert (both.similarity, both.data_dir) == (0.97, Settings().data_dir)
    assert both.anthropic_api_key is not None
    assert both.anthropic_api_key.get_secret_value() == "sk-ant-x"
    assert load({}, given=mine).anthropic_api_key is None
    with pytest.raises(SettingsError, match="CACHESERVER_SIMILRITY"):
        load({"CACHESERVER_SIMILRITY": "1"}, given=mine)
    sealed = Settings(encryption_key_file=Path("k"))
    with pytest.raises(SettingsError, match="ENCRYPTION_GIVE_UP"):  # both sources, checked as one
        load({"CACHESERVER_ENCRYPTION_GIVE_UP": "true"}, given=sealed)


def test_every_setting_may_be_given_again() -> None:
    """Values that were checked once pass the check, and stay what they are."""
    plain = {name: getattr(Settings(), name) for name in Settings.model_fields}
    whole = Settings(**{n: v for n, v in plain.items() if not n.startswith("embedder_")})
    assert load({}, given=whole) == whole
