"""A request's body: as many bytes as are allowed, and strict JSON.

Rule: what we read is what Claude reads. A body that two parsers could take for two different
requests is refused, for a fingerprint of the one must not find an answer to the other.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from cacheserver.errors import BadRequest, TooLarge

# orjson writes 254 levels and what we write wraps the body in a few of our own; no schema that
# people write comes near.
MAX_DEPTH = 200
_WRAPPED = 254 - MAX_DEPTH


async def read_body(request: Request, limit: int) -> bytes:
    """The body. Raises `TooLarge` before more than `limit` bytes are read.

    A length that was announced is believed only to refuse: chunks are counted as they come.
    """
    announced = request.headers.get("content-length", "")
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
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises `BadRequest` for anything else, naming a repeated key."""
    if not raw.strip():
        raise BadRequest("body", "is empty; send a JSON object")
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


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadRequest(key[:64], "is there twice in one object")
            seen.add(key)
    return found


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
