"""Small JSON values in the store, and how a tenant's keys are spelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cacheserver.core.errors import StoreError


def tenant_key(tenant: str) -> str:
    """A tenant as part of a key: its length keeps it from spelling another one's keys."""
    return f"{len(tenant)}:{tenant}"


def encode_object(what: str, value: Mapping[str, Any], *, most: int) -> bytes:
    """The value as JSON. Raises `StoreError` where it has none, or beyond `most` bytes."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # its message may repeat the value
        raise StoreError(f"{what} cannot be kept: it is not JSON") from None
    if len(text) > most:
        raise StoreError(f"{what} of {len(text)} bytes is too large; {most} are kept at most")
    return text


def decode_object(what: str, text: bytes) -> dict[str, Any]:
    """What `encode_object` wrote. Raises `StoreError` where it is anything else."""
    try:
        value = orjson.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StoreError(f"{what} that was kept makes no sense")
    return value
