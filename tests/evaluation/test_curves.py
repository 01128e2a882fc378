"""The pictures are written, one for each part that was run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.evaluation import curves, logs, pairs
from scripts.evaluation.report import Found, Row
from scripts.pairs.types import Pair


def row(stream: str, way: str, target: float | None, hits: float, wrong: float) -> Row:
    around = (wrong / 2, min(1.0, 2 * wrong + 0.01))
    return Row(stream, way, target, 100, 0.0, hits, hits, wrong, around, (wrong,), wrong, around)


def figures() -> pairs.Figures:
    listed = [Pair(f"a{i}", f"b{i}", i % 2, "x") for i in range(20)]
    return pairs.figures("mine", "cosine", np.linspace(0, 1, 20), listed)


def test_there_is_a_picture_for_each_part_that_was_run(tmp_path: Path) -> None:
    streams = [
        row("mine", "ours 1%", 0.01, 0.4, 0.0),
        row("mine", "ours 5%", 0.05, 0.5, 0.04),
        row("mine, zipf", "ours 1%", 0.01, 0.3, 0.02),
        row("mine", "static 0.90", None, 0.2, 0.02),
        row("mine", "GPTCache 0.60", None, 0.9, 0.3),
        row("mine", "perfect decision", None, 0.95, 0.0),
    ]
    day = ("2020-01-02", 4, {"exact": 0.5, "folded": 0.0, "semantic": 0.25})
    log = logs.Figures("log", 4, day[2], {}, {}, [day], 2, (0.1, 0.2), [])
    found = Found(streams, [figures()], [log], [])
    written = list(curves.draw(found, tmp_path))
    names = {"streams.png", "streams-dark.png", "targets.png", "pairs.png", "log.png"}
    assert {path.name for path in written} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_nothing_is_drawn_of_what_was_not_run(tmp_path: Path) -> None:
    assert [p.name for p in curves.draw(Found([], [figures()], [], []), tmp_path)] == ["pairs.png"]
