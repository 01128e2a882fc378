"""Files in sealed parts: read as they were written, and refused where they were not."""

from __future__ import annotations

import io
import os
import random

import pytest

from cacheserver.encryption.data_key_cipher import OVERHEAD_BYTES, DataKeyCipher
from cacheserver.encryption.sealed_file import MAGIC, SealedFiles, SealedReader, SealedWriter
from cacheserver.storage.sealer import PlainSealer, Unsealed

BOX = DataKeyCipher(b"k" * 8, b"1" * 32)
PART = 1 << 20
HEAD = len(MAGIC) + 16
SIZES = (0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 17)


def written(plain: bytes) -> bytes:
    """A sealed file, written in pieces of any size."""
    out, at, sizes = io.BytesIO(), 0, random.Random(len(plain))
    writer = SealedWriter(out, BOX.seal)
    while at < len(plain):
        size = sizes.choice((1, 1_000, PART // 2, PART, 3 * PART))
        assert writer.write(memoryview(plain)[at : at + size]) == len(plain[at : at + size])
        at += size
    writer.close()
    return out.getvalue()


def read(sealed: bytes) -> bytes:
    return io.BufferedReader(SealedReader(io.BytesIO(sealed), BOX.open)).read()


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_read_as_it_was_written_from_anywhere(size: int) -> None:
    plain = os.urandom(size)
    sealed = written(plain)
    assert read(sealed) == plain
    assert size < 32 or plain[:32] not in sealed
    file = io.BufferedReader(SealedReader(io.BytesIO(sealed), BOX.open))
    assert file.seek(0, os.SEEK_END) == size
    for at in (0, size // 2, max(0, size - 3), size):
        assert file.seek(at) == at
        assert file.read(5) == plain[at : at + 5]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_was_cut_changed_or_put_together_is_refused(size: int) -> None:
    plain = os.urandom(size)
    sealed, other = written(plain), written(plain)
    parts = [
        sealed[at : at + PART + OVERHEAD_BYTES]
        for at in range(HEAD, len(sealed), PART + OVERHEAD_BYTES)
    ]
    head = sealed[:HEAD]
    wrong = [
        sealed[:-1],
        sealed + b"x",
        head + b"".join(parts[:-1]),
        head + b"".join([*parts, parts[-1]]),
        head + b"".join(reversed(parts)) if len(parts) > 1 else head,
        other[:HEAD] + sealed[HEAD:],
        head + b"".join([*parts[1:2], *parts[:1], *parts[2:]]) if len(parts) > 2 else head,
        sealed[:-5] + bytes([sealed[-5] ^ 1]) + sealed[-4:],
        sealed[: HEAD - 1],
        b"",
    ]
    for one in wrong:
        with pytest.raises(Unsealed):
            read(one)


def test_a_plain_file_is_read_as_it_is() -> None:
    coat = SealedFiles(PlainSealer())
    for plain in (b"", b"cache", b"cacheserver-index\n..."):
        assert coat.reading(io.BytesIO(plain)).read() == plain
