"""Readers of FAQ files: CSV, JSON lines and Markdown. Each yields records and problems in order.

Rule: nothing is left out in silence. A line that gives no record gives a problem that names it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TextIO

from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal.counts import counted
from cacheserver.transfer.records import ANSWERS, QUESTIONS, FaqRecord, Found, Problem, record_of

_HEADING: Final = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")
_FENCE: Final = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_MARK: Final = re.compile(r"^(?:Q|Question)\s*[:.]\s*", re.IGNORECASE)  # before a question
_ASKING: Final = ("?", "\uff1f", "\u061f")  # also in Chinese and Japanese, and in Arabic
_FIELD_CHARS: Final = 1_000_000  # of one CSV field: more is no answer but an unclosed quote
_DELIMITERS: Final = ",;\t"


class UnknownFormat(SettingsError):
    """Raised for a file whose name tells no format."""


def read(path: Path, format: str | None = None) -> Iterator[Found]:
    """Yield the records of a file. Raises `UnknownFormat`, and `OSError` if it cannot be read.

    `format` is `csv`, `jsonl` or `markdown`; None: by the name's ending.
    """
    kind = format or _BY_ENDING.get(path.suffix.lower())
    if kind is None:
        raise UnknownFormat(
            f"`{path.name}`: say what it is with `--format` ({', '.join(READERS)}), or name it "
            ".csv, .tsv, .jsonl or .md"
        )
    with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
        try:
            yield from READERS[kind](file, path.name)
        except UnicodeDecodeError:
            yield Problem(path.name, "is not UTF-8; save it as UTF-8")


def read_csv(file: TextIO, name: str) -> Iterator[Found]:
    """Yield the rows of a table whose first line names a column `question` and one `answer`."""
    head = file.readline()
    delimiter = max(_DELIMITERS, key=head.count)
    columns = [one.strip().lower() for one in next(csv.reader([head], delimiter=delimiter), [])]
    for names in (QUESTIONS, ANSWERS):
        if not set(names) & set(columns):
            yield Problem(f"{name}:1", f"must name a column `{names[0]}`: the first line is names")
            return
    csv.field_size_limit(_FIELD_CHARS)
    rows = csv.reader(file, delimiter=delimiter, strict=True)
    line = 2
    while True:
        where = f"{name}:{line}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Problem(where, f"is no CSV: {error}; what follows was not read")
            return
        line = rows.line_num + 2  # a quoted field may have several lines
        if row is None:
            return
        if not any(one.strip() for one in row):
            continue
        if len(row) > len(columns):
            yield Problem(
                where, f"has {counted(len(row), 'column')} of {len(columns)}: quote what has commas"
            )
            continue
        yield record_of(dict(zip(columns, row, strict=False)), where)


def read_jsonl(file: TextIO, name: str) -> Iterator[Found]:
    """Yield objects with `question` and `answer`, one a line."""
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, Mapping):
            yield record_of(found, where)
        else:
            yield Problem(where, "must be a JSON object with `question` and `answer`")


def read_markdown(file: TextIO, name: str) -> Iterator[Found]:
    """Yield headings that ask, with the text below each as the answer, in Markdown.

    A heading asks if it ends with `?` or begins with `Q:`. Its answer ends at the next heading of
    its level or above, or at the next one that asks. Text below another heading is a problem.
    """
    question, where, level = "", f"{name}:1", 0
    lines = list[str]()
    fence = ""
    for number, line in enumerate(file, start=1):
        found = None if fence else _HEADING.fullmatch(line.rstrip("\r\n"))
        fence = _fence_after(line, fence)
        if found is None:
            lines.append(line.rstrip("\r\n"))
            continue
        depth, title = len(found[1]), found[2]
        asks = title.endswith(_ASKING) or _MARK.match(title) is not None
        if question and not asks and depth > level:
            lines.append(line.rstrip("\r\n"))  # a part of the answer
            continue
        yield from _section(question, lines, where)
        question, where, level = _MARK.sub("", title) if asks else "", f"{name}:{number}", depth
        lines = []
    yield from _section(question, lines, where)


def _section(question: str, lines: list[str], where: str) -> Iterator[Found]:
    text = "\n".join(lines).strip()
    if question and not text:
        yield Problem(where, "has no answer below it")
    elif question:
        yield FaqRecord(where, question, re.sub(r"^(?:A|Answer)\s*:\s*", "", text))
    elif text:
        yield Problem(where, "has text below a heading that asks nothing: end it with `?`")


def _fence_after(line: str, fence: str) -> str:
    """Return the mark that a block of code is open with after a line; "": none is."""
    found = _FENCE.match(line)
    if found is None:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


READERS: Final[Mapping[str, Callable[[TextIO, str], Iterator[Found]]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "markdown": read_markdown,
}
_BY_ENDING: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".md": "markdown",
    ".markdown": "markdown",
}
