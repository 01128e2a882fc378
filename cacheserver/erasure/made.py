"""Records of what tenants made at Anthropic, as an erasure finds them."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from cacheserver.storage.connection import Connection, command


async def made_by(redis: Connection, tenant: str, keys: Sequence[bytes]) -> list[bytes]:
    """Return those of `keys` that record what a tenant made. Raises `StoreError`."""
    values = await command(redis, "MGET", *keys)
    rows = zip(keys, values, strict=True)
    return [key for key, value in rows if value and orjson.loads(value)["tenant"] == tenant]
