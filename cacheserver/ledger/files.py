"""The ledger's files, JSON lines packed with zstd: the rows that the store no longer keeps.

A file is named after its first and last minute, so a range is looked for by name, and it is there
whole or not at all. It is a row of frames, each with a checksum: what is damaged later costs the
rows from there on, and is told. `zstd -dc` reads it.

Files that an earlier version wrote as Parquet are read where pyarrow is (`ledgerparquet`).
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

from cacheserver.ledger import parquet as ledgerparquet

_NAME: Final = re.compile(r"rows-(\d+)-(\d+)-[0-9a-f]{8}\.(jsonl\.zst|parquet)")
_PART: Final = "part-"  # of a file not whole yet: a backup takes what begins with `rows-`
_LEVEL: Final = 9  # a tenth smaller than level 3, at 4 us a row (`scripts/bench bytes`)
_FRAME_ROWS: Final = 5_000  # some 5 MB of lines, packed to 150 kB
_READ_BYTES: Final = 1 << 12  # packed: a hundred kilobytes of lines
_END: Final = b"\x50\x2a\x4d\x18\0\0\0\0"  # a frame that is skipped (RFC 8878, 3.1.2): all is there
_MAX_FRAME: Final = 1 << 26  # bytes of lines: ten times what we write

log = logging.getLogger(__name__)

Damaged = Callable[[str], object]


@dataclass(frozen=True, slots=True, order=True)
class RowFile:
    """A file with its first and last minute since 1970."""

    first: int
    last: int
    path: Path

    @property
    def parquet(self) -> bool:
        return self.path.suffix == ".parquet"


class Writer:
    """Writes flat rows to a new file of `folder`; under another name until it is `close`d whole."""

    def __init__(
        self, folder: Path, first: int, last: int, *, replaces: Path | None = None
    ) -> None:
        """`replaces`: the file whose rows these are; it is replaced in one step."""
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
        """Add rows; those of a frame are in memory until it is full."""
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
        _sync(self._path.parent)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._part.unlink(missing_ok=True)
        self._file.close()

    def _write_frame(self) -> None:
        lines = b"".join(lines_of(self._waiting[:_FRAME_ROWS]))
        self._file.write(self._packer.compress(lines))
        del self._waiting[:_FRAME_ROWS]


def lines_of(rows: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """Flat rows as lines of JSON; times are UTC, with a `Z`."""
    option = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
    return (orjson.dumps(row, option=option) for row in rows)


def files(folder: Path) -> list[RowFile]:
    """The files of a folder, the oldest first.

    A Parquet file beside one of ours with its name is replaced already: a server was killed then.
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


def drop_parts(folder: Path) -> None:
    """Remove what a killed server left half written."""
    for path in folder.glob(f"{_PART}*"):
        path.unlink(missing_ok=True)


def read(
    file: RowFile, start: float, end: float, tenant: str | None, damaged: Damaged
) -> Iterator[dict[str, Any]]:
    """The flat rows of a file in [start, end), of one tenant or of all.

    Where the file is damaged, those before; `damaged` is then called with what to count.
    """
    rows = ledgerparquet.read(file.path) if file.parquet else _rows(file.path, damaged)
    for row in rows:
        at: datetime = row["at"]
        if start <= at.timestamp() < end and tenant in (None, row["tenant"]):
            yield row


def ids(file: RowFile, damaged: Damaged) -> set[str]:
    """The ids of a file's rows, as far as they can be read."""
    if file.parquet:
        return ledgerparquet.ids(file.path) if ledgerparquet.available() else set()
    return {row["id"] for row in _rows(file.path, damaged)}


def _rows(path: Path, damaged: Damaged) -> Iterator[dict[str, Any]]:
    try:
        for line in _lines(path):
            row: dict[str, Any] = orjson.loads(line)
            row["at"] = datetime.fromisoformat(row["at"])
            yield row
    except (OSError, ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        damaged("ledger-file")
        log.error("%s is damaged; its rows from there on are missing: %s", path.name, error)


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines, a frame in memory at a time, which is given when its checksum holds.

    Raises `ZstdError` or `ValueError` at a damage; of a frame that was cut after what there is.
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
                raise ValueError("a frame without an end")
            packed = frame.unused_data
            if frame.eof:
                yield from b"".join(text).splitlines()
                frame, text, size = unpacker.decompressobj(), [], 0
    yield from b"".join(text).split(b"\n")[:-1]
    if text or not whole:
        raise ValueError("its end is missing")


def _sync(folder: Path) -> None:
    """Bring a new name to the disk too: the store forgets the rows on the strength of it."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
