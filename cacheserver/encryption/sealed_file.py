"""Encrypted files in sealed parts, written sequentially and read at any offset.

Each part is sealed for its position, the last one as the last, so a missing, repeated or foreign
part is detected when it is read.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Final

from cacheserver.encryption.data_key_cipher import OVERHEAD_BYTES
from cacheserver.storage.sealer import STORE, Sealer, Unsealed

MAGIC: Final = b"cacheserver-sealed 1\n"
_KIND: Final = "files"  # as values are sealed
_ID_BYTES: Final = 16
_HEAD_BYTES: Final = len(MAGIC) + _ID_BYTES
_PART: Final = 1 << 20  # bytes in memory at a time; a read at any offset costs 1 ms
_SEALED_PART: Final = _PART + OVERHEAD_BYTES

Seal = Callable[[str, bytes], bytes]  # of a part's name and its bytes


def is_sealed(file: IO[bytes]) -> bool:
    """Return whether `file`, which stands at its start, is sealed. The position is restored."""
    begins = file.read(len(MAGIC))
    file.seek(-len(begins), os.SEEK_CUR)
    return begins == MAGIC


class SealedWriter:
    """Writer into `file`, which stays open; `close` writes the last part."""

    def __init__(self, file: IO[bytes], seal: Seal) -> None:
        self._file = file
        self._seal = seal
        self._id = secrets.token_bytes(_ID_BYTES)
        self._held = bytearray()
        self._parts = 0
        file.write(MAGIC + self._id)

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        self._held += view
        while len(self._held) > _PART:  # not at its size: it may be the last one
            self._part(bytes(self._held[:_PART]), last=False)
            del self._held[:_PART]
        return len(view)

    def close(self) -> None:
        self._part(bytes(self._held), last=True)

    def _part(self, plain: bytes, *, last: bool) -> None:
        self._file.write(self._seal(_name(self._id, self._parts, last=last), plain))
        self._parts += 1


class SealedReader(io.RawIOBase):
    """Reader of what `SealedWriter` wrote, from the current position of `file` to its end.

    Reading raises `Unsealed` if a part cannot be decrypted.
    """

    def __init__(self, file: IO[bytes], open: Seal) -> None:
        self._file = file
        self._open = open
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES or not head.startswith(MAGIC):
            raise Unsealed("torn")
        self._id, self._start = head[len(MAGIC) :], file.tell()
        size = file.seek(0, os.SEEK_END) - self._start
        self._count = max(1, -(-size // _SEALED_PART))
        self._size = size - self._count * OVERHEAD_BYTES
        self._at = 0
        self._held: tuple[int, bytes] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        number, offset = divmod(self._at, _PART)
        if number >= self._count:
            return 0
        some = self._part(number)[offset : offset + len(buffer)]
        buffer[: len(some)] = some
        self._at += len(some)
        return len(some)

    def _part(self, number: int) -> bytes:
        if self._held is None or self._held[0] != number:
            self._file.seek(self._start + number * _SEALED_PART)
            name = _name(self._id, number, last=number == self._count - 1)
            self._held = number, self._open(name, self._file.read(_SEALED_PART))
        return self._held[1]


def _name(id: bytes, number: int, *, last: bool) -> str:
    return f"{id.hex()}:{number}:{int(last)}"


class SealedFiles:
    """Sealed files that belong to the store itself."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def writing(self, file: IO[bytes], /) -> SealedWriter:
        return SealedWriter(file, partial(self._sealer.seal, _KIND, STORE))

    def reading(self, file: IO[bytes], /) -> IO[bytes]:
        """Open for reading. A plain file, from before encryption was on, is returned as it is."""
        if not is_sealed(file):
            return file
        return io.BufferedReader(SealedReader(file, partial(self._sealer.open, _KIND, STORE)))
