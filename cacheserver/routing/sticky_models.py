"""Which model a conversation is on, by the digest of its turns: in Redis, so any server knows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cacheserver.routing.turns import LastAnswer
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.key_copy import scan_keys


class StickyModels:
    """Reads and keeps the last model. Every method raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix

    async def first(self, digests: Sequence[str]) -> LastAnswer | None:
        """What was kept under the first of `digests` that has anything."""
        if not digests:
            return None
        values = await command(self._redis, "MGET", *map(self._key, digests))
        return next((kept for value in values if (kept := _read(value)) is not None), None)

    async def keep(self, digest: str, kept: LastAnswer, *, keep_s: int) -> None:
        """Keep it for `keep_s` seconds, in place of what was there."""
        value = json.dumps([kept.model, kept.cached_until])
        await command(self._redis, "SET", self._key(digest), value, "EX", keep_s)

    async def forget(self) -> None:
        """Forget every conversation's model: of whose they are nothing is known."""
        async for page in scan_keys(self._redis, f"{self._prefix}cv:"):
            await command(self._redis, "UNLINK", *page)

    def _key(self, digest: str) -> str:
        return f"{self._prefix}cv:{digest}"


def _read(value: bytes | None) -> LastAnswer | None:
    """None also for what another version wrote: then nobody knows the conversation."""
    try:
        model, cached_until = json.loads(value or b"")
        return LastAnswer(str(model), float(cached_until))
    except (ValueError, TypeError):
        return None
