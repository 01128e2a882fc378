"""Values in the store: JSON objects, replies, and a tenant's name as a part of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cacheserver.core.errors import StoreError


def tenant_key(tenant: str) -> str:
    """Encode a tenant's name for a key, with its length, so that no name can forge another key."""
    return f"{len(tenant)}:{tenant}"


def encode_object(what: str, value: Mapping[str, Any], *, most: int) -> bytes:
    """Encode an object as JSON. Raises `StoreError` if it is not JSON or over `most` bytes."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # its message may repeat the value
        raise StoreError(f"{what} cannot be stored: it is not JSON") from None
    if len(text) > most:
        raise StoreError(f"{what} of {len(text)} bytes is too large; the limit is {most}")
    return text


def decode_object(what: str, text: bytes) -> dict[str, Any]:
    """Decode what `encode_object` wrote. Raises `StoreError` for anything else."""
    try:
        value = orjson.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StoreError(f"{what} in the store is damaged: it is not a JSON object")
    return value


def as_bytes(reply: bytes | str) -> bytes:
    """Return a reply as bytes, whatever the types of redis-py say."""
    return reply.encode() if isinstance(reply, str) else reply


def as_text(reply: bytes | str) -> str:
    """Return a reply as text."""
    return reply if isinstance(reply, str) else reply.decode()
