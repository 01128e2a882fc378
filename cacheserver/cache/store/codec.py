"""Entries and vectors as bytes.

A value is one version byte, the entry's id (32 bytes, read in place by the Lua scripts), the
length of a JSON header, the header, and the payload (Claude's message, or vectors). The
message is never parsed or re-encoded: it leaves as it came. All behind the id of an entry is a
zstd frame instead where that is smaller: of prose it takes 60%, and 4 us to read. Where encryption
is on, all behind the id is sealed. What cannot be read - another version, a torn value - is absent,
never an error: doubt is a miss.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard

from cacheserver.core.errors import StoreError
from cacheserver.core.types import FIRST_EMBEDDER, Entry, Usage
from cacheserver.storage.sealer import Sealer

VERSION, SEALED = 1, 2
ID_END = 33  # where what is sealed begins: behind the version and the id
_HEAD = struct.Struct(">B32sI")  # version, id, length of the header
_LENGTH = struct.Struct(">I")
_PLAIN, _SEALED = bytes((VERSION,)), bytes((SEALED,))
# Defaults of fields that older entries lack: actor, made up, conversation, curated by, put by. The
# last two are left out of entries that Claude answered, so that older servers read those.
_LATER = (None, False, None, None, None)
_FIELDS = 16
_UNREADABLE = (
    *(struct.error, ValueError, TypeError, IndexError, UnicodeDecodeError),
    *(zstandard.ZstdError, MemoryError),  # the latter of a damaged frame that names a huge size
)


class _Zstd(threading.local):
    """Compressor and decompressor of each thread: they are slow to make, and not to be shared."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=3).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()


@dataclass(frozen=True, slots=True)
class VectorRow:
    """The embeddings of a stored question, and where they belong in the index."""

    entry_id: str
    fingerprint: str
    scope: str
    tenant: str
    expires_at: float
    # By embedder, fp16. An empty one: it cannot read the question. None: it has not tried yet.
    vectors: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """The embedding of a stored answer: its mean, and of a long one its first and last part."""

    entry_id: str
    made_by: str  # which embedder read which parts: of two, rows are never compared
    vectors: bytes  # fp16, one after the other


def pack_entry(entry: Entry) -> bytes:
    """Return the bytes of `entry`. Raises `StoreError` where it holds what cannot be written."""
    header = [
        entry.tenant,
        entry.namespace,
        entry.fingerprint,
        entry.scope,
        entry.text,
        entry.model,
        entry.cost,
        entry.tags,
        entry.created_at,
        entry.expires_at,
        _usage_row(entry.usage),
        entry.actor,
        entry.made_up,
        entry.conversation,
    ]
    if entry.curated_by is not None or entry.put_by is not None:
        header.append(entry.curated_by)
    if entry.put_by is not None:
        header.append(entry.put_by)
    value = _pack(entry.id, header, entry.message)
    frame = _zstd.compress(value[ID_END:])
    return value if len(value) <= ID_END + len(frame) else value[:ID_END] + frame


def unpack_entry(value: bytes | None) -> Entry | None:
    """Return the entry in `value`, None where there is none that this version can read."""
    if value is None:
        return None
    try:
        entry_id, header, payload = _unpack(value)
        if _FIELDS - len(_LATER) <= len(header) < _FIELDS:
            header += _LATER[len(header) - _FIELDS :]
        tenant, namespace, fingerprint, scope, text, model, cost, tags, *rest = header
        created, expires, usage, actor, made_up, conversation, curated_by, put_by = rest
        return Entry(
            id=entry_id,
            tenant=tenant,
            namespace=namespace,
            fingerprint=fingerprint,
            scope=scope,
            text=text,
            model=model,
            message=payload,
            usage=_usage(usage),
            cost=cost,
            tags=tuple(tags),
            created_at=created,
            expires_at=expires,
            actor=actor,
            made_up=made_up,
            conversation=conversation,
            curated_by=curated_by,
            put_by=put_by,
        )
    except _UNREADABLE:
        return None


def entry_header(value: bytes | None) -> bytes:
    """Return the JSON of an entry without its message, empty where it cannot be read."""
    try:
        if value is None:
            return b""
        body, start = _body(value)
        return body[_LENGTH.size : start]
    except _UNREADABLE:
        return b""


def vector_row(entry: Entry, vectors: Mapping[str, bytes]) -> VectorRow:
    """Return the row of `entry`'s question with its vectors by embedder."""
    return VectorRow(
        entry.id, entry.fingerprint, entry.scope, entry.tenant, entry.expires_at, vectors
    )


def pack_vectors(row: VectorRow) -> bytes:
    """Return the bytes of the embeddings of a question."""
    parts = [[embedder, len(vector)] for embedder, vector in row.vectors.items()]
    header = [row.fingerprint, row.scope, row.tenant, row.expires_at, parts]
    return _pack(row.entry_id, header, b"".join(row.vectors.values()))


def unpack_vectors(value: bytes | None) -> VectorRow | None:
    """Return the row in `value`, None where there is none that this version can read."""
    if value is None:
        return None
    try:
        entry_id, (fingerprint, scope, tenant, expires_at, *later), payload = _unpack(value)
        parts: list[tuple[str, int]]
        parts = later[0] if later else [(FIRST_EMBEDDER, len(payload))]
        vectors, at = dict[str, bytes](), 0
        for embedder, size in parts:
            vectors[embedder] = payload[at : at + size]
            at += size
        if at != len(payload):
            return None
        return VectorRow(entry_id, fingerprint, scope, tenant, expires_at, vectors)
    except _UNREADABLE:
        return None


def pack_answer(row: AnswerRow) -> bytes:
    """Return the bytes of the embedding of an answer."""
    return _pack(row.entry_id, [row.made_by], row.vectors)


def unpack_answer(value: bytes | None) -> AnswerRow | None:
    """Return the row in `value`, None where there is none that this version can read."""
    if value is None:
        return None
    try:
        entry_id, (made_by,), vectors = _unpack(value)
        return AnswerRow(entry_id, made_by, vectors)
    except _UNREADABLE:
        return None


def seal(sealer: Sealer, kind: str, *, tenant: str, fingerprint: str, value: bytes) -> bytes:
    """Return what to store of a packed value: itself where encryption is off.

    Raises `StoreError` where the tenant's key is not in memory.
    """
    if not sealer.on:
        return value
    id, rest = value[1:ID_END], value[ID_END:]
    sealed = sealer.seal(kind, tenant, f"{id.decode()}:{fingerprint}", rest)
    return _SEALED + id + sealed


def unseal(sealer: Sealer, kind: str, fingerprint: str, value: bytes | None) -> bytes | None:
    """Return the packed value; None for one that does not open, which is counted.

    It need not be said whose value it is: the entry inside says so, and a look-up checks that.
    """
    if value is None or value[:1] != _SEALED:
        return value
    id = value[1:ID_END]
    name = f"{id.decode(errors='replace')}:{fingerprint}"
    rest = sealer.opened(kind, None, name, value[ID_END:])
    return None if rest is None else _PLAIN + id + rest


def _pack(entry_id: str, header: list[Any], payload: bytes) -> bytes:
    name = entry_id.encode()
    if len(name) != 32:
        raise StoreError("an entry's id has 32 characters")
    try:
        head = orjson.dumps(header)
    except TypeError:  # a lone surrogate or an integer past 64 bits; its text stays out of logs
        raise StoreError("the entry cannot be written as JSON") from None
    return b"".join((_HEAD.pack(VERSION, name, len(head)), head, payload))


def _unpack(value: bytes) -> tuple[str, list[Any], bytes]:
    name, header, payload = _parts(value)
    return name.decode(), orjson.loads(header), payload


def _parts(value: bytes) -> tuple[bytes, bytes, bytes]:
    """Return id, header and payload of a value."""
    body, start = _body(value)
    return value[1:ID_END], body[_LENGTH.size : start], body[start:]


def _body(value: bytes) -> tuple[bytes, int]:
    """Return all behind the id, and where the payload begins there."""
    if len(value) <= ID_END or value[0] != VERSION:
        raise ValueError("another version wrote this")
    body = value[ID_END:]
    if body.startswith(zstandard.FRAME_HEADER):  # no header is as long as that reads
        body = _zstd.decompress(body)
    return body, _LENGTH.size + _LENGTH.unpack_from(body)[0]


def _usage_row(usage: Usage) -> list[Any]:
    return [
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
        usage.web_searches,
        usage.service_tier,
        usage.speed,
        usage.inference_geo,
        [(model, _usage_row(one)) for model, one in usage.iterations],
    ]


def _usage(row: list[Any]) -> Usage:
    iterations = tuple((model, _usage(one)) for model, one in row[-1])
    fields: list[Any] = [*row[:-1], iterations]
    return Usage(*fields)
