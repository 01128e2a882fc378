"""Ledger files: rows that have left Redis, as JSON lines compressed with zstd.

A file is named after its first and last minute, so a time range is found by name. It appears only
when it is complete. It consists of frames with a checksum each: damage costs the rows from there
on, and is reported. `zstd -dc` reads it.

Parquet files of earlier versions are read if pyarrow is installed (`ledger.parquet`).
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
import zstandard

from cacheserver.ledger import parquet
from cacheserver.storage.disk import sync_directory

_NAME: Final = re.compile(r"rows-(\d+)-(\d+)-[0-9a-f]{8}\.(jsonl\.zst|parquet)")
_PART: Final = "part-"  # prefix of an incomplete file; a backup copies `rows-*` only
_LEVEL: Final = 9  # a tenth smaller than level 3, at 4 us a row (`scripts/bench bytes`)
_FRAME_ROWS: Final = 5_000  # some 5 MB of lines, packed to 150 kB
_READ_BYTES: Final = 1 << 12  # compressed: about 100 kB of lines
_END: Final = b"\x50\x2a\x4d\x18\0\0\0\0"  # skippable frame (RFC 8878, 3.1.2): file complete
_MAX_FRAME: Final = 1 << 26  # bytes of lines, over ten times what we write

log = logging.getLogger(__name__)

OnDamage = Callable[[str], object]


@dataclass(frozen=True, slots=True, order=True)
class RowFile:
    """A ledger file with its first and last minute since 1970."""

    first: int
    last: int
    path: Path

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix == ".parquet"


class RowFileWriter:
    """Writer of flat rows to a new file in `folder`, which gets its name when it is closed."""

    def __init__(
        self, folder: Path, first: int, last: int, *, replaces: Path | None = None
    ) -> None:
        """`replaces`: an existing file with these rows, replaced atomically."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = secrets.token_hex(4)
        name = f"rows-{first}-{last}-{token}" if replaces is None else _stem(replaces)
        self._path = folder / f"{name}.jsonl.zst"
        self._replaces = replaces
        self._part = folder / f"{_PART}{token}"
        self._packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._file: BinaryIO = self._part.open("xb")
        self._waiting: list[dict[str, Any]] = []

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows. They are buffered until a frame is full."""
        self._waiting += rows
        while len(self._waiting) >= _FRAME_ROWS:
            self._write_frame()

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._waiting:
            self._write_frame()
        self._file.write(_END)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        if self._replaces not in (None, self._path):
            self._replaces.unlink(missing_ok=True)
        sync_directory(self._path.parent)

    def abandon(self) -> None:
        """Delete the incomplete file."""
        self._part.unlink(missing_ok=True)
        self._file.close()

    def _write_frame(self) -> None:
        lines = b"".join(json_lines(self._waiting[:_FRAME_ROWS]))
        self._file.write(self._packer.compress(lines))
        del self._waiting[:_FRAME_ROWS]


def json_lines(rows: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """Encode flat rows as lines of JSON; times are UTC, with a `Z`."""
    option = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    return (orjson.dumps(row, option=option) for row in rows)


def list_files(folder: Path) -> list[RowFile]:
    """Return the ledger files of a folder, oldest first.

    A Parquet file is left out if a zstd file of the same name has replaced it.
    """
    if not folder.is_dir():
        return []
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    ours = {_stem(path) for name, path in found if name and name[3] != "parquet"}
    return sorted(
        RowFile(int(name[1]), int(name[2]), path)
        for name, path in found
        if name and not (name[3] == "parquet" and _stem(path) in ours)
    )


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def remove_partial_files(folder: Path) -> None:
    """Delete the incomplete files of a server that was killed."""
    for path in folder.glob(f"{_PART}*"):
        path.unlink(missing_ok=True)


def read_rows(
    file: RowFile, start: float, end: float, tenant: str | None, damaged: OnDamage
) -> Iterator[dict[str, Any]]:
    """Yield the flat rows of a file in [start, end), of one tenant or of all (None).

    At damage it stops and calls `damaged` with the site for the error counter.
    """
    rows = parquet.read(file.path) if file.is_parquet else _rows(file.path, damaged)
    for row in rows:
        at: datetime = row["at"]
        if start <= at.timestamp() < end and tenant in (None, row["tenant"]):
            yield row


def row_ids(file: RowFile, damaged: OnDamage) -> set[str]:
    """Return the ids of the rows that can be read from a file."""
    if file.is_parquet:
        return parquet.ids(file.path) if parquet.available() else set()
    return {row["id"] for row in _rows(file.path, damaged)}


def _rows(path: Path, damaged: OnDamage) -> Iterator[dict[str, Any]]:
    try:
        for line in _lines(path):
            row: dict[str, Any] = orjson.loads(line)
            row["at"] = datetime.fromisoformat(row["at"])
            yield row
    except (OSError, ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        damaged("ledger-file")
        log.error("ledger file %s is damaged; its remaining rows are lost: %s", path.name, error)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield complete lines, one frame in memory at a time, after its checksum was verified.

    Raises `ZstdError` or `ValueError` at damage; lines before it have been yielded.
    """
    unpacker = zstandard.ZstdDecompressor()
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END)
        file.seek(max(0, left - len(_END)))
        whole = file.read() == _END
        left -= len(_END) if whole else 0
        file.seek(0)
        frame = unpacker.decompressobj()
        text: list[bytes] = []
        size = 0
        packed = b""
        while packed := packed or file.read(min(_READ_BYTES, max(0, left - file.tell()))):
            text.append(frame.decompress(packed))
            size += len(text[-1])
            if size > _MAX_FRAME:
                raise ValueError("a frame is too long")
            packed = frame.unused_data
            if frame.eof:
                yield from b"".join(text).splitlines()
                frame, text, size = unpacker.decompressobj(), [], 0
    yield from b"".join(text).split(b"\n")[:-1]
    if text or not whole:
        raise ValueError("the end of the file is missing")
