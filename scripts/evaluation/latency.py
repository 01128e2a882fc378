"""The cost of a decision beyond the embedding: search, reading the question, evidence.

On the scope that a replay has filled and fitted, with questions it was not asked, by the code that
serves; the stored questions' profiles are at hand, as in a warm server.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from cacheserver.index.vectors import VectorIndex
from cacheserver.languages.rules import languages
from scripts.evaluation.stream import Replay
from scripts.evaluation.vectors import Embeddings, Vectors

TOKENS = 24
_ASKED = 400


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one core: time the thread ran, so that other work does not count."""

    name: str
    entries: int
    questions: int
    tokens: float  # of a question, mean
    p50: float
    p95: float


def longest_like(texts: Sequence[str], embedder: Path) -> list[tuple[str, int]]:
    """(text, tokens) of those nearest to `TOKENS` tokens, at most as many as are timed."""
    tokenizer = Tokenizer.from_file(str(embedder / "tokenizer.json"))
    tokenizer.no_padding()
    counted = [(text, len(tokenizer.encode(text).ids)) for text in dict.fromkeys(texts)]
    counted.sort(key=lambda one: abs(one[1] - TOKENS))
    return counted[:_ASKED]


def measure(
    name: str,
    replay: Replay,
    texts: Sequence[str],
    embeddings: Embeddings,
    embedder: Path,
) -> Figures:
    """The figures of deciding on `texts` in the scope of `replay`, which has run."""
    chosen = longest_like(texts, embedder)
    vectors = embeddings.of([text for text, _ in chosen])
    index, rows = VectorIndex(vectors.shape[1]), replay.stored.ids
    kept = _unit(replay.traffic.vectors[rows])
    index.extend("scope", [str(row) for row in rows], kept, [1e12] * len(rows))
    language = languages()
    took: list[float] = []
    for _ in range(2):  # the first warms up
        took.clear()
        for (text, _), vector in zip(chosen, _unit(vectors), strict=True):
            begun = time.thread_time()
            found = index.search("scope", vector, replay.settings.top, 0.0)
            near = [
                replay.neighbour(int(match.id), embeddings.prior.scale(match.cosine))
                for match in found
            ]
            replay.decide(language.profile(text), near)
            took.append(1e3 * (time.thread_time() - begun))
    return Figures(
        name=name,
        entries=len(rows),
        questions=len(took),
        tokens=float(np.mean([count for _, count in chosen])),
        p50=float(np.percentile(took, 50)),
        p95=float(np.percentile(took, 95)),
    )


def _unit(vectors: Vectors) -> Vectors:
    """Scale to length 1; a zero vector (a text not read) becomes the first axis."""
    made = np.array(vectors, np.float32)
    made[np.linalg.norm(made, axis=1) < 0.5, 0] = 1.0
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made
