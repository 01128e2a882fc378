"""A server whose embedder is an endpoint: similar hits, and what happens while it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cacheserver.config.settings import Settings
from cacheserver.in_process import open_cache
from tests.embedding.servers import saying, serving, shaped
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
