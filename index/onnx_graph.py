"""ONNX graph of an embedding model: quantised, and compared with the original."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cacheserver.index.errors import ExportFailed, Unreadable
from cacheserver.index.models import BatchedEmbedder, OnnxEmbedder, Vectors
from cacheserver.index.original import Original
from cacheserver.index.runtime import onnxruntime

# Short, long, other scripts, code: what drifts most when an export goes wrong.
PROBES = (
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
_EXACT = 0.9999  # least cosine of the float32 graph to the original: only rounding differs
# Most that a number of a vector may differ in company: 5e-8 was seen, and they are kept in steps of
# 3e-5 and more.
MOST_DIFFERENCE = 1e-6


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Distance of an exported model from the original."""

    cosine: float  # of the probe that is furthest from its original
    drift: float  # 1 - `cosine`, as a share of the distance between two unlike probes


def quantise(plain: Path, to: Path) -> None:
    """Write the graph with weights of 8 bits."""
    onnxruntime()
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


def fidelity(original: Original, exported: OnnxEmbedder, prefix: str) -> Fidelity:
    """Compare both models on the probes that the exported one reads. Raises `ExportFailed`."""
    read: list[str] = []
    rows: list[Vectors] = []
    for probe in PROBES:
        try:
            rows.append(exported.embed([probe])[0])
        except Unreadable:
            continue
        read.append(probe)
    if len(read) < _FEWEST:
        raise ExportFailed("the model cannot read plain questions")
    wanted = original.vectors([prefix + probe for probe in read])
    cosine = float(np.min(np.sum(wanted * np.stack(rows), axis=1)))
    between = wanted @ wanted.T
    unlike = 1 - float(np.median(between[np.triu_indices(len(read), 1)]))
    return Fidelity(round(cosine, 5), round((1 - cosine) / max(unlike, 1e-6), 4))


def batched_difference(exported: OnnxEmbedder) -> float:
    """Return by how much a number of a probe's vector differs in company, at most."""
    read: list[str] = []
    alone: list[Vectors] = []
    for probe in PROBES:
        for text in (probe, " ".join(reversed(probe.split()))):  # of one length, mostly
            try:
                alone.append(exported.embed([text])[0])
            except Unreadable:
                continue
            read.append(text)
    together = BatchedEmbedder(exported).embed(read)
    return float(np.max(np.abs(together - np.stack(alone))))


def is_exact(found: Fidelity) -> bool:
    """Return True if a float32 graph computes what the original does."""
    return found.cosine >= _EXACT
