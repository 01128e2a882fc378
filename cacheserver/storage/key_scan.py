"""Scan of the store's keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from cacheserver.storage.connection import Connection, command

_PAGE: Final = 500  # keys per round trip


async def scan_keys(redis: Connection, prefix: str) -> AsyncIterator[list[bytes]]:
    """Yield the keys under `prefix`, in pages. Raises `StoreError`."""
    cursor, pattern = 0, pattern_of(prefix)
    while True:
        cursor, found = await command(redis, "SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
        if found:
            yield found
        if not int(cursor):
            return


def pattern_of(prefix: str) -> str:
    """Return the pattern of all keys that begin with `prefix`."""
    return "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in prefix) + "*"
