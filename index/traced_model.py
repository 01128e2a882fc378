"""Original of any sentence-transformers model, traced by torch. Needs the `[models]` extra."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cacheserver.index.errors import ExportFailed
from cacheserver.index.models import TOKENIZER, Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TracedOriginal:
    """Model in a folder. Raises `ExportFailed` if the library cannot load it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = _load(folder)
        dim = self._model.get_embedding_dimension()
        if dim is None:
            raise ExportFailed(f"`{folder}` does not say how many dimensions its vectors have")
        self.dim = dim
        self.window = _window(self._model)
        self.vocabulary: int = self._model.tokenizer.vocab_size
        self.unknown: str | None = self._model.tokenizer.unk_token

    def write_tokenizer(self, to: Path) -> None:
        if (self._folder / TOKENIZER).is_file():
            shutil.copyfile(self._folder / TOKENIZER, to)
            return
        fast = getattr(self._model.tokenizer, "backend_tokenizer", None)
        if fast is None:
            raise ExportFailed(f"`{self._folder}` has no tokeniser that `tokenizers` can load")
        fast.save(str(to))

    def graphs(self, to: Path) -> Iterator[None]:
        for additive_mask in (True, False):
            try:
                _trace(self._model, to, additive_mask=additive_mask)
            except (RuntimeError, ValueError, TypeError, IndexError):
                continue  # the encoder takes no such mask
            yield

    def vectors(self, texts: Sequence[str]) -> Vectors:
        # An empty prompt, so that the model's default one is not put before the prefix.
        made = self._model.encode(list(texts), prompt="", normalize_embeddings=True, batch_size=1,
                                  show_progress_bar=False)  # fmt: skip
        return np.asarray(made, np.float32)


def _load(folder: Path) -> SentenceTransformer:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as problem:
        raise ExportFailed("the `[models]` extra is not installed") from problem
    try:
        # Eager attention is the one the exporter can trace.
        return SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"attn_implementation": "eager"},
        )
    except Exception as problem:  # whatever a library makes of a broken folder
        raise ExportFailed(
            f"`{folder}` cannot be loaded by sentence-transformers ({type(problem).__name__})"
        ) from problem


def _window(model: SentenceTransformer) -> int:
    """Return the number of word pieces that the model reads, the special ones included."""
    window = model.max_seq_length
    if not isinstance(window, int) or not 8 <= window <= 1 << 20:
        raise ExportFailed("the model does not say how many word pieces it reads")
    return window


def _trace(original: SentenceTransformer, to: Path, *, additive_mask: bool) -> None:
    """Write all modules and a normalisation as one graph, for any batch and any length.

    `additive_mask`: the encoder gets a mask of four dimensions, which most take as it is. Their own
    mask code may trace into a graph that holds for the traced length only; others know two
    dimensions alone. `onnx_graph.fidelity` tells which is right.
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
