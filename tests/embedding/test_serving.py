"""A server whose embedder is an endpoint: similar hits, and what happens while it fails."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cacheserver.cache.store import reembedding
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.in_process import open_cache
from tests.embedding.servers import saying, serving, shaped
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, House

ASKED = "What is the capital of France?"
TWIN = "What's the capital of France?"
OTHER = "How do I water a cactus?"


def reason(response: Any) -> tuple[str, str]:
    return response.headers["x-cache"], response.headers["x-cache-reason"]


async def test_similar_questions_hit_and_a_failing_endpoint_is_a_miss(tmp_path: Path) -> None:
    with serving(shaped()) as endpoint:
        async with House.open(
            tmp_path, embedder=endpoint.url, similarity=None, embedder_timeout_s=5
        ) as house:
            await house.ask(ASKED)
            assert (await house.ask(TWIN)).headers["x-cache"] == "semantic"
            endpoint.reply = saying({}, 500)
            asked = "What is the capital city of Peru?"
            assert reason(await house.ask(asked)) == ("miss", "embedder")
            assert reason(await house.ask(ASKED)) == ("exact", "identical")
            assert reason(await house.ask(asked)) == ("exact", "identical")
            only = await house.ask(OTHER, headers={"cache-control": "only-if-cached"})
            assert (only.status_code, reason(only)) == (404, ("miss", "embedder"))
            metrics = await house.http.get("/metrics", headers={"x-api-key": ADMIN_KEY})
            assert 'cacheserver_swallowed_total{site="embed"}' in metrics.text


async def test_a_request_waits_once_for_an_endpoint_that_hangs(tmp_path: Path) -> None:
    release = threading.Event()

    def hanging(body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        release.wait(20)
        return shaped()(body)

    with serving(shaped()) as endpoint:
        async with House.open(
            tmp_path, embedder=endpoint.url, similarity=None, embedder_timeout_s=0.1
        ) as house:
            endpoint.reply = hanging
            try:
                assert reason(await house.ask(ASKED)) == ("miss", "embedder")
                assert reason(await house.ask(ASKED)) == ("exact", "identical")
                asked = [ASKED in body["input"] for _, _, body in endpoint.requests]
                assert asked.count(True) == 1
            finally:
                release.set()


async def test_a_server_starts_and_serves_exact_hits_while_its_endpoint_is_away(
    tmp_path: Path,
) -> None:
    with serving(shaped()) as endpoint:
        settings = Settings(
            data_dir=tmp_path, embedder=endpoint.url, embedder_timeout_s=5, upstream="simulated"
        )
        async with open_cache(settings) as cache:
            await cache.query(ASKED)
        endpoint.reply = saying({}, 503)
        async with open_cache(settings) as cache:
            await cache.ready()
            assert (await cache.query(ASKED)).decision.kind == "exact"
            twin = await cache.query(TWIN)
            assert (twin.decision.kind, twin.decision.reason) == ("miss", "embedder")
            endpoint.reply = shaped(64)  # back with another model
            other = await cache.query(OTHER)
            assert (other.decision.kind, other.decision.reason) == ("miss", "embedder")
            endpoint.reply = shaped()
            again = await cache.query("What is the capital of France")
            assert again.decision.kind == "semantic"


async def test_no_vector_of_another_model_is_used_or_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is swapped under the server; then it is back."""
    monkeypatch.setattr(reembedding, "_BACK_S", 0.0)
    with serving(shaped()) as endpoint:
        async with House.open(
            tmp_path, embedder=endpoint.url, similarity=None, embedder_timeout_s=5
        ) as house:
            await house.ask(ASKED)
            endpoint.reply = shaped(seed="another")
            assert reason(await house.ask(TWIN)) == ("miss", "embedder")
            assert reason(await house.ask(ASKED)) == ("exact", "identical")
            assert len(house.parts.entries.index) == 1
            ready = (await house.http.get("/readyz")).json()
            assert (ready["ready"], ready["embedder"]) == (True, "changed")
            admin = {"x-api-key": ADMIN_KEY}
            stats = (await house.http.get("/admin/v1/stats", headers=admin)).json()
            assert "another vector" in stats["embedder"]["model_changed"]
            metrics = (await house.http.get("/metrics", headers=admin)).text
            assert 'swallowed_total{site="embedder-changed"} 1.0' in metrics
            endpoint.reply = shaped()
            assert (await house.ask(OTHER)).headers["x-cache-reason"] != "embedder"
            assert (await house.http.get("/readyz")).json()["embedder"] == "ok"
            # The twin's answer gets its vector behind the requests.
            await until(lambda: len(house.parts.entries.index) == 3)


async def test_a_store_knows_its_model_also_on_another_machine(
    tmp_path: Path, url: str, prefix: str
) -> None:
    def settings(folder: str) -> Settings:
        return Settings(
            data_dir=tmp_path / folder,
            redis_url=SecretStr(url),
            redis_prefix=prefix[1:],
            embedder=endpoint.url,
            embedder_timeout_s=5,
            upstream="simulated",
        )

    with serving(shaped()) as endpoint:
        async with open_cache(settings("one")) as cache:
            await cache.query(ASKED)
        endpoint.reply = shaped(seed="another")
        with pytest.raises(SettingsError, match="`CACHESERVER_EMBEDDER_MODEL`"):
            async with open_cache(settings("fresh")):
                pass
        endpoint.reply = shaped()
        async with open_cache(settings("third")) as cache:
            await cache.ready()
            assert (await cache.query(TWIN)).decision.kind == "semantic"
