"""Walk over all vector sets of an embedder: what is in them, and their deletion.

Each method raises `StoreError`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

from cacheserver.cache.semantic_index import scripts
from cacheserver.cache.semantic_index.keys import SHARDS, Keys, Segment, unpack
from cacheserver.cache.semantic_index.server import IndexServer

_PAGE = 500  # names read by one round trip
_WIPED_S = 86_400  # longer than a comparison takes
_AT_ONCE = 16  # sets counted side by side, of up to 32 connections


class SetWalk:
    """The sets that the registers list."""

    def __init__(self, server: IndexServer, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    async def segments(self) -> AsyncIterator[list[Segment]]:
        """Yield all segments, some at a time."""
        for shard in range(SHARDS):
            key, cursor = self._keys.register(shard), b"0"
            while True:
                cursor, found = await self._server.run(key, "ZSCAN", key, cursor, "COUNT", _PAGE)
                yield [Segment.of_member(member.decode()) for member in found[::2]]
                if cursor in (b"0", 0):
                    break

    async def pages(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Yield the ids of all vectors with their scopes, some at a time."""
        async for segments in self.segments():
            for segment in segments:
                key, cursor = self._keys.deadlines(segment), b"0"
                while True:
                    cursor, found = await self._server.run(
                        key, "ZSCAN", key, cursor, "COUNT", _PAGE
                    )
                    names = await self._with_vectors(segment, found[::2])
                    yield [(unpack(name), segment.scope) for name in names]
                    if cursor in (b"0", 0):
                        break

    async def _with_vectors(self, segment: Segment, names: Sequence[bytes]) -> Sequence[bytes]:
        """Return those that have a vector: one that was never added has left a deadline."""
        key, deadlines = self._keys.vectors(segment), self._keys.deadlines(segment)
        if not names or await self.size(segment) == await self._server.run(
            deadlines, "ZCARD", deadlines
        ):
            return names
        found = await self._server.run_all(key, [("VGETATTR", key, name) for name in names])
        return [name for name, one in zip(names, found, strict=True) if one is not None]

    async def size(self, segment: Segment) -> int:
        key = self._keys.vectors(segment)
        return int(await self._server.run(key, "VCARD", key))

    async def count(self) -> int:
        """Return the number of all vectors."""
        count = 0
        async for segments in self.segments():
            for start in range(0, len(segments), _AT_ONCE):
                sizes = map(self.size, segments[start : start + _AT_ONCE])
                count += sum(await asyncio.gather(*sizes))
        return count

    async def wipe(self) -> None:
        """Delete all sets. From the start on nothing says that they are complete."""
        await self._note_wipe()
        for shard in range(SHARDS):
            register, counts = self._keys.register(shard), self._keys.counts(shard)
            while found := await self._server.run(register, "ZRANGE", register, 0, _PAGE - 1):
                for member in found:
                    segment = Segment.of_member(member.decode())
                    for key in (self._keys.vectors(segment), self._keys.deadlines(segment)):
                        await self._server.run(key, "UNLINK", key)
                await self._server.run(register, "ZREM", register, *found)
                await self._note_wipe()
            await self._server.run(counts, "UNLINK", counts)
        await self._server.run(self._keys.marks, "SREM", self._keys.marks, self._keys.mark)
        await self._note_wipe()

    async def _note_wipe(self) -> None:
        key, version = self._keys.state, secrets.token_hex(8)
        await self._server.run(key, "EVAL", scripts.WIPE, 1, key, version, _WIPED_S)
