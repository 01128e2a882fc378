"""Embedding models: text to unit vectors. Rule: a text that does not fit is refused, never cut."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cacheserver.index.errors import ModelDamaged, TooLong, Unknown, Unreadable
from cacheserver.index.runtime import onnxruntime

Vectors: TypeAlias = npt.NDArray[np.float32]

MANIFEST = "model.json"
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
BATCHED = "batched.onnx"  # the model for several texts a run (`batched_graph`); not in every folder
FORMAT = 2
_FORMATS = (1, 2)  # the first knows neither prefix nor other names of the unknown piece

# Of a run with several texts: more rows make a text no cheaper, and take memory and time.
_MOST_ROWS, _MOST_PIECES = 32, 1_024

# The longest word piece has 18 letters: a text this long is beyond the window or mostly blanks,
# and is not worth the tokeniser's time. Some normalise first, and make 18 characters of one.
_PIECE_CHARS = 64


class Embedder(Protocol):
    """Model that turns texts into unit vectors. Called by one thread at a time."""

    @property
    def id(self) -> str:
        """Return the name of weights, quantisation and pooling. Vectors of two ids never mix."""

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit row per text, in order. Raises `Unreadable` if that holds for any."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Contents of an exported model, from `model.json`."""

    id: str
    dim: int
    window: int
    files: dict[str, str]  # name -> hex SHA-256
    prefix: str = ""  # put before every text, such as "query: "
    unknown: str | None = (
        "[UNK]"  # the piece for what is not in the vocabulary; None: there is none
    )
    lower: bool = False  # texts are lower-cased first
    source: str = ""  # the model it was made from
    fidelity: dict[str, float] = field(default_factory=dict)  # measured at export


def read_manifest(folder: Path) -> Manifest:
    """Return the folder's manifest, with every file's hash checked. Raises `ModelDamaged`."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        if (version := found.pop("format")) not in _FORMATS:
            raise ModelDamaged(f"`{folder}` holds format {version}, not {FORMAT}")
        manifest = Manifest(**found)
        for name in (MODEL, TOKENIZER):
            if file_hash(folder / name) != manifest.files[name]:
                raise ModelDamaged(f"`{folder / name}` is not the file that was exported")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as problem:
        raise ModelDamaged(
            f"`{folder}` holds no exported model; "
            "make one with `python -m cacheserver.index.export`"
        ) from problem
    return manifest


def file_hash(path: Path) -> str:
    """Return the file's hex SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OnnxEmbedder:
    """Model exported by `cacheserver.index.export`, run by ONNX Runtime without torch.

    `prefix` is put before every text in place of the one the model was exported with. Raises
    `ModelDamaged`, and `Unreadable` for a prefix that the model does not read.
    """

    def __init__(self, folder: Path, threads: int = 1, *, prefix: str | None = None) -> None:
        manifest = read_manifest(folder)
        self._folder = folder
        self._threads = threads
        self._loading = threading.Lock()
        self._loaded = False
        self._prefix = manifest.prefix if prefix is None else prefix
        self.id = manifest.id + prefix_mark(self._prefix)
        self.dim = manifest.dim
        self.window = manifest.window
        self.batched_hash = manifest.files.get(BATCHED)  # None: it has no such graph
        self._lower = manifest.lower
        self._unknown_piece = manifest.unknown
        if prefix and prefix.strip():
            self.load()
            self._encoded(prefix)

    def load(self) -> None:
        """Read the model, unless it is read already. `embed` does so too; any thread may."""
        with self._loading:
            if not self._loaded:
                self._load()
                self._loaded = True

    def _load(self) -> None:
        # Imported late: a program that only keeps vectors pays for neither.
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(self._folder / TOKENIZER))
        # The published file cuts at 128 pieces and pads to 128: the first would compare
        # beginnings only, the second would cost ten times the work.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        unknown = self._unknown_piece
        self._unknown = unknown and self._tokenizer.token_to_id(unknown)
        self._special = len(self._tokenizer.encode("").ids)  # the pieces put around every text
        self._session = self.open(MODEL)

    def open(self, name: str) -> Any:
        """Return a session of the runtime on one of the folder's graphs."""
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        return runtime.InferenceSession(
            str(self._folder / name), options, providers=["CPUExecutionProvider"]
        )

    def open_batched(self) -> Any:
        """Return a session on the graph for several texts. Raises `ModelDamaged`."""
        if file_hash(self._folder / BATCHED) != self.batched_hash:  # here: a start need not wait
            raise ModelDamaged(f"`{self._folder / BATCHED}` is not the file that was exported")
        return self.open(BATCHED)

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.load()
        rows = [self.pieces(text) for text in texts]
        vectors = np.empty((len(rows), self.dim), np.float32)
        # One text a run: int8 activations are scaled over the whole batch, so in company a text
        # gets another vector (cosine 0.98 to itself was seen), and other tenants' texts would
        # decide it. Runs of mixed length also cost more per text than single ones.
        for at, pieces in enumerate(rows):
            feed = {"input_ids": pieces, "attention_mask": np.ones_like(pieces)}
            vectors[at] = self._session.run(None, feed)[0][0]
        return vectors

    def pieces(self, text: str) -> npt.NDArray[np.int64]:
        """Return the ids of a text's word pieces, as (1, pieces). Raises `Unreadable`."""
        self.load()
        most = self.window * _PIECE_CHARS
        if len(text) > most or len(unicodedata.normalize("NFKC", text)) > most:
            raise TooLong(f"the text has {len(text)} characters, or more once normalised")
        text = text.lower() if self._lower else text
        ids = self._encoded(text)
        if self._prefix:
            ids = self._encoded(self._prefix + text)
        return np.array([ids], np.int64)

    def _encoded(self, text: str) -> list[int]:
        """Return the text's pieces. Raises `Unreadable` unless the model sees the whole of it."""
        ids: list[int] = self._tokenizer.encode(text).ids
        if len(ids) > self.window:
            raise TooLong(f"the text has {len(ids)} word pieces, the embedder reads {self.window}")
        if self._unknown in ids or len(ids) <= self._special or not text.strip():
            raise Unknown("the text has signs outside the embedder's vocabulary, or no others")
        return ids


class BatchedEmbedder:
    """A model for many texts that nobody waits for: those of one length go together.

    A text takes a third of the time it takes alone. Its vector is the same but for the last bit of
    its numbers, whatever its company (`batched_graph`).
    """

    def __init__(self, model: OnnxEmbedder) -> None:
        """`model` is one with a graph for it."""
        self._model = model
        self._session: Any = None
        self.id = model.id
        self.dim = model.dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self._session is None:  # late: not every server imports
            self._session = self._model.open_batched()
        by_length = defaultdict[int, list[tuple[int, npt.NDArray[np.int64]]]](list)
        for at, text in enumerate(texts):
            try:
                pieces = self._model.pieces(text)
            except Unreadable as unreadable:
                unreadable.at = at
                raise
            by_length[pieces.shape[1]].append((at, pieces))
        vectors = np.empty((len(texts), self.dim), np.float32)
        runs = list[list[tuple[int, npt.NDArray[np.int64]]]]()
        for length, rows in by_length.items():
            most = max(1, min(_MOST_ROWS, _MOST_PIECES // length))
            runs += [rows[start : start + most] for start in range(0, len(rows), most)]

        def run(rows: Sequence[tuple[int, npt.NDArray[np.int64]]]) -> None:
            places, ids = zip(*rows, strict=True)
            together = np.concatenate(ids)
            feed = {"input_ids": together, "attention_mask": np.ones_like(together)}
            vectors[list(places)] = self._session.run(None, feed)[0]

        # Side by side, for two threads in one run of matrices this small hinder each other. The
        # threads are as nice as the one that calls, and end with the call.
        threads = min(len(runs), os.cpu_count() or 1)
        if threads > 1:
            with ThreadPoolExecutor(threads, "embedder-run") as beside:
                list(beside.map(run, runs))
        else:
            for rows in runs:
                run(rows)
        return vectors


def prefix_mark(prefix: str) -> str:
    """Return what an embedder's id ends with for texts that begin with `prefix`."""
    return f":prefix-{hashlib.sha256(prefix.encode()).hexdigest()[:6]}" if prefix else ""
