"""The file of a backup: commands that make the store anew, and the ledger's files, checksummed.

    "cacheserver-backup 1\\n", then one zstd frame of RESP arrays:
        meta JSON                      what was backed up, by which version, when
        file PATH OFFSET BYTES         a part of a file of the data directory
        DEL KEY, SET KEY VALUE, ...    commands for the store
        end COUNT SHA-256              of all that came before, so that a cut file is known as one

Commands rather than the server's own snapshot: any Redis or Valkey reads them, whatever version
wrote them. A file is written beside its place and moved there when it is whole; what is there
already is never replaced.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import hiredis
import orjson
import zstandard

from cacheserver.errors import SettingsError

MAGIC: Final = b"cacheserver-backup 1\n"
_CHUNK: Final = 1 << 20
_LEVEL: Final = 3  # zstd's default: some 300 MB/s a core


class Writer:
    """Records, appended. Made by `writing`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.count = 0
        self._stream = stream
        self._digest = hashlib.sha256()

    def add(self, *words: bytes | str | int | float) -> None:
        data = _packed_words(*words)
        self._digest.update(data)
        self._stream.write(data)
        self.count += 1

    def end(self) -> None:
        self._stream.write(_packed_words("end", self.count, self._digest.hexdigest()))


@contextmanager
def writing(path: Path, meta: dict[str, Any]) -> Iterator[Writer]:
    """Write a new backup; it is at `path` once the block has ended, and not if it raised.

    Raises `SettingsError` where something is at `path` already.
    """
    if path.exists():
        raise SettingsError(f"{path} exists already; a backup replaces nothing")
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC)
            with _packed(file) as stream:
                writer = Writer(stream)
                writer.add("meta", orjson.dumps(meta))
                yield writer
                writer.end()
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)  # unlike a move, it replaces nothing
        except FileExistsError:
            raise SettingsError(f"{path} exists already; a backup replaces nothing") from None
        _sync_directory(path.parent)
    finally:
        new.unlink(missing_ok=True)


def read_meta(path: Path) -> dict[str, Any]:
    """Check the whole file; what it is a backup of. Raises `SettingsError` for one that is not."""
    meta: dict[str, Any] | None = None
    for record in records(path):
        if meta is None:
            if record[0] != b"meta":
                raise _damaged(path)
            meta = orjson.loads(record[1])
    if meta is None:
        raise _damaged(path)
    return meta


def records(path: Path) -> Iterator[list[bytes]]:
    """Yield all but the last record, `meta` first.

    Raises `SettingsError` for a file that is none of ours, is cut or was changed: at its end, so
    read it once before what it says is done.
    """
    digest, count, ended = hashlib.sha256(), 0, False
    reader = hiredis.Reader()
    try:
        with path.open("rb") as file:
            if (magic := file.read(len(MAGIC))) != MAGIC:
                raise SettingsError(f"{path}: {_foreign(magic)}")
            with _unpacked(file) as stream:
                while chunk := stream.read(_CHUNK):
                    reader.feed(chunk)
                    while (record := reader.gets()) is not False:
                        if ended or not _is_words(record):
                            raise _damaged(path)
                        if record[0] == b"end":
                            ended = record[1:] == [b"%d" % count, digest.hexdigest().encode()]
                            if not ended:
                                raise _damaged(path)
                            continue
                        digest.update(_packed_words(*record))
                        count += 1
                        yield record
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (zstandard.ZstdError, hiredis.HiredisError):
        raise _damaged(path) from None
    if not ended:
        raise _damaged(path)


# All bytes of a backup pass through these two: what encrypts or decrypts them belongs here.


def _packed(file: IO[bytes]) -> IO[bytes]:
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    return packer.stream_writer(file, closefd=False)


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    return zstandard.ZstdDecompressor().stream_reader(file, closefd=False)


def _packed_words(*words: bytes | str | int | float) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub: tuples of one
    return packed


def _is_words(record: Any) -> bool:
    return (
        isinstance(record, list)
        and bool(record)
        and all(isinstance(word, bytes) for word in record)
    )


def _foreign(magic: bytes) -> str:
    if magic.startswith(b"cacheserver-backup "):
        return "it was made by a newer cacheserver; upgrade this one"
    return "it is no backup of a cacheserver"


def _damaged(path: Path) -> SettingsError:
    return SettingsError(f"{path} is damaged or was cut: its checksum does not hold")


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
