"""Labelled pairs from a file: may the answer to one question be given to another?"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cacheserver.core import json_text
from cacheserver.core.errors import SettingsError

_LABELS: Final = {
    **dict.fromkeys(("1", "yes", "true", "serves", "same", "hit"), True),
    **dict.fromkeys(("0", "no", "false", "different", "miss"), False),
}
_NEEDED: Final = ("question_a", "question_b", "answer", "label")
_GROUPS: Final = ("set", "class")
_TABLES: Final = {".tsv": "\t", ".csv": ","}
_LINES: Final = (".jsonl", ".ndjson")
_FIELD_BYTES = 10_000_000  # of a table; Python's own limit is below the length of some answers


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
    kind = path.suffix.lower()
    if kind not in (*_TABLES, *_LINES):
        raise SettingsError(f"{path}: must be named .tsv, .csv or .jsonl")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _objects(path, file) if kind in _LINES else _table(path, file, _TABLES[kind])
            pairs = [_pair(f"{path}: line {line}", row) for line, row in rows]
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: must be UTF-8: {error.reason}") from error
    if not pairs:
        raise SettingsError(f"{path}: has no pairs")
    return pairs


def _table(path: Path, file: Any, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    before = csv.field_size_limit(_FIELD_BYTES)
    # In TSV a quotation mark is a character like any other.
    if delimiter == "\t":
        reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        for name in _NEEDED:
            if name not in names:
                raise SettingsError(f"{path}: line 1: the column `{name}` is missing")
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise SettingsError(
                    f"{path}: line {reader.line_num}: has {len(row)} fields, "
                    f"and line 1 names {len(names)}"
                )
            yield reader.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise SettingsError(f"{path}: line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(before)


def _objects(path: Path, file: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json_text.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise SettingsError(f"{path}: line {number}: must be a JSON object")
        yield number, row


def _pair(where: str, row: Mapping[str, Any]) -> LabelledPair:
    question_a, question_b, answer = (_text(where, row, name) for name in _NEEDED[:3])
    groups = [text for name in _GROUPS if (text := _text(where, row, name, needed=False))]
    return LabelledPair(
        question_a,
        question_b,
        answer,
        _label(where, row),
        "/".join(groups),
        _text(where, row, "system", needed=False),
    )


def _text(where: str, row: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    value = row.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value.strip()):
        raise SettingsError(f"{where}: `{name}` must be a text" + ", not empty" * needed)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{where}: `{name}` has half of a surrogate pair") from None
    return value


def _label(where: str, row: Mapping[str, Any]) -> bool:
    value = row.get("label")
    found = _LABELS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if found is None:
        raise SettingsError(f"{where}: `label` must be one of {', '.join(_LABELS)}")
    return found
