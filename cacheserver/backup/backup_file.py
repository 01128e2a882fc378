"""Backup file: Redis commands that recreate the store, and the ledger's files, with checksums.

    "cacheserver-backup 1\\n", then one zstd frame of RESP arrays:
        meta JSON                      what was backed up, by which version, when
        file PATH OFFSET BYTES         a part of a file of the data directory
        DEL KEY, SET KEY VALUE, ...    commands for the store
        end COUNT SHA-256              of all that came before, so that a cut file is known as one

Commands rather than the server's own snapshot: any Redis or Valkey reads them, whatever version
wrote them. A file is written beside its place and moved there when it is whole; what is there
already is never replaced.

Where encryption is on, another first line, a line of JSON with a key of the file's own, wrapped by
the master key, and the frame in sealed parts (`sealedfile`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

import hiredis
import orjson
import zstandard

from cacheserver.core.errors import SettingsError
from cacheserver.encryption.data_key_cipher import DataKeyCipher
from cacheserver.encryption.data_keys import ID_BYTES
from cacheserver.encryption.master_key import KEY_BYTES, MasterKeys, WrongMaster
from cacheserver.encryption.sealed_file import SealedReader, SealedWriter
from cacheserver.storage.disk import sync_directory
from cacheserver.storage.sealer import Unsealed

MAGIC: Final = b"cacheserver-backup 1\n"
SEALED: Final = b"cacheserver-backup 1 encrypted\n"
_ABOUT: Final = "a backup"
_LONGEST_LINE: Final = 4_096
_CHUNK: Final = 1 << 20
_LEVEL: Final = 3  # zstd's default: some 300 MB/s a core


class Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


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
def writing(
    path: Path, meta: dict[str, Any], *, masters: MasterKeys | None = None
) -> Iterator[Writer]:
    """Write a new backup; it is at `path` once the block has ended, and not if it raised.

    With master keys it is encrypted.

    Raises `SettingsError` where something is at `path` already.
    """
    if path.exists():
        raise SettingsError(f"{path} exists already; a backup replaces nothing")
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC if masters is None else SEALED)
            sealed = None if masters is None else _sealed(file, masters)
            with _packed(file if sealed is None else sealed) as stream:
                writer = Writer(stream)
                writer.add("meta", orjson.dumps(meta))
                yield writer
                writer.end()
            if sealed is not None:
                sealed.close()
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)  # unlike a move, it replaces nothing
        except FileExistsError:
            raise SettingsError(f"{path} exists already; a backup replaces nothing") from None
        sync_directory(path.parent)
    finally:
        new.unlink(missing_ok=True)


def is_encrypted(path: Path) -> bool:
    """Return whether a backup is encrypted. Raises `SettingsError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(SEALED)) == SEALED
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error


def read_meta(
    path: Path,
    *,
    masters: MasterKeys | None = None,
    checked: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Check the whole file; what it is a backup of. Raises `SettingsError` for one that is not.

    `checked` is called with the number of records so far.
    """
    meta: dict[str, Any] | None = None
    for count, record in enumerate(records(path, masters=masters), 1):
        checked(count)
        if meta is None:
            if record[0] != b"meta":
                raise _damaged(path)
            meta = orjson.loads(record[1])
    if meta is None:
        raise _damaged(path)
    return meta


def records(path: Path, *, masters: MasterKeys | None = None) -> Iterator[list[bytes]]:
    """Yield all but the last record, `meta` first.

    Raises `SettingsError` for a file that is none of ours, is cut or was changed: at its end, so
    read it once before what it says is done. So for one that these master keys do not open.
    """
    digest, count, ended = hashlib.sha256(), 0, False
    reader = hiredis.Reader()
    try:
        with path.open("rb") as file:
            first = file.readline(_LONGEST_LINE)
            if first not in (MAGIC, SEALED):
                raise SettingsError(f"{path}: {_foreign(first)}")
            inner = file if first == MAGIC else _opened(file, path, masters)
            with _unpacked(inner) as stream:
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
    except (zstandard.ZstdError, hiredis.HiredisError, Unsealed):
        raise _damaged(path) from None
    if not ended:
        raise _damaged(path)


def _sealed(file: IO[bytes], masters: MasterKeys) -> SealedWriter:
    """Write a key of the file's own; return what encrypts with it."""
    id, key, master = os.urandom(ID_BYTES), os.urandom(KEY_BYTES), masters.current
    wrapped = base64.b64encode(master.wrap(_ABOUT, id + key)).decode()
    file.write(orjson.dumps({"master": master.id, "wrapped": wrapped}) + b"\n")
    return SealedWriter(file, DataKeyCipher(id, key).seal)


def _opened(file: IO[bytes], path: Path, masters: MasterKeys | None) -> IO[bytes]:
    """Read the file's own key; return what decrypts with it. Raises `SettingsError`."""
    line = file.readline(_LONGEST_LINE)
    reason = f"`CACHESERVER_ENCRYPTION_KEY_FILE`, `..._COMMAND`: {path} is encrypted"
    if masters is None:
        raise SettingsError(f"{reason}; name the master key it was made with")
    try:
        found = orjson.loads(line)
        master = masters.by_id(found["master"])
        wrapped = base64.b64decode(found["wrapped"])
        if master is None:
            raise WrongMaster
        both = master.unwrap(_ABOUT, wrapped)
    except WrongMaster:
        raise SettingsError(
            f"{reason} under another master key; name that one, or beside the current one as "
            "`CACHESERVER_ENCRYPTION_OLD_KEY_FILE`"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    box = DataKeyCipher(both[:ID_BYTES], both[ID_BYTES:])
    return io.BufferedReader(SealedReader(file, box.open))


def _packed(file: Sink) -> IO[bytes]:
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    return packer.stream_writer(file, closefd=False)  # type: ignore[arg-type]  # it only writes


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
