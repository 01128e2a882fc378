"""Memory of keys and settings while they change, or while the store fails."""

from __future__ import annotations

import pytest

from cacheserver.core.errors import StoreError, Unavailable
from cacheserver.tenants.grace_cache import FRESH_S, GraceCache


async def test_what_was_forgotten_during_a_read_is_not_kept() -> None:
    cache = GraceCache[str](lambda: 0.0)

    async def old() -> str:
        cache.forget("a")  # it was changed, and this read may have been before
        return "old"

    async def new() -> str:
        return "new"

    assert await cache.get("a", old) == "old"
    assert await cache.get("a", new) == "new"


async def test_what_was_forgotten_during_a_failed_read_does_not_come_back() -> None:
    now = 0.0
    cache = GraceCache[str](lambda: now)

    async def old() -> str:
        return "old"

    async def fail() -> str:
        cache.clear()
        raise StoreError("the store is away")

    assert await cache.get("a", old) == "old"
    now = FRESH_S
    with pytest.raises(Unavailable):
        await cache.get("a", fail)
    with pytest.raises(Unavailable):
        await cache.get("a", fail)
