"""Labelled pairs from a file: may the answer to one question be given to another?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal import row_files

_NEEDED: Final = ("question_a", "question_b", "answer", "label")
_GROUPS: Final = ("set", "class")


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two questions, the answer to the first, and whether it serves the second."""

    question_a: str
    question_b: str
    answer: str
    serves: bool
    group: str = ""  # `set` and `class` of the file
    system: str = ""  # the instructions under which both are asked


def read(path: Path) -> list[LabelledPair]:
    """Read a TSV, CSV or JSONL file. Raises `SettingsError` naming the line and the field.

    A table begins with the names of its columns. Columns beyond those known are ignored.
    """
    pairs = [_pair(where, row) for where, row in row_files.rows(path, _NEEDED)]
    if not pairs:
        raise SettingsError(f"{path}: has no pairs")
    return pairs


def _pair(where: str, row: Mapping[str, Any]) -> LabelledPair:
    question_a, question_b, answer = (row_files.text(where, row, name) for name in _NEEDED[:3])
    groups = [text for name in _GROUPS if (text := row_files.text(where, row, name, needed=False))]
    return LabelledPair(
        question_a,
        question_b,
        answer,
        row_files.label(where, row),
        "/".join(groups),
        row_files.text(where, row, "system", needed=False),
    )
