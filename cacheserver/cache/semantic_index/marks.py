"""The embedders that have vector sets: which are used and complete, and the deletion of the others.

While servers are changed to another embedder one by one, those of the old one go on filling its
sets. So these are deleted once the last of them is gone, by any server of another embedder.

Each method raises `StoreError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cacheserver.cache.semantic_index import scripts
from cacheserver.cache.semantic_index.keys import Keys
from cacheserver.cache.semantic_index.server import IndexServer
from cacheserver.cache.semantic_index.set_walk import SetWalk
from cacheserver.core.errors import StoreError

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
        self._said_at = now  # one that fails is not tried before each addition
        await self._server.run(keys.state, "EVAL", scripts.USE, 1, keys.state)
        await self._server.run(keys.marks, "EVAL", scripts.LIST, 1, keys.marks, keys.mark)

    async def are_full(self) -> bool:
        """Return whether the sets held all stored questions when that was last seen to."""
        key = self._keys.state
        return bool(await self._server.run(key, "HEXISTS", key, "full"))

    async def wipes(self) -> int:
        """Return how often the sets were deleted."""
        key = self._keys.state
        return int(await self._server.run(key, "HGET", key, "wipes") or 0)

    async def say_full(self, wipes: int) -> None:
        """Say that the sets hold all stored questions, unless they were deleted since `wipes`."""
        key = self._keys.state
        if not await self._server.run(key, "EVAL", scripts.SET_FULL, 1, key, wipes):
            raise StoreError("the vector sets were deleted meanwhile")

    async def delete_unused(self) -> None:
        """Delete the sets of other embedders that no server uses."""
        for mark in await self._server.run(self._keys.marks, "SMEMBERS", self._keys.marks):
            keys = Keys(self._prefix, mark.decode())
            if keys.mark != self._keys.mark and await self._server.run(
                keys.state, "EVAL", scripts.IS_UNUSED, 1, keys.state, _USED_S
            ):
                await SetWalk(self._server, keys).wipe()
