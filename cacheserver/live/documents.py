"""Documents that all servers follow, as JSON in one hash.

P live  hash: name of a document -> its JSON
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from cacheserver.core.errors import BadRequest, StoreError
from cacheserver.peers.peers import Told, nobody
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.hash_fields import FieldChange

_TRIES: Final = 50  # to change a document that others change at the same time
_MOST_BYTES: Final = 256 * 1024  # every server reads it every two seconds

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that was stored. `raw` is what a reader takes."""

    before: Document
    after: Document
    raw: bytes | None


class LiveDocuments:
    """Store of the documents. Every method raises `StoreError`.

    `writes` counts the changes made here: what was read before the last of them may be old.
    """

    def __init__(self, redis: Connection, *, prefix: str = PREFIX, told: Told = nobody) -> None:
        self._redis = redis
        self._told = told
        self._prefix = prefix
        self._key = f"{prefix}live"
        self.writes = 0

    async def read(self) -> Mapping[str, bytes]:
        """Return every document, undecoded, by name."""
        found = await command(self._redis, "HGETALL", self._key)
        return {name.decode(): text for name, text in found.items()}

    async def change(self, name: str, changed: Callable[[Document], Document]) -> Changed:
        """Change a document by `changed`, which may refuse. The other servers have read it then.

        Raises `BadRequest` if it would be too large.
        """
        for _ in range(_TRIES):
            stored = await command(self._redis, "HGET", self._key, name)
            self._redis.recent.check()
            before = decode(stored)
            after = changed(before)
            text = orjson.dumps(after) if after else b""
            if len(text) > _MOST_BYTES:
                raise BadRequest(name, f"would have more than {_MOST_BYTES:,} bytes in all")
            fields = {name: (stored or b"", text)}
            change = FieldChange(self._redis, fields, hash="live", prefix=self._prefix)
            self._redis.recent.note(change.again, "live")
            if await change.make():
                self.writes += 1
                await self._told("live")
                return Changed(before, after, text or None)
        raise StoreError("it is being changed by others; nothing was stored")


def decode(text: bytes | None) -> Document:
    """Decode a document; a damaged one is empty, and the next change replaces it."""
    try:
        found = orjson.loads(text or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
