"""Snapshot of a `VectorIndex` in a file, for a faster start. Rule: a mismatch refuses it whole.

The file: magic; records, each a length and JSON, followed by arrays: a header, the blocks, each
scope's inverted lists before its first, an end with the count, followed by `extra`; SHA-256 of
everything before. So a start reads a scope as fast as it is copied, and trains nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import orjson

from cacheserver.index.errors import BadVector, SnapshotRefused
from cacheserver.index.partition import Block, Lists
from cacheserver.index.vectors import IVF_FROM, VectorIndex

_MAGIC = b"cacheserver-index\n"
_FORMAT = 2  # 1 had no inverted lists
_DIGEST_BYTES = hashlib.sha256().digest_size
_LENGTH_BYTES = 8
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Contents of a file. Entries may have expired since: `index.expire(now)` removes them."""

    index: VectorIndex
    extra: bytes
    left: dict[str, list[str]] = field(default_factory=dict)  # ids of scopes beyond the limit


class Sink(Protocol):
    def write(self, data: Any, /) -> object: ...  # any buffer
    def close(self) -> None: ...


class Coat(Protocol):
    """Filter that a file is written and read through, such as encryption."""

    def writing(self, file: IO[bytes], /) -> Sink:
        """Return a writer that must be closed before `file`."""

    def reading(self, file: IO[bytes], /) -> IO[bytes]:
        """May raise `ValueError`, as its reads may."""


def save(
    path: Path,
    index: VectorIndex,
    *,
    embedder_id: str,
    extra: bytes = b"",
    coat: Coat | None = None,
) -> int:
    """Write the index, in use or not, replacing the file; return the number of vectors.

    Killed or failing (`OSError`) at any point, it leaves the old file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        prefix=f".{path.name}-", dir=path.parent, delete=False
    ) as file:
        try:
            if coat is None:
                count = _write(file, index, embedder_id, extra)
            else:
                sink = coat.writing(file)
                count = _write(sink, index, embedder_id, extra)
                sink.close()
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync(path.parent)
    return count


def load(
    path: Path,
    *,
    embedder_id: str,
    dim: int,
    ivf_from: int = IVF_FROM,
    coat: Coat | None = None,
    limit: int | None = None,
) -> Snapshot:
    """Return what `save` wrote. Raises `SnapshotRefused`, also if there is no file.

    `limit`: bytes of vectors, beyond which no further scope is read.
    """
    try:
        with path.open("rb") as file:
            inner = file if coat is None else coat.reading(file)
            _verify(inner)
            return _read(inner, embedder_id, VectorIndex(dim, ivf_from=ivf_from), limit)
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadVector) as problem:
        raise SnapshotRefused(f"`{path}` cannot be read: {type(problem).__name__}") from problem


class _Writes(Protocol):
    def __call__(self, data: Any, /) -> object: ...  # any buffer


def _write(file: Sink, index: VectorIndex, embedder_id: str, extra: bytes) -> int:
    digest = hashlib.sha256()

    def write(data: Any) -> None:
        digest.update(data)
        file.write(data)

    count, lists = 0, None
    write(_MAGIC)
    _record(write, {"format": _FORMAT, "dim": index.dim, "embedder": embedder_id})
    with contextlib.closing(index.blocks()) as blocks:
        for block in blocks:
            if block.lists is not None and block.lists is not lists:
                lists = block.lists
                about = {"trained_at": lists.trained_at, "centroids": len(lists.centroids)}
                _record(write, {"scope": block.scope, **about})
                write(lists.centroids)
            _record(write, {"scope": block.scope, "list": block.number, "ids": block.ids})
            write(np.ascontiguousarray(block.expires_at, "<f8").data.cast("B"))
            write(np.ascontiguousarray(block.vectors, "<f2").data.cast("B"))
            count += len(block.ids)
    _record(write, {"end": count, "extra": len(extra)})
    write(extra)
    file.write(digest.digest())
    return count


def _record(write: _Writes, about: Mapping[str, Any]) -> None:
    data = orjson.dumps(about)
    write(len(data).to_bytes(_LENGTH_BYTES, "little"))
    write(data)


def _verify(file: IO[bytes]) -> None:
    """Raise unless the file ends in the digest of all before; leave it behind the magic."""
    left = file.seek(0, os.SEEK_END) - _DIGEST_BYTES
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        chunk = _exactly(file, min(left, _CHUNK_BYTES))
        digest.update(chunk)
        left -= len(chunk)
    if file.read() != digest.digest():
        raise SnapshotRefused("the snapshot is damaged")
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise SnapshotRefused("the file is no snapshot")


def _read(file: IO[bytes], embedder_id: str, index: VectorIndex, limit: int | None) -> Snapshot:
    header = _next(file)
    dim = index.dim
    found = (header["format"], header["embedder"], header["dim"])
    if found != (_FORMAT, embedder_id, dim):
        raise SnapshotRefused(f"the snapshot is of {found}, not {(_FORMAT, embedder_id, dim)}")
    left, last, lists = dict[str, list[str]](), None, dict[str, Lists]()
    while "scope" in (about := _next(file)):
        scope = about["scope"]
        if "centroids" in about:
            centroids = _exactly(file, about["centroids"])
            lists = {scope: Lists(centroids, about["trained_at"])}
            continue
        ids = about["ids"]
        expires_at = np.frombuffer(_exactly(file, 8 * len(ids)), "<f8")
        vectors = np.frombuffer(_exactly(file, 2 * dim * len(ids)), "<f2").reshape(-1, dim)
        if scope in left or (limit is not None and index.bytes > limit and scope != last):
            left.setdefault(scope, []).extend(ids)
        else:
            index.put_back(Block(scope, ids, expires_at, vectors, lists.get(scope), about["list"]))
            last = scope
    count = len(index) + sum(map(len, left.values()))
    if count != about["end"]:
        raise SnapshotRefused(f"the snapshot holds {count} vectors of {about['end']}")
    return Snapshot(index, _exactly(file, about["extra"]), left)


def _next(file: IO[bytes]) -> dict[str, Any]:
    length = int.from_bytes(_exactly(file, _LENGTH_BYTES), "little")
    about: dict[str, Any] = orjson.loads(_exactly(file, length))
    return about


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{size} bytes expected, {len(data)} there")
    return data


def _sync(folder: Path) -> None:
    """Make the new name outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
