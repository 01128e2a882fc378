"""Records of a log file: lines of JSON, a CSV table, or one JSON document.

Rule: memory is bounded by the largest record, not by the file. What holds many records in one (a
page of an API, a batch of spans) is taken apart.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, BinaryIO, Final, TypeAlias, cast

import ijson

from cacheserver.analysis.audit.formats import otel
from cacheserver.analysis.audit.formats.fields import parsed
from cacheserver.core import json_text

Record: TypeAlias = Mapping[str, Any]
Found: TypeAlias = tuple[str, Record | str]  # where, and the record or what is wrong with it

_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_LINE: Final = 64 * 1024 * 1024  # bytes; twice the largest body the API takes
_COLUMN: Final = re.compile(r"[A-Za-z][\w .()/-]{0,63}")
_LISTS: Final = ("data", "results", "rows", "items", "requests", "observations", "body")
_DEEP: Final = 3  # lists within lists that are taken apart


def opened(raw: BinaryIO) -> BinaryIO:
    """A file, unpacked where it is gzipped. Closed by whoever opened `raw`."""
    start = raw.read(2)
    raw.seek(0)
    if start != _GZIP:
        return raw
    packed = gzip.GzipFile(fileobj=raw)
    try:
        packed.peek(1)
    except (OSError, EOFError, zlib.error):  # garbage that only begins alike: it costs no line
        raw.seek(0)
        return raw
    return cast(BinaryIO, packed)


def records(file: BinaryIO, name: str) -> Iterator[Found]:
    """Yield every record with its position in the file.

    Raises `OSError`, `EOFError` and `zlib.error` where the file cannot be read to its end.
    """
    first, second, third = (_next(file) for _ in range(3))
    file.seek(0)
    first = first.removeprefix(_BOM)
    # Two objects on lines of their own: whatever stands before them is garbage, and no list.
    lined = isinstance(_json(second), dict) and isinstance(_json(third), dict)
    if _is_document(first) and not lined:
        found = _document(file, name)
    elif _is_table(first, second):
        found = _table(file, name)
    else:
        found = _lines(file, name)
    for where, record in found:
        if isinstance(record, str):
            yield where, record
        else:
            yield from ((where, one) for one in unfolded(record))


def unfolded(record: Record, deep: int = _DEEP) -> Iterator[Record]:
    """Yield the records that a page holds; the record itself if it is not a page."""
    if "resourceSpans" in record:
        yield from otel.spans(record)
        return
    held = None if "starting_at" in record else next((n for n in _LISTS if _holds(record, n)), None)
    if held is None or not deep:
        yield record
        return
    for one in record[held]:
        yield from unfolded(one, deep - 1)


def _holds(record: Record, name: str) -> bool:
    """Return whether a record is a page: objects under `name`, and no call of its own."""
    held = record.get(name)
    return (
        isinstance(held, list)
        and "model" not in record
        and bool(held)
        and all(isinstance(one, dict) for one in held)
    )


def _next(file: BinaryIO) -> bytes:
    """The next line that is not blank; nothing at the end."""
    while (line := file.readline(_LINE)) and not line.strip():
        pass
    return line


def _is_document(first: bytes) -> bool:
    """Return whether a file begins like one JSON document over many lines, or like a list."""
    start = first.strip()
    if start[:1] == b"[":
        return True
    return start[:1] == b"{" and (start[-1:] in (b"{", b"[", b",") or len(first) >= _LINE)


def _is_table(first: bytes, second: bytes) -> bool:
    """Return whether a line names columns, and the next is not JSON."""
    if first[:1] in (b"{", b"[") or isinstance(_json(second), dict):
        return False
    try:
        (columns,) = csv.reader([first.decode().strip()])
    except (UnicodeDecodeError, csv.Error, ValueError):
        return False
    return len(columns) > 2 and all(_COLUMN.fullmatch(one.strip()) for one in columns)


def _lines(file: BinaryIO, name: str) -> Iterator[Found]:
    """JSON objects, one a line; what is longer than any request comes in pieces, each bad."""
    number = 0
    while line := file.readline(_LINE):
        number += 1
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        where = f"{name}:{number}"
        record = _json(text)
        if isinstance(record, dict):
            yield where, record
        else:
            yield where, "no JSON" if record is None else "no JSON object"


def _json(text: bytes) -> object:
    """Parse a line; None if it is not JSON."""
    try:
        return json_text.loads(text)
    except (ValueError, RecursionError):
        return None


def _table(file: BinaryIO, name: str) -> Iterator[Found]:
    """Rows of CSV by the names of their columns; empty cells are left out."""
    csv.field_size_limit(_LINE)
    text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    rows = csv.reader(text)
    columns = [one.strip() for one in next(rows)]
    number = 1
    while True:
        number += 1
        where = f"{name}:{number}"
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error:
            yield where, "no row of this table"
            continue
        if len(row) > len(columns):
            yield where, "more cells than columns"
        elif row:
            cells = zip(columns, row, strict=False)
            # JSON in a cell is what it says; what only begins like it is a text.
            yield where, {name: parsed(cell) or cell for name, cell in cells if cell}
    text.detach()  # else it closes the file


def _document(file: BinaryIO, name: str) -> Iterator[Found]:
    """Objects of a list, at the top or under the first name that holds one; by their number."""
    prefix = _prefix(file)
    file.seek(0)
    number, objects = 0, 0
    spans = prefix == "resourceSpans.item"
    try:
        for value in ijson.items(file, prefix, multiple_values=True):
            number += 1
            value = _plain(value)
            where = f"{name}[{number}]"
            if not isinstance(value, dict):
                yield where, "no JSON object"
            else:
                objects += 1
                yield where, {"resourceSpans": [value]} if spans else value
    except (ijson.JSONError, UnicodeDecodeError) as error:
        if objects:
            yield f"{name}[{number + 1}]", f"the JSON ends here: {type(error).__name__}"
            return
        file.seek(0)  # lines after all, the first of them garbage
        yield from _lines(file, name)


def _plain(value: Any) -> Any:
    """Convert decimals to floats: ijson's own floats limit integers to 64 bits."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _prefix(file: BinaryIO) -> str:
    """Return ijson's path of a document's records, as `data.item`; "" if it is itself a record."""
    depth, key = 0, ""
    try:
        for event, value in ijson.basic_parse(file, multiple_values=True):
            match event:
                case "start_array" if depth == 0:
                    return "item"
                case "start_array" if depth == 1 and key in (*_LISTS, "resourceSpans"):
                    return f"{key}.item"
                case "start_array" | "start_map":
                    depth += 1
                case "end_array" | "end_map":
                    depth -= 1
                    if not depth:
                        return ""
                case "map_key" if depth == 1:
                    key = str(value)
    except (ijson.JSONError, UnicodeDecodeError):
        pass  # told by whoever reads the records
    return ""
