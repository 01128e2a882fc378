"""Embeddings of many texts, kept on disk: a run after the first reads them back."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cacheserver.embedding.prior_file import read_prior
from cacheserver.index.errors import Unreadable
from cacheserver.index.export import EMBEDDER_ID, PRIOR
from cacheserver.index.models import OnnxEmbedder
from cacheserver.matching.prior import MINILM, UNFITTED, Prior

Vectors = NDArray[np.float32]

CACHE = Path(tempfile.gettempdir()) / "cacheserver-evaluate"
_EVERY = 4_000  # texts between two writes: what an interrupted run may lose


class Embeddings:
    """Unit vectors by text; zeros where a text is not read, so that it resembles nothing."""

    def __init__(self, folder: Path, cache: Path = CACHE) -> None:
        self._embedder = OnnxEmbedder(folder)
        self.id = self._embedder.id
        self.prior = prior_of(folder, self.id)
        cache.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(self._embedder.id.encode()).hexdigest()[:12]
        self._file = cache / f"vectors-{name}.npz"
        self._rows: dict[str, int] = {}
        self._vectors = np.zeros((0, self._embedder.dim), np.float32)
        if self._file.exists():
            with np.load(self._file) as kept:
                self._rows = {text: i for i, text in enumerate(kept["texts"].tolist())}
                self._vectors = kept["vectors"].astype(np.float32)

    def of(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        self.prepare(texts)
        return self._vectors[[self._rows[_key(text)] for text in texts]]

    def prepare(self, texts: Iterable[str]) -> None:
        """Embed what is not there yet, and keep it."""
        missing = [t for t in dict.fromkeys(texts) if _key(t) not in self._rows]
        for start in range(0, len(missing), _EVERY):
            part = missing[start : start + _EVERY]
            made = np.array([self._embed(text) for text in part], np.float32)
            for text in part:
                self._rows.setdefault(_key(text), len(self._rows))
            self._vectors = np.concatenate([self._vectors, made])
            self._save()

    def _embed(self, text: str) -> Vectors:
        try:
            return np.asarray(self._embedder.embed([text])[0])
        except Unreadable:
            return np.zeros(self._embedder.dim, np.float32)

    def _save(self) -> None:
        fresh = self._file.with_suffix(".new.npz")
        np.savez(fresh, texts=np.array(list(self._rows)), vectors=self._vectors.astype(np.float16))
        fresh.replace(self._file)


def prior_of(folder: Path, id: str) -> Prior:
    """Return the prior beside a model, as the server finds it."""
    if (folder / PRIOR).is_file():
        return read_prior(folder / PRIOR, id)
    return MINILM if id == EMBEDDER_ID else UNFITTED


def _key(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
