"""Reader of request bodies: a size limit and strict JSON.

Rule: what we read is what Claude reads. A body that two parsers could take for two different
requests is refused, for a fingerprint of the one must not find an answer to the other.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from itertools import islice
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from cacheserver.api.heavy import AT_ONCE
from cacheserver.core.errors import BadRequest, Encoded, TooLarge

# orjson writes 254 levels and what we write wraps the body in a few of our own; no schema that
# people write comes near.
MAX_DEPTH = 200
_WRAPPED = 254 - MAX_DEPTH
_QUOTE = ord('"')

# Anthropic's limit is 100,000 messages, of some three values each. Reading so many keeps the
# interpreter's lock for 60 ms and takes 40 MB; 32 MB of `[]` would be ten million, and 0.9 GB.
MAX_VALUES = 500_000
# A batch has as many requests of some ten values, and is read in a thread of its own.
MAX_BATCH_VALUES = 4 * MAX_VALUES
# A string as one piece, whatever is in it; possessive, for going back would take time and memory.
_STRING_OR_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[,\[{]', re.DOTALL)

_GZIP = ("gzip", "x-gzip")  # the same (RFC 9110, 8.4.1.3)
_MOST_MEMBERS = 64  # gzip writes one; what is behind each is copied, so many would take for ever


async def read_body(request: Request, limit: int) -> bytes:
    """Return the decompressed body. Raises `TooLarge` before more than `limit` bytes are read.

    A length that was announced is believed only to refuse: chunks are counted as they come. Raises
    `Encoded` for an encoding other than gzip.
    """
    packing = _header(request, b"content-encoding").strip().lower()
    if packing not in ("identity", "", *_GZIP):
        raise Encoded(
            f"`content-encoding`: {packing[:64]!r} is not read here; send gzip or none",
            headers={"accept-encoding": "gzip", "connection": "close"},
        )
    announced = _header(request, b"content-length")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if packing not in _GZIP or not raw:
        return raw
    found = _unpack(raw, min(limit, AT_ONCE)) if len(raw) <= AT_ONCE else None
    if found is None:
        found = await asyncio.to_thread(_unpack, raw, limit)
    if found is None:
        raise _too_large(limit)
    return found


def _header(request: Request, name: bytes) -> str:
    """Return the first value of a header, without decoding the others; empty if there is none."""
    for sent, value in request.scope["headers"]:
        if sent == name:
            return str(value, "latin-1")
    return ""


def _unpack(raw: bytes, limit: int) -> bytes | None:
    """Decompress all members; None if that gives more than `limit` bytes."""
    found: list[bytes] = []
    left = limit + 1
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            piece = member.decompress(raw, left)
        except zlib.error:
            raise BadRequest("body", "is not valid gzip") from None
        found.append(piece)
        left -= len(piece)
        if left <= 0:
            return None
        if not member.eof:
            raise BadRequest("body", "is cut off: the gzip data have no end")
        raw = member.unused_data
        if not raw:
            return b"".join(found)
    raise BadRequest("body", f"has more than {_MOST_MEMBERS} gzip members")


def parse(raw: bytes, *, most: int = MAX_VALUES) -> dict[str, Any]:
    """Return the JSON object in a body. Raises `BadRequest` for anything else or a repeated key.

    Raises `TooLarge` for more than `most` values.
    """
    if not raw.strip():
        raise BadRequest("body", "is empty; send a JSON object")
    _refuse_crowd(raw, most)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest("body", f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("body", "must be a JSON object")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    # Most clients write JSON as orjson does. Then no key was there twice and no number was
    # rounded, or it would have come out shorter or different: one comparison, 1 us for 500 bytes.
    if orjson.dumps(value) == raw:
        return value
    found = json.loads(raw, object_pairs_hook=_once_each)
    assert isinstance(found, dict)  # orjson has read one
    return found


def refuse_crowd(lines: bytes) -> None:
    """Raise `TooLarge` for lines with more than `MAX_VALUES` values in all, or more lines."""
    _refuse_crowd(lines, MAX_VALUES)
    if lines.count(b"\n") + lines.count(b"\r") > MAX_VALUES:
        raise TooLarge(f"the body holds more than {MAX_VALUES:,} lines")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadRequest(key[:64], "is there twice in one object")
            seen.add(key)
    return found


def _refuse_crowd(raw: bytes, most: int) -> None:
    """Raise `TooLarge` for more than `most` values, before any of them is made."""
    if len(raw) <= most or sum(map(raw.count, (b",", b"[", b"{"))) <= most:
        return  # nearly always: what is counted is in texts too
    values = (found for found in _STRING_OR_VALUE.finditer(raw) if raw[found.start()] != _QUOTE)
    if next(islice(values, most, None), None) is not None:
        raise TooLarge(f"the body holds more than {most:,} values")


def _refuse_depth(value: object) -> None:
    for _ in range(_WRAPPED):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise BadRequest("body", f"is nested more than {MAX_DEPTH} levels deep") from None


def _too_large(limit: int) -> TooLarge:
    # The rest is not read, so the connection is of no more use.
    return TooLarge(f"the body is larger than {limit} bytes", headers={"connection": "close"})
