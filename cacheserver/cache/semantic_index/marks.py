"""The embedders that have vector sets: which are used and complete, and the deletion of the others.

While servers are changed to another embedder one by one, those of the old one go on filling its
sets. So these are deleted once the last of them is gone, by any server of another embedder.

Each method raises `StoreError`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import NamedTuple

from cacheserver.cache.semantic_index import scripts
from cacheserver.cache.semantic_index.keys import Keys
from cacheserver.cache.semantic_index.server import IndexServer
from cacheserver.cache.semantic_index.set_walk import SetWalk
from cacheserver.core.errors import StoreError

_USED_S = 600  # sets are in use so long after a server said so: a comparison may take minutes
_AGAIN_S = 60.0  # how often a server says so
_RETRY_S = 5.0


class _Silence(NamedTuple):
    """Time at which a server last said that it uses the sets (None: never), as seen here."""

    used: bytes | None
    since: float  # when this server saw it first
    asked_at: float  # and last


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
        self._silent: dict[str, _Silence] = {}  # by mark

    async def say_used(self, *, anew: bool = False) -> None:
        """Say that this embedder's sets are in use; once a minute, or `anew`."""
        now, keys = self._monotonic(), self._keys
        if not anew and now - self._said_at < _AGAIN_S:
            return
        self._said_at = now - _AGAIN_S + _RETRY_S  # not before each addition while it fails
        await self._server.run(keys.state, "EVAL", scripts.USE, 1, keys.state)
        await self._server.run(keys.marks, "EVAL", scripts.LIST, 1, keys.marks, keys.mark)
        self._said_at = now

    async def are_full(self) -> bool:
        """Return whether the sets held all stored questions when that was last seen to."""
        key = self._keys.state
        return bool(await self._server.run(key, "HEXISTS", key, "full"))

    async def version(self) -> str:
        """Return what changes when the sets are deleted or lost."""
        key, new = self._keys.state, secrets.token_hex(8)
        return str((await self._server.run(key, "EVAL", scripts.VERSION, 1, key, new)).decode())

    async def say_full(self, version: str) -> None:
        """Say that the sets hold all stored questions, if they have that version still."""
        key = self._keys.state
        if not await self._server.run(key, "EVAL", scripts.SET_FULL, 1, key, version):
            raise StoreError("the vector sets were deleted meanwhile")

    async def delete_unused(self) -> None:
        """Delete the sets of other embedders that no server uses.

        Of which none has said so for ten minutes, in which this server asked all the time.
        """
        try:
            for mark in await self._server.run(self._keys.marks, "SMEMBERS", self._keys.marks):
                keys = Keys(self._prefix, mark.decode())
                if keys.mark != self._keys.mark and await self._is_unused(keys):
                    await SetWalk(self._server, keys).wipe()
        except StoreError:
            self._silent.clear()  # where it could not be asked, it could not be said
            raise

    async def _is_unused(self, keys: Keys) -> bool:
        used = await self._server.run(keys.state, "HGET", keys.state, "used")
        now, before = self._monotonic(), self._silent.get(keys.mark)
        if before is None or before.used != used or now - before.asked_at > _AGAIN_S:
            before = _Silence(used, now, now)
        self._silent[keys.mark] = before._replace(asked_at=now)
        return now - before.since > _USED_S
