"""The model that is built without torch is the one that torch exports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cacheserver.index.errors import ExportFailed
from cacheserver.index.minilm_model import MinilmOriginal
from cacheserver.index.models import TOKENIZER, OnnxEmbedder
from cacheserver.index.onnx_graph import PROBES
from tests.models import ROOT, model_dir

PROSE = [
    line.strip()
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.isascii() and 3 < len(line.strip()) < 120
]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traced")
    for name in ("model.json", TOKENIZER):
        shutil.copyfile(model_dir() / name, folder / name)
    command = [sys.executable, "-m", "tests.index.traced_minilm", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model made now, where torch cannot be imported."""
    to = tmp_path_factory.mktemp("built") / "model"
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'sentence_transformers'):\n"
        "    sys.modules[name] = None\n"
        "from cacheserver.index.export import main\n"
        f"sys.exit(main(['--to', {str(to)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return to


@pytest.mark.timeout(400)
def test_the_built_model_gives_the_vectors_of_the_traced_one_to_the_bit(
    built: Path, traced: Path
) -> None:
    """So stored vectors, labels and the prior stay valid whichever of the two was used."""
    texts = [probe for probe in PROBES if probe.isascii()] + PROSE
    assert len(texts) > 50
    one, other = OnnxEmbedder(built), OnnxEmbedder(traced)
    assert one.id == other.id
    assert np.array_equal(one.embed(texts), other.embed(texts))


@pytest.mark.timeout(400)
def test_the_probes_that_ship_are_those_of_sentence_transformers(traced: Path) -> None:
    shipped = MinilmOriginal(Path()).vectors(PROBES)
    assert np.abs(shipped - np.load(traced / "probes.npy")).max() < 1e-5


def test_a_model_whose_graph_is_wrong_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped probes notice it: here the heads of the attention are half as many."""
    from cacheserver.index import export, minilm_graph

    monkeypatch.setattr(minilm_graph, "_HEADS", 6)
    monkeypatch.setattr(minilm_graph, "_HEAD_WIDTH", 64)
    with pytest.raises(ExportFailed, match="does not compute"):
        export.export(tmp_path / "model")
    assert not (tmp_path / "model").exists()
