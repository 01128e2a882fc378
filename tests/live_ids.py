"""The ids of all that is stored."""

from __future__ import annotations

from cacheserver.cache.store.entries import Entries
from cacheserver.storage.connection import command


async def live_ids(entries: Entries) -> set[str]:
    """Return the ids of what is stored, stale entries included. Raises `StoreError`."""
    key, now_ms = f"{entries._prefix}deadlines", entries._clock() * 1_000
    found = await command(entries._redis, "ZRANGEBYSCORE", key, f"({now_ms!r}", "+inf")
    return {id.decode() for id in found}
