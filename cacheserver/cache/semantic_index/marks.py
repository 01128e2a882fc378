"""The list of the embedders that have vector sets, and the deletion of those that no server uses.

While servers are changed to another embedder one by one, those of the old one go on filling its
sets. So these are deleted once the last of them is gone, by any server of another embedder.

Each method raises `StoreError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cacheserver.cache.semantic_index.keys import Keys
from cacheserver.cache.semantic_index.server import IndexServer
from cacheserver.cache.semantic_index.set_walk import SetWalk

_USED_S = 600  # sets are in use so long after a server said so: a comparison may take minutes
_AGAIN_S = 60.0  # how often a server says so


class Marks:
    """Marks of embedders, of which one is this server's."""

    def __init__(
        self, server: IndexServer, keys: Keys, *, prefix: str, monotonic: Callable[[], float]
    ) -> None:
        self._server = server
        self._keys = keys
        self._prefix = prefix
        self._monotonic = monotonic
        self._said_at = -math.inf

    async def say_used(self, *, anew: bool = False) -> None:
        """Say that this embedder's sets are in use; once a minute, or `anew`."""
        now, keys = self._monotonic(), self._keys
        if not anew and now - self._said_at < _AGAIN_S:
            return
        await self._server.run(keys.used, "SET", keys.used, 1, "EX", _USED_S)
        await self._server.run(keys.marks, "SADD", keys.marks, keys.mark)
        self._said_at = now

    async def delete_unused(self) -> None:
        """Delete the sets of other embedders that no server uses."""
        for mark in await self._server.run(self._keys.marks, "SMEMBERS", self._keys.marks):
            keys = Keys(self._prefix, mark.decode())
            if keys.mark != self._keys.mark and not await self._server.run(
                keys.used, "EXISTS", keys.used
            ):
                await SetWalk(self._server, keys).wipe()
