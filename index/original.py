"""Originals: the models that exports are made of, and compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cacheserver.index.models import Vectors


class Original(Protocol):
    """Model of an export."""

    dim: int
    window: int  # word pieces that it reads, the special ones included
    vocabulary: int  # word pieces that it knows
    unknown: str | None  # the piece for what is not in the vocabulary

    def write_tokenizer(self, to: Path) -> None:
        """Write the tokeniser's file. Raises `ExportFailed` if there is none."""

    def graphs(self, to: Path) -> Iterator[None]:
        """Write the float32 graph, one way after the other, until the caller is content."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return the original's own unit vectors, one row per text."""
