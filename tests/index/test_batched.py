"""Texts embedded in company have the vectors that they have alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from cacheserver.index import batched_graph
from cacheserver.index.batcher import Batcher
from cacheserver.index.errors import Unreadable
from cacheserver.index.models import BatchedEmbedder, OnnxEmbedder, Vectors
from tests.models import model_dir

# 5e-8 was seen; without a scale for each text it is 1e-2.
NEAR = 1e-6
SHORT = [f"How do I {verb} my {noun}?" for verb in ("pay", "return") for noun in ("dog", "bill")]
LOUD = "!!! ??? ### $$$"  # of other activations than a sentence
TEXTS = [
    *SHORT,
    LOUD,
    "write",
    "What is the capital of France?",
    *(f"Item {number} came broken, and I want my money back." for number in range(40)),
    "Write a haiku about the sea. " * 20,
]


def alone(model: OnnxEmbedder, texts: list[str]) -> Vectors:
    return np.concatenate([model.embed([text]) for text in texts])


def test_a_vector_does_not_depend_on_its_company() -> None:
    model = OnnxEmbedder(model_dir())
    together = BatchedEmbedder(model)
    expected = alone(model, TEXTS)
    assert np.abs(together.embed(TEXTS) - expected).max() < NEAR
    backwards = together.embed(TEXTS[::-1])
    assert np.abs(backwards[::-1] - expected).max() < NEAR


def test_company_of_one_length_is_any_text() -> None:
    """Word pieces at random are the most unlike texts of one length."""
    model = OnnxEmbedder(model_dir())
    random = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789!?")
    texts = [" ".join(random.choice(letters, 9)) for _ in range(70)]  # more than one run
    assert np.abs(BatchedEmbedder(model).embed(texts) - alone(model, texts)).max() < NEAR


async def test_one_that_cannot_be_read_fails_alone() -> None:
    model = OnnxEmbedder(model_dir())
    async with Batcher(BatchedEmbedder(model), max_batch=8, memo=0) as batcher:
        with pytest.raises(Unreadable):
            await batcher.embed("☃ ☃ ☃")
        vector = await batcher.embed(SHORT[0])
    with pytest.raises(Unreadable) as refused:
        BatchedEmbedder(model).embed([SHORT[0], "☃ ☃ ☃", SHORT[1]])
    assert refused.value.at == 1
    assert np.abs(vector - model.embed([SHORT[0]])[0]).max() < NEAR


def test_a_graph_that_is_not_understood_is_not_written(tmp_path: Path) -> None:
    node = onnx.helper.make_node("QAttention", ["x"], ["embedding"], domain="com.microsoft")
    made = onnx.helper.make_graph([node], "other", [], [])
    onnx.save(onnx.helper.make_model(made), tmp_path / "model.onnx")
    with pytest.raises(batched_graph.NotUnderstood):
        batched_graph.write(tmp_path / "model.onnx", tmp_path / "batched.onnx")
    assert not (tmp_path / "batched.onnx").exists()
