"""ONNX graph of a sentence-transformers model: traced, quantised, and compared with the original.

Needs torch; only the export imports this when it runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cacheserver.index.errors import ExportFailed, Unreadable
from cacheserver.index.models import OnnxEmbedder, Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Short, long, other scripts, code: what drifts most when an export goes wrong.
_PROBES = (
    "What is the capital of France?",
    "how can i transfer money to another bank account abroad",
    "Explain the difference between TCP and UDP in detail, with an example for each of them",
    "SELECT name FROM users WHERE id = 3 -- why is this slow?",
    "Is it safe to take ibuprofen with alcohol?",
    "Quelle est la capitale de la France ?",
    "Wie setze ich mein Passwort zurück?",
    "Как сбросить пароль?",
    "パスワードをリセットするにはどうすればいいですか",
    "कल मौसम कैसा रहेगा",
    "كيف أغير كلمة المرور",
    "write",
    "Write a haiku about the sea. " * 20,
)
_FEWEST = 5  # probes that a model must be able to read
_EXACT = 0.9999  # least cosine of the traced model to the original: only rounding differs


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Distance of an exported model from the original."""

    cosine: float  # of the probe that is furthest from its original
    drift: float  # 1 - `cosine`, as a share of the distance between two unlike probes


def trace(original: SentenceTransformer, to: Path, *, additive_mask: bool) -> None:
    """Write all modules and a normalisation as one graph, for any batch and any length.

    `additive_mask`: the encoder gets a mask of four dimensions, which most take as it is. Their own
    mask code may trace into a graph that holds for the traced length only; others know two
    dimensions alone. `fidelity` tells which is right.
    """
    import torch

    class Sentence(torch.nn.Module):
        def __init__(self, encoder: torch.nn.Module) -> None:
            super().__init__()
            self.encoder = encoder
            self.rest = torch.nn.ModuleList(list(original)[1:])

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            given = attention_mask
            if additive_mask:
                given = (1.0 - attention_mask.to(torch.float32))[:, None, None, :] * -1e9
            hidden = self.encoder(input_ids=input_ids, attention_mask=given).last_hidden_state
            features: Any = {"token_embeddings": hidden, "attention_mask": attention_mask}
            for module in self.rest:
                features = module(features)
            return torch.nn.functional.normalize(features["sentence_embedding"], p=2.0, dim=1)

    encoder: Any = original[0].auto_model
    most = encoder.config.vocab_size - 18
    ids = torch.arange(min(1000, most), min(1000, most) + 18).reshape(2, 9)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with warnings.catch_warnings():
        # The newer exporter needs `onnxscript`; this one warns that it is the older.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Sentence(encoder).eval(),
            (ids, mask),
            str(to),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={
                "input_ids": {0: "batch", 1: "pieces"},
                "attention_mask": {0: "batch", 1: "pieces"},
                "embedding": {0: "batch"},
            },
            opset_version=17,
            dynamo=False,
        )


def quantise(plain: Path, to: Path) -> None:
    """Write the graph with weights of 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        plain,
        to,
        weight_type=QuantType.QInt8,
        # One scale a column, not a matrix: cosine to the original 0.98 at worst instead of 0.92,
        # for 7% more time.
        per_channel=True,
        # 7 bits: without VNNI a CPU's 8-bit products saturate, and vectors would differ by machine.
        reduce_range=True,
    )


def fidelity(original: SentenceTransformer, exported: OnnxEmbedder, prefix: str) -> Fidelity:
    """Compare both models on the probes that the exported one reads. Raises `ExportFailed`."""
    read: list[str] = []
    rows: list[Vectors] = []
    for probe in _PROBES:
        try:
            rows.append(exported.embed([probe])[0])
        except Unreadable:
            continue
        read.append(probe)
    if len(read) < _FEWEST:
        raise ExportFailed("the model cannot read plain questions")
    wanted = _originals(original, [prefix + probe for probe in read])
    cosine = float(np.min(np.sum(wanted * np.stack(rows), axis=1)))
    between = wanted @ wanted.T
    unlike = 1 - float(np.median(between[np.triu_indices(len(read), 1)]))
    return Fidelity(round(cosine, 5), round((1 - cosine) / max(unlike, 1e-6), 4))


def is_exact(found: Fidelity) -> bool:
    """Return True if a traced model computes what the original does."""
    return found.cosine >= _EXACT


def _originals(original: SentenceTransformer, texts: Sequence[str]) -> Vectors:
    # An empty prompt, so that the model's default one is not put before the prefix.
    made = original.encode(list(texts), prompt="", normalize_embeddings=True, batch_size=1,
                           show_progress_bar=False)  # fmt: skip
    return np.asarray(made, np.float32)
