"""Exports of sentence-transformers models: what their cards say, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from cacheserver.core.errors import SettingsError
from cacheserver.embedding import exported
from cacheserver.embedding.exported import exported_folder
from cacheserver.index import export as exporting
from cacheserver.index import onnx_simplify
from cacheserver.index.errors import ExportFailed, TooLong, Unknown
from cacheserver.index.export import export
from cacheserver.index.model_card import read_card
from cacheserver.index.models import OnnxEmbedder, read_manifest
from tests.index.tiny_models import TEXTS
from tests.models import ROOT

MODELS = ("bert", "mpnet", "roberta")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    command = [sys.executable, "-m", "tests.index.tiny_models", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", MODELS)
def test_an_export_gives_the_vectors_of_the_original(exports: Path, name: str) -> None:
    embedder = OnnxEmbedder(exports / f"{name}-exported")
    wanted = np.load(exports / f"{name}.npy")
    assert embedder.dim == wanted.shape[1] == (16 if name == "roberta" else 32)
    assert np.sum(embedder.embed(TEXTS) * wanted, axis=1).min() > 0.999


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_graph_is_simplified(exports: Path, name: str) -> None:
    weights = onnx.load(exports / f"{name}-exported" / "model.onnx").graph.initializer
    assert any(one.name.startswith("simplified_") for one in weights)


def test_a_graph_whose_vectors_would_change_is_left_as_it_was(tmp_path: Path) -> None:
    """Here a mask is added that is zero for texts of 5 and 9 pieces, but not for one of 6."""
    nodes = [
        onnx.helper.make_node("ReduceSum", ["attention_mask"], ["sum"]),
        onnx.helper.make_node("Sub", ["sum", "five"], ["one"]),
        onnx.helper.make_node("Sub", ["sum", "nine"], ["two"]),
        onnx.helper.make_node("Mul", ["one", "two"], ["mask"]),
        onnx.helper.make_node("Add", ["input_ids", "mask"], ["hidden"]),
        onnx.helper.make_node("Neg", ["hidden"], ["embedding"]),
    ]
    whole, shape = onnx.TensorProto.INT64, ["batch", "pieces"]
    values = [
        onnx.helper.make_tensor_value_info(one, whole, shape)
        for one in ("input_ids", "attention_mask", "embedding")
    ]
    numbers = [
        onnx.numpy_helper.from_array(np.array([[n]]), name)
        for name, n in (("five", 5), ("nine", 9))
    ]
    graph = onnx.helper.make_graph(nodes, "graph", values[:2], values[2:], numbers)
    opset = onnx.helper.make_opsetid("", 17)
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    before = path.read_bytes()
    onnx_simplify.simplify(path, tmp_path, onnx_simplify.probes(100, 5))
    assert path.read_bytes() == before
    onnx_simplify.simplify(path, tmp_path, [np.ones((1, 5), np.int64)])  # nobody sees it
    assert [node.op_type for node in onnx.load(path).graph.node] != [n.op_type for n in nodes]


def test_the_id_names_weights_quantisation_pooling_and_prefix(exports: Path) -> None:
    ids = {name: OnnxEmbedder(exports / f"{name}-exported").id for name in MODELS}
    pooled = {name: id.split(":")[3] for name, id in ids.items()}
    assert pooled == {"bert": "mean", "mpnet": "cls", "roberta": "max"}
    assert [name for name, id in ids.items() if ":prefix-" in id] == ["bert"]
    weights = read_card(exports / "bert").weights
    assert ids["bert"].startswith(f"bert:{weights[:12]}:")
    other = OnnxEmbedder(exports / "bert-exported", prefix="")
    assert other.id == ids["bert"].rpartition(":")[0]


@pytest.mark.parametrize("name", MODELS)
def test_int8_is_kept_only_where_it_was_measured_to_be_near(exports: Path, name: str) -> None:
    manifest = read_manifest(exports / f"{name}-exported")
    small = manifest.fidelity.get("int8_drift", manifest.fidelity["drift"])
    assert (":int8-per-channel:" in manifest.id) == (small <= exporting.MOST_DRIFT)
    assert manifest.fidelity["drift"] <= exporting.MOST_DRIFT


def test_the_window_is_the_cards_and_the_prefix_counts(exports: Path) -> None:
    embedder = OnnxEmbedder(exports / "bert-exported")  # 128 pieces: a character each, and two
    embedder.embed(["x" * (126 - len("query: "))])
    with pytest.raises(TooLong):
        embedder.embed(["x" * (127 - len("query: "))])
    for text in ("naïve", "", " "):
        with pytest.raises(Unknown):
            embedder.embed([text])


def test_a_name_is_found_in_the_hubs_cache(exports: Path) -> None:
    assert read_manifest(exports / "named").id == read_manifest(exports / "bert-exported").id


def test_an_intact_export_is_left_alone_and_other_weights_are_not_taken_for_it(
    exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exports / "bert-exported"
    before = (folder / "model.json").stat().st_mtime_ns
    assert export(folder, str(exports / "bert")).source == "bert"
    assert (folder / "model.json").stat().st_mtime_ns == before

    class Disk(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1_000))
    with pytest.raises(ExportFailed, match="no room"):
        export(folder, str(exports / "mpnet"))
    assert read_manifest(folder).source == "bert"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}),
        ("config_sentence_transformers.json", {"prompts": {"query": "question: "}}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("model.safetensors", None),
    ],
)
def test_an_export_of_before_is_not_used_for_a_model_that_has_changed(
    exports: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    change: dict[str, Any] | None,
) -> None:
    model, data = tmp_path / "bert", tmp_path / "data"
    shutil.copytree(exports / "bert", model)
    to = data / "models" / exported._slug(str(model))
    shutil.copytree(exports / "bert-exported", to)
    assert exported_folder(str(model), data) == to
    if change is None:
        shutil.copyfile(exports / "mpnet" / file, model / file)
    else:
        found = json.loads((model / file).read_text())
        (model / file).write_text(json.dumps({**found, **change, "pooling_mode_cls_token": True}))
    assert not exporting.is_current(to, model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as where it is not installed
    with pytest.raises(SettingsError, match=r"`CACHESERVER_EMBEDDER`: .* has changed since"):
        exported_folder(str(model), data)
    shutil.rmtree(model)  # serving needs the export alone
    assert exported_folder(str(model), data) == to


def card(folder: Path, **files: Any) -> Path:
    """Write a model's folder; `files` are its JSON files, with `/` written as `__`."""
    whole = {
        "modules": [
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        ],
        "1_Pooling__config": {"pooling_mode_mean_tokens": True},
        **files,
    }
    for name, value in whole.items():
        file = folder / f"{name.replace('__', '/')}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


ABOUT = "config_sentence_transformers"


@pytest.mark.parametrize(
    ("about", "prefix"),
    [
        ({}, ""),
        ({"prompts": None}, ""),
        ({"prompts": {"query": "query: ", "passage": "passage: "}}, "query: "),
        ({"prompts": {"query": "q: ", "match": "m: "}, "default_prompt_name": "match"}, "m: "),
        ({"prompts": {"clustering": "c: "}, "default_prompt_name": None}, ""),
    ],
)
def test_the_prefix_is_the_default_prompt_or_that_for_queries(
    tmp_path: Path, about: dict[str, Any], prefix: str
) -> None:
    assert read_card(card(tmp_path, **{ABOUT: about})).prefix == prefix


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls+mean"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({}, "mean"),
    ],
)
def test_pooling_is_read_in_both_spellings(
    tmp_path: Path, config: dict[str, Any], pooling: str
) -> None:
    assert read_card(card(tmp_path, **{"1_Pooling__config": config})).pooling == pooling


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"modules": []}, "no sentence-transformers model"),
        ({"modules": {}}, "no sentence-transformers model"),
        ({"modules": [{"type": "x.Transformer", "path": ""}]}, "no pooling"),
        ({"modules": [{"type": "x.CLIPModel", "path": ""}]}, "CLIPModel"),
    ],
)
def test_a_folder_that_makes_no_vector_of_a_text_is_refused(
    tmp_path: Path, files: dict[str, Any], why: str
) -> None:
    with pytest.raises(ExportFailed, match=why):
        read_card(card(tmp_path, **files))


def test_a_folder_without_weights_and_a_file_are_refused(tmp_path: Path) -> None:
    (card(tmp_path / "model") / "model.safetensors").unlink()
    with pytest.raises(ExportFailed, match="no weights"):
        export(tmp_path / "to", str(tmp_path / "model"))
    with pytest.raises(ExportFailed, match="not a folder"):
        export(tmp_path / "to", str(tmp_path / "model" / "modules.json"))
    assert not (tmp_path / "to").exists()


def test_a_name_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    module, to = "cacheserver.index.export", str(tmp_path / "to")
    done = subprocess.run(
        [sys.executable, "-m", module, "--to", to, "--model", "minlm"],
        cwd=ROOT,
        env={"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "`minlm` is no folder" in done.stderr
