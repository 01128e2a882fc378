"""Rows of a TSV, CSV or JSONL file that somebody wrote by hand, with the lines they stand on.

An error names the file, the line and the field.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal.counts import counted

_TABLES: Final = {".tsv": "\t", ".csv": ","}
_LINES: Final = (".jsonl", ".ndjson")
_FIELD_BYTES: Final = 10_000_000  # of a table; Python's own limit is below the length of answers
_LABELS: Final = {
    **dict.fromkeys(("1", "yes", "true", "serves", "same", "hit"), True),
    **dict.fromkeys(("0", "no", "false", "different", "miss"), False),
}


def rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each row with its place, such as `pairs.tsv: line 3`. Raises `SettingsError`.

    A table begins with the names of its columns, among them all of `needed`.
    """
    kind = path.suffix.lower()
    if kind not in (*_TABLES, *_LINES):
        raise SettingsError(f"{path}: must be named .tsv, .csv or .jsonl")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = (
                _objects(path, file)
                if kind in _LINES
                else _table(path, file, _TABLES[kind], needed)
            )
            for line, row in found:
                yield f"{path}: line {line}", row
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: must be UTF-8: {error.reason}") from error


def text(where: str, row: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    """Return a field's text; empty if it is not needed and not there. Raises `SettingsError`."""
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


def label(where: str, row: Mapping[str, Any]) -> bool:
    """Return whether one answer serves both questions of a row. Raises `SettingsError`."""
    value = row.get("label")
    found = _LABELS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if found is None:
        raise SettingsError(f"{where}: `label` must be one of {', '.join(_LABELS)}")
    return found


def _table(
    path: Path, file: TextIO, delimiter: str, needed: Sequence[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    before = csv.field_size_limit(_FIELD_BYTES)
    # In TSV a quotation mark is a character like any other.
    if delimiter == "\t":
        reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        for name in needed:
            if name not in names:
                raise SettingsError(f"{path}: line 1: the column `{name}` is missing")
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise SettingsError(
                    f"{path}: line {reader.line_num}: has {counted(len(row), 'field')}, "
                    f"and line 1 names {len(names)}"
                )
            yield reader.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise SettingsError(f"{path}: line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(before)


def _objects(path: Path, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise SettingsError(f"{path}: line {number}: must be a JSON object")
        yield number, row
