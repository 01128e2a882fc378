"""Pairs of questions from a file, each labelled: does one answer serve both?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import row_files

_NEEDED: Final = ("query_a", "query_b", "label")


@dataclass(frozen=True, slots=True)
class QuestionPair:
    """Two questions, and whether the answer to one serves the other."""

    query_a: str
    query_b: str
    serves: bool


def read(path: Path) -> list[QuestionPair]:
    """Read a TSV, CSV or JSONL file with `query_a`, `query_b` and `label`. Raises `SettingsError`.

    Columns beyond these are ignored; so are JSON lines without a label, as an export of labels has.
    """
    pairs = [
        QuestionPair(
            row_files.text(where, row, "query_a"),
            row_files.text(where, row, "query_b"),
            row_files.label(where, row),
        )
        for where, row in row_files.rows(path, _NEEDED)
        if row.get("label") is not None
    ]
    if not pairs:
        raise SettingsError(f"{path}: has no labelled pairs")
    return pairs
