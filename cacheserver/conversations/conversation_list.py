"""List of the named conversations of all tenants, for the admin: by page, without their turns.

There is no index: a page scans the store's keys for half a second at most, so that a question on a
conversation writes nothing for it. The order is the store's own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.core.errors import BadRequest
from cacheserver.storage.connection import PREFIX, Connection, command, store_errors
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.key_scan import pattern_of

_LIMIT_S: Final = 0.5
_SCANNED: Final = 1_000  # keys looked at in one round trip: under a millisecond of the store
_CURSOR: Final = re.compile(r"([0-9]{1,20}):([0-9a-f]{16})?")
_MOST_CURSOR: Final = 2**64


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """A conversation without its turns."""

    tenant: str
    namespace: str
    name: str
    turns: int
    bytes: int
    expires_in_s: float

    @property
    def mark(self) -> str:
        """Return the digest that decisions name it by."""
        return conversation_mark(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class ConversationPage:
    items: Sequence[ListedConversation]
    next: str | None


class ConversationList:
    """Reads the list. Raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._start = f"{prefix}cvt:"

    async def page(
        self, *, tenant: str | None = None, limit: int, cursor: str | None = None
    ) -> ConversationPage:
        """Return conversations; fewer than `limit`, and a cursor, if the scan takes too long.

        Raises `BadRequest` for a wrong cursor.
        """
        ends, (at, after) = monotonic() + _LIMIT_S, _read_cursor(cursor)
        start = self._start if tenant is None else f"{self._start}{tenant_key(tenant)}:"
        found: list[ListedConversation] = []
        while True:
            words = (at, "MATCH", pattern_of(start), "COUNT", _SCANNED, "TYPE", "list")
            place, keys = await command(self._redis, "SCAN", *words)
            # A round trip may find more than a page holds: the next page makes it again, and goes
            # on behind the last digest. Digests, since a cursor must not show names.
            named = [one for one in sorted((_digest(key), key) for key in keys) if one[0] > after]
            some = named[: limit - len(found)]
            found += await self._read([key for _, key in some])
            if len(some) < len(named):
                return ConversationPage(found, f"{at}:{some[-1][0] if some else after}")
            if not (at := int(place)):
                return ConversationPage(found, None)
            after = ""
            if len(found) >= limit or monotonic() >= ends:
                return ConversationPage(found, f"{at}:")

    async def _read(self, keys: Sequence[bytes]) -> list[ListedConversation]:
        named = [(key, parts) for key in keys if (parts := self._parts(key.decode())) is not None]
        if not named:
            return []
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for key, _ in named:
                    pipe.llen(key)
                    pipe.hget(key + b":size", "bytes")
                    pipe.pttl(key)
                values = await pipe.execute()
        rows = [values[at : at + 3] for at in range(0, len(values), 3)]
        return [
            ListedConversation(*parts, int(turns), int(size or 0), max(0, left) / 1_000)
            for (_, parts), (turns, size, left) in zip(named, rows, strict=True)
            if turns  # else it ended meanwhile
        ]

    def _parts(self, key: str) -> tuple[str, str, str] | None:
        """Parse the key of a conversation's turns: tenant, namespace and name."""
        rest, found = key[len(self._start) :], []
        for _ in range(2):
            size, _, rest = rest.partition(":")
            if not size.isdecimal() or len(rest) <= int(size):
                return None
            found.append(rest[: int(size)])
            rest = rest[int(size) + 1 :]
        return found[0], found[1], rest


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:16]


def _read_cursor(cursor: str | None) -> tuple[int, str]:
    """Return the place of the scan, and the last digest that was shown there."""
    if cursor is None:
        return 0, ""
    found = _CURSOR.fullmatch(cursor)
    if found is None or int(found[1]) >= _MOST_CURSOR:
        raise BadRequest("cursor", "must be the `next` of the page before")
    return int(found[1]), found[2] or ""
