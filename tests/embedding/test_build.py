"""The embedder that the settings choose: what it brings, and what is refused by name."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cacheserver.cache.build import Embedding
from cacheserver.config.settings import Settings, load
from cacheserver.core.errors import SettingsError
from cacheserver.embedding import build as build_module
from cacheserver.embedding import prior_file
from cacheserver.embedding.build import build
from cacheserver.embedding.prior_file import write_prior
from cacheserver.index.export import EMBEDDER_ID, PRIOR
from cacheserver.matching.cosine_scale import CosineScale
from cacheserver.matching.prior import MINILM, Prior
from tests.embedding.servers import Server, saying, serving, shaped
from tests.models import model_dir

KEY = "sk-embeddings-secret"


URL = {"CACHESERVER_EMBEDDER": "http://gpu"}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(shaped()) as running:
        yield running


async def opened(data_dir: Path, **settings: Any) -> Embedding:
    async with build(Settings(data_dir=data_dir, **settings)) as embedding:
        return embedding


async def refused(data_dir: Path, **settings: Any) -> str:
    with pytest.raises(SettingsError) as error:
        await opened(data_dir, **settings)
    return str(error.value)


async def test_minilm_is_the_default_with_its_own_prior(tmp_path: Path) -> None:
    found = await opened(tmp_path, model_dir=model_dir())
    assert (found.embedder.id, found.prior, found.limit_s) == (EMBEDDER_ID, MINILM, None)


async def test_an_exported_folder_is_served_as_it_is(tmp_path: Path) -> None:
    found = await opened(tmp_path, embedder=str(model_dir()))
    assert (found.embedder.id, found.prior) == (EMBEDDER_ID, MINILM)


async def test_a_prefix_of_ones_own_makes_another_embedder_without_a_prior(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    found = await opened(tmp_path, embedder=str(model_dir()), embedder_prefix="query: ")
    assert found.embedder.id.startswith(f"{EMBEDDER_ID}:prefix-")
    assert not found.prior.fitted
    assert "serve twins only" in caplog.text


@pytest.mark.parametrize("embedder", ["./nowhere", "~/nowhere/at/all", "/nowhere"])
async def test_a_folder_that_is_none_is_refused(tmp_path: Path, embedder: str) -> None:
    assert "`CACHESERVER_EMBEDDER`" in (said := await refused(tmp_path, embedder=embedder))
    assert "is not a folder" in said


async def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    said = await refused(tmp_path / "data", embedder=str(tmp_path / "photos"))
    assert "`CACHESERVER_EMBEDDER`" in said
    assert "no sentence-transformers model" in said
    assert not (tmp_path / "data" / "models").exists()


async def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    shutil.copytree(model_dir(), tmp_path / "model")
    (tmp_path / "model" / "model.onnx").write_bytes(b"half a model")
    said = await refused(tmp_path, embedder=str(tmp_path / "model"))
    assert "`CACHESERVER_EMBEDDER`" in said


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"CACHESERVER_EMBEDDER": "ftp://models"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER": "minlm"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER": "MiniLM"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER": "http://"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER": "http://me:secret@gpu/v1"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER": "http://gpu/v1?key=secret"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER_MODEL": "e5"}, "CACHESERVER_EMBEDDER_MODEL"),
        ({"CACHESERVER_EMBEDDER_KEY": "secret"}, "CACHESERVER_EMBEDDER_KEY"),
        ({"CACHESERVER_EMBEDDER_PREFIX": "query: "}, "CACHESERVER_EMBEDDER_PREFIX"),
        ({"CACHESERVER_EMBEDDER_TIMEOUT_S": "0"}, "CACHESERVER_EMBEDDER_TIMEOUT_S"),
        ({"CACHESERVER_EMBEDDER_TIMEOUT_S": "2"}, "CACHESERVER_EMBEDDER_TIMEOUT_S"),
        ({"CACHESERVER_EMBEDDER_MAX_BYTES": "250"}, "CACHESERVER_EMBEDDER_MAX_BYTES"),
        ({"CACHESERVER_EMBEDDER": "~nobody-here/e5"}, "CACHESERVER_EMBEDDER"),
        ({"CACHESERVER_EMBEDDER_PRIOR": "~nobody-here/e5.json"}, "CACHESERVER_EMBEDDER_PRIOR"),
        ({**URL, "CACHESERVER_EMBEDDER_KEY": "sécret"}, "CACHESERVER_EMBEDDER_KEY"),
        ({**URL, "CACHESERVER_EMBEDDER_MODEL": "e5\udcff"}, "CACHESERVER_EMBEDDER_MODEL"),
        ({**URL, "CACHESERVER_EMBEDDER_PREFIX": "q\udcff"}, "CACHESERVER_EMBEDDER_PREFIX"),
        (
            {
                **URL,
                "CACHESERVER_EMBEDDER_PREFIX": "é" * 20,
                "CACHESERVER_EMBEDDER_MAX_BYTES": "40",
            },
            "CACHESERVER_EMBEDDER_PREFIX",
        ),
        ({"ANTHROPIC_API_KEY": "sécret"}, "CACHESERVER_ANTHROPIC_API_KEY"),
        ({"CACHESERVER_EMBEDER": "minilm"}, "CACHESERVER_EMBEDER"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=f"`{named}`") as error:
        load(wrong)
    assert "secret" not in str(error.value)


async def test_an_empty_prefix_is_set_and_takes_away_the_models_own(tmp_path: Path) -> None:
    shutil.copytree(model_dir(), tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "model.json").read_text())
    manifest = {**manifest, "format": 2, "prefix": "query: "}
    (tmp_path / "model" / "model.json").write_text(json.dumps(manifest))
    chosen = {"CACHESERVER_EMBEDDER": str(tmp_path / "model")}
    assert ":prefix-" in build_module.load(load(chosen)).embedder.id
    without = build_module.load(load({**chosen, "CACHESERVER_EMBEDDER_PREFIX": ""}))
    assert without.embedder.id == EMBEDDER_ID
    load({"CACHESERVER_EMBEDDER_PREFIX": ""})  # none is what `minilm` has


async def test_a_prefix_that_the_model_does_not_read_is_refused(tmp_path: Path) -> None:
    said = await refused(tmp_path, embedder=str(model_dir()), embedder_prefix="\N{GRINNING FACE}: ")
    assert said.startswith("`CACHESERVER_EMBEDDER_PREFIX`")


async def test_an_endpoint_is_probed_and_remembered(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "key").write_text(f"{KEY}\n")
    chosen: dict[str, Any] = {
        "embedder": server.url,
        "embedder_model": "tests",
        "embedder_key_file": tmp_path / "key",
        "embedder_timeout_s": 0.7,
    }
    found = await opened(tmp_path / "data", **chosen)
    assert (found.embedder.dim, found.limit_s, found.prior.fitted) == (32, 0.7, False)
    assert server.requests[0][1]["authorization"] == f"Bearer {KEY}"
    # Away at the next start: the server starts all the same.
    server.reply = saying({}, 503)
    again = await opened(tmp_path / "data", **chosen)
    assert (again.embedder.id, again.embedder.dim) == (found.embedder.id, 32)
    assert "endpoint is away" in caplog.text
    assert KEY not in caplog.text


async def test_an_endpoint_that_never_answered_is_refused(tmp_path: Path, server: Server) -> None:
    server.reply = saying({}, 401)
    said = await refused(tmp_path, embedder=server.url)
    assert "`CACHESERVER_EMBEDDER`" in said
    assert "401" in said


@pytest.mark.parametrize(
    ("now", "why"), [(shaped(64), "64 dimensions"), (shaped(32, "other"), "another vector")]
)
async def test_another_model_behind_the_address_is_refused(
    tmp_path: Path, server: Server, now: Any, why: str
) -> None:
    await opened(tmp_path, embedder=server.url)
    server.reply = now
    said = await refused(tmp_path, embedder=server.url)
    assert "`CACHESERVER_EMBEDDER_MODEL`" in said
    assert why in said
    named = await opened(tmp_path, embedder=server.url, embedder_model="the-new-one")
    assert named.embedder.id.startswith("endpoint:the-new-one:")
    server.reply = shaped(32)  # and back, under the old name
    assert (await opened(tmp_path, embedder=server.url)).embedder.dim == 32


@pytest.mark.parametrize("probe", [["x"] * 32, [None] * 32, [float("nan")] * 32, [], [0.5]])
async def test_a_probe_that_cannot_be_read_is_made_anew(
    tmp_path: Path, server: Server, probe: list[Any]
) -> None:
    await opened(tmp_path, embedder=server.url)
    file = tmp_path / "embedder.json"
    written = file.read_text()
    kept = json.loads(written)
    (about,) = kept["endpoints"].values()
    about["probe"] = probe
    file.write_text(json.dumps(kept))
    await opened(tmp_path, embedder=server.url)
    assert file.read_text() == written


async def test_an_endpoint_that_does_not_tell_questions_apart_is_refused(
    tmp_path: Path, server: Server
) -> None:
    server.reply = lambda body: shaped()({"input": ["the same"] * len(body["input"])})
    assert "same vector" in await refused(tmp_path, embedder=server.url)


FITTED = Prior(dict(MINILM.weights), CosineScale(((0.7, 0.1), (1.0, 1.0))))


async def test_a_prior_beside_the_model_is_used_and_only_for_it(tmp_path: Path) -> None:
    shutil.copytree(model_dir(), tmp_path / "model")
    write_prior(tmp_path / "model" / PRIOR, EMBEDDER_ID, FITTED, {"data": "tests"})
    found = await opened(tmp_path, embedder=str(tmp_path / "model"))
    assert found.prior == FITTED
    said = await refused(tmp_path, embedder=str(tmp_path / "model"), embedder_prefix="q: ")
    assert "`CACHESERVER_EMBEDDER_PRIOR`" in said
    assert "was fitted for" in said


@pytest.mark.parametrize(
    "change",
    [
        {"format": 9},
        {"weights": {}},
        {"weights": {**MINILM.weights, "cosine": -1.0}},
        {"weights": {**MINILM.weights, "cosine": "much"}},
        {"scale": [[0.9, 0.5], [0.8, 0.6]]},
        {"scale": 1},
    ],
)
async def test_a_file_that_is_no_prior_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "prior.json"
    write_prior(file, EMBEDDER_ID, FITTED, {})
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    chosen = {"model_dir": model_dir(), "embedder_prior": str(file)}
    assert "`CACHESERVER_EMBEDDER_PRIOR`" in await refused(tmp_path, **chosen)
    file.unlink()
    assert "cannot be read" in await refused(tmp_path, **chosen)


def test_the_priors_that_ship_can_be_read() -> None:
    assert set(prior_file.shipped()) == {"multilingual-e5-small"}
    for file in prior_file.shipped().values():
        assert prior_file.read_prior(file, None).fitted
