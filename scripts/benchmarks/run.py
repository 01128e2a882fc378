"""A run of `scripts/bench`: what its parts share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEXES = ("faiss", "vector-sets")


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float  # of load for each figure
    entries: Sequence[int]  # sizes of a scope
    folder: Path  # of this run: a directory that one part has filled serves another
    data: Path  # the traces that `miss` replays
    requests: int  # of `invoice`
    lines: int  # of the log of `audit`
    vectors: Sequence[int] = (20_000,)  # of `index`
    scopes: Sequence[int] = (1, 60, 500)  # they are in
    indexes: Sequence[str] = INDEXES  # that hold them
    simulate: bool = False  # more servers than there are, in `scale`
    figures: list[dict[str, Any]] | None = None  # of an earlier `scale`, instead of measuring

    def filled(self, entries: int) -> Path:
        """The data directory of a server with so many entries that all questions pass."""
        folder = self.folder / str(entries)
        folder.mkdir(exist_ok=True)
        return folder
