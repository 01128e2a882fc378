"""Store of each conversation's model, by the digest of its turns, shared by all servers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from cacheserver.routing.turns import LastAnswer
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.key_scan import scan_keys

# ARGV: key, value, lifetime (s) of each.
_KEEP = """
for at = 1, #ARGV, 3 do redis.call('SET', ARGV[at], ARGV[at + 1], 'EX', ARGV[at + 2]) end
"""


class StickyModels:
    """Store of the last model. Every method raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._keep = redis.register_script(_KEEP)

    async def first(self, digests: Sequence[str]) -> LastAnswer | None:
        """Return the record of the first of `digests` that has one."""
        if not digests:
            return None
        values = await command(self._redis, "MGET", *map(self._key, digests))
        return next((answer for value in values if (answer := _read(value)) is not None), None)

    async def keep(self, answers: Iterable[tuple[str, LastAnswer, int]]) -> None:
        """Store records, each of (digest, record, seconds), replacing those before."""
        words: list[str | int] = []
        for digest, answer, keep_s in answers:
            words += self._key(digest), json.dumps([answer.model, answer.cached_until]), keep_s
        if words:
            await run_script(self._keep, *words)

    async def forget(self) -> None:
        """Delete every conversation's model: the keys do not name a tenant."""
        async for page in scan_keys(self._redis, f"{self._prefix}cv:"):
            await command(self._redis, "UNLINK", *page)

    def _key(self, digest: str) -> str:
        return f"{self._prefix}cv:{digest}"


def _read(value: bytes | None) -> LastAnswer | None:
    """Decode a record; None also for one of another version."""
    try:
        model, cached_until = json.loads(value or b"")
        return LastAnswer(str(model), float(cached_until))
    except (ValueError, TypeError):
        return None
