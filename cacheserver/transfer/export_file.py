"""Export files: JSON lines in zstd, with a version at the beginning and a checksum at the end.

The first line is `{"cacheserver_export": 1, ...}`, the last one `{"kind": "end", "records": N,
"sha256": ...}` over all bytes before it. A file without its end is not whole, and is never read.
Each page is a frame of its own, so that an export that was cut goes on after its last whole frame.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from cacheserver.core.errors import SettingsError

VERSION: Final = 1
_MARK: Final = "cacheserver_export"
_PARTIAL: Final = ".partial"
_LINE_BYTES: Final = 64_000_000  # of a record: more is no answer
_LEVEL: Final = 3  # zstd's usual one: 300 MB/s


class DamagedExport(SettingsError):
    """Raised for a file that is no export, or not all of one."""


class ExportWriter:
    """Writes FILE.partial, and FILE once it is whole. `begin` goes on with what was cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + _PARTIAL)
        self._digest = hashlib.sha256()
        self.records = 0
        self.cursor: str | None = None  # of the page to go on with
        self.complete = False  # no other page follows
        self._file: BinaryIO | None = None

    def begin(self, about: Mapping[str, Any]) -> bool:
        """Open the file; True if it goes on with one that was cut, of the same tenant.

        Raises `DamagedExport` if FILE is there already.
        """
        if self._path.exists():
            raise DamagedExport(f"`{self._path}` is there already; name another file")
        known = self._resumed(about)
        mode = os.O_RDWR | os.O_CREAT | (0 if known else os.O_TRUNC)
        self._file = os.fdopen(os.open(self._partial, mode, 0o600), "r+b")  # it holds prompts
        if known:
            self._file.seek(0, io.SEEK_END)
        else:
            self._frame([{_MARK: VERSION, **about}])
        return known

    def page(self, items: Iterable[Mapping[str, Any]], cursor: str | None) -> None:
        """Write a page, and where the next one begins."""
        found = list(items)
        self._frame([*found, {"kind": "page", "next": cursor}])
        self.records += len(found)
        self.cursor = cursor
        self.complete = cursor is None

    def end(self) -> None:
        """Write the end and give the file its name."""
        assert self._file is not None
        end = {"kind": "end", "records": self.records, "sha256": self._digest.hexdigest()}
        self._frame([end])
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        self._partial.rename(self._path)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _frame(self, lines: Iterable[Mapping[str, Any]]) -> None:
        import zstandard

        assert self._file is not None
        data = b"".join(json.dumps(one).encode() + b"\n" for one in lines)
        self._digest.update(data)
        self._file.write(zstandard.ZstdCompressor(level=_LEVEL).compress(data))
        self._file.flush()

    def _resumed(self, about: Mapping[str, Any]) -> bool:
        """Take in a partial file, without what was cut; False if there is none to go on with."""
        if not self._partial.exists():
            return False
        whole = 0
        for end, data in _frames(self._partial):
            lines = [json.loads(line) for line in data.splitlines()]
            if whole == 0 and lines[0] != {_MARK: VERSION, **about}:
                return False  # of another tenant, or another version's
            self._digest.update(data)
            whole = end
            if lines[-1].get("kind") == "page":
                self.records += len(lines) - 1
                self.cursor = lines[-1]["next"]
                self.complete = self.cursor is None
        os.truncate(self._partial, whole)
        return whole > 0


def _frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield where each whole frame ends, and what it holds."""
    import zstandard

    with path.open("rb") as file:
        held, ends = b"", 0
        decoder = zstandard.ZstdDecompressor().decompressobj()
        out = io.BytesIO()
        while True:
            if not held and not (held := file.read(1 << 20)):
                return
            try:
                out.write(decoder.decompress(held))
            except zstandard.ZstdError:
                return
            ends += len(held) - len(decoder.unused_data)
            held = decoder.unused_data
            if decoder.eof:
                yield ends, out.getvalue()
                decoder, out = zstandard.ZstdDecompressor().decompressobj(), io.BytesIO()


@dataclass(frozen=True, slots=True)
class Export:
    """A whole file: its first line, and its items with where each stands."""

    about: Mapping[str, Any]
    records: int
    items: Iterator[tuple[str, dict[str, Any]]]


def read(path: Path) -> Export:
    """Check a file to its end before anything is yielded. Raises `DamagedExport`."""
    about, records = _checked(path)
    return Export(about, records, _items(path))


def _checked(path: Path) -> tuple[dict[str, Any], int]:
    digest, last = hashlib.sha256(), b""
    about: dict[str, Any] | None = None
    for line in _lines(path):
        if about is None:
            about = _object(path, line)
            if about.get(_MARK) != VERSION:
                version = about.get(_MARK)
                raise DamagedExport(
                    f"`{path.name}` is of version {version} of the format; this one reads {VERSION}"
                    if version
                    else f"`{path.name}` is no export of cacheserver"
                )
        digest.update(last)
        last = line
    end = _object(path, last) if last else {}
    if about is None or end.get("kind") != "end" or end.get("sha256") != digest.hexdigest():
        raise DamagedExport(f"`{path.name}` is not whole: its end or its checksum is missing")
    return about, int(end["records"])


def _items(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        found = _object(path, line)
        if found.get("kind") not in (None, "page", "end"):
            yield f"{path.name}:{number}", found


def _lines(path: Path) -> Iterator[bytes]:
    import zstandard

    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        rest = b""
        try:
            while piece := reader.read(1 << 20):
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _LINE_BYTES:
                    raise DamagedExport(f"`{path.name}` has a line that is too long")
                yield from (line + b"\n" for line in lines)
        except zstandard.ZstdError as error:
            raise DamagedExport(f"`{path.name}` is no zstd file, or damaged") from error
        if rest:
            yield rest


def _object(path: Path, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DamagedExport(f"`{path.name}` has a line that is no JSON object")
    return found
