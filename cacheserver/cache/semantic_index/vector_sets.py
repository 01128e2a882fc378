"""Index of vectors by scope in Redis 8 vector sets, with nearest neighbours within one scope.

Cosines of quantized vectors are approximate: the caller computes them from the stored vectors. What
is expired is never found; `tend` removes it. A search of a scope is as fast as its slowest segment,
and fails if one of them does: doubt is a miss.

Every method raises `StoreError` when the server fails.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cacheserver.cache.semantic_index import scripts
from cacheserver.cache.semantic_index.entry_ids import gone_of
from cacheserver.cache.semantic_index.keys import (
    SHARDS,
    Keys,
    Segment,
    mark_of,
    pack,
    shard_of,
    unpack,
)
from cacheserver.cache.semantic_index.marks import Marks
from cacheserver.cache.semantic_index.port import AreStored
from cacheserver.cache.semantic_index.recent_failures import RecentFailures
from cacheserver.cache.semantic_index.server import IndexServer, Word
from cacheserver.cache.semantic_index.set_walk import SetWalk
from cacheserver.core.errors import StoreError
from cacheserver.index.errors import BadVector
from cacheserver.index.models import Vectors
from cacheserver.index.partition import Match

# `scripts/bench index` prints recall and time for these. With 20,000 vectors in a scope recall@1
# was 1.0 for searches with 32, 64, 100 and 200, at 0.8, 1.6, 1.9 and 3.8 ms of the server's CPU.
# With 155,000 it was 0.974, 0.997 and 0.998 for 32, 64 and 100; with a million 0.883 for 64, so a
# scope that large has several sets. Adding with 100 takes a quarter
# less CPU, and found 0.996 instead of 0.999 with 90,000.
_ADD_EF, _SEARCH_EF = 200, 64
_SPARE = 4  # found past the most similar: quantized cosines may order near ones otherwise
_FOREVER: Final = 1e15  # JSON has no infinity
_UNIT = 1e-3  # how far a length may be from 1, as in `VectorIndex`
_LEARN_S = 5.0  # how long others' new segments of a scope may go unseen
_REGISTERED_S = 60.0  # how long an entry in the register is taken for granted
_CONDEMNED_S = 120.0  # from condemned to removed: longer than that
_SWEEP = 50  # vectors removed by one script: at 0.1 ms each it holds up others for 5 ms
_DUE = 100  # segments of a shard looked at in a round
_MOST_SCOPES = 100_000  # whose segments a process knows: some 30 MB
_COUNT_SHARE = 100  # counting takes at most a hundredth of the time


@dataclass(slots=True)
class _Scope:
    """Segments of a scope, as far as this process knows."""

    count: int = 1
    learned_at: float = -math.inf
    open: int = 0  # the segment that is added to
    is_full: bool = False
    due: float = math.inf  # when the first of the open segment expires, as registered
    registered_at: float = -math.inf


class VectorSets:
    kind: Final = "vector-sets"
    spare: Final = _SPARE
    lasts: Final = True
    follows: Final = False  # the server that stores an entry adds it for all
    scopes: Final = None

    def __init__(
        self,
        server: IndexServer,
        *,
        prefix: str,
        dim: int,
        embedder_id: str,
        clock: Callable[[], float] = time.time,
        most: int = 150_000,
        wait_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`most`: vectors of one segment. `wait_s`: how long a search may take; None: any time."""
        self.dim = dim
        self._server = server
        self._keys = Keys(prefix, mark_of(embedder_id))
        self._walk = SetWalk(server, self._keys)
        self._marks = Marks(server, self._keys, prefix=prefix, monotonic=monotonic)
        self._clock = clock
        self._monotonic = monotonic
        self._most = most
        self._wait_s = wait_s
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()
        self._failed = RecentFailures(monotonic)
        self._vectors = 0  # as counted last, and changed by this process since
        self._count_at = -math.inf
        self._pages: AsyncIterator[list[tuple[str, str]]] | None = None

    @property
    def failing(self) -> bool:
        return bool(self._failed)

    def __len__(self) -> int:
        """Return about how many vectors there are."""
        return self._vectors

    async def open(self) -> None:
        """Check the server. Raises `SettingsError`."""
        await self._server.check()
        await self._marks.say_used(anew=True)
        await self._marks.delete_unused()
        await self._recount()

    async def is_full(self) -> bool:
        """Return whether all stored questions were in, when that was last seen to."""
        found = await self._marks.are_full()
        if not found:
            self._scopes.clear()  # a server that lost this has lost what is known of scopes
        await self._marks.say_used(anew=not found)
        return found

    async def version(self) -> str:
        return await self._marks.version()

    async def set_full(self, version: str) -> None:
        await self._marks.say_used(anew=True)
        await self._marks.say_full(version)

    async def search(self, scope: str, vector: Vectors, k: int, now: float) -> list[Match]:
        """Return up to `k` neighbours in the scope, best first, the newer of two equals first.

        Never one that is expired at `now` or of another scope. Raises `BadVector`.
        """
        query = np.ascontiguousarray(vector, np.float32)
        if query.shape != (self.dim,):
            raise BadVector(f"vector {query.shape}, dimension {self.dim}")
        if k <= 0:
            return []
        try:
            async with asyncio.timeout(self._wait_s):
                found = await self._search(scope, query.tobytes(), k, now)
        except (StoreError, TimeoutError) as error:
            self._failed.note(scope)
            if isinstance(error, TimeoutError):
                raise StoreError("the index does not answer in time") from None
            raise
        self._failed.clear(scope)
        best = dict[str, float]()
        for id, cosine in found:
            best[id] = max(cosine, best.get(id, -1.0))
        ranked = sorted(best.items(), key=lambda one: (one[1], one[0]), reverse=True)
        return [Match(id, cosine) for id, cosine in ranked[:k]]

    async def add(self, id: str, scope: str, vector: Vectors, expires_at: float) -> None:
        """Add a unit vector, in the place of any with the same id. Raises `BadVector`."""
        row = np.ascontiguousarray(vector, np.float32)
        if row.shape != (self.dim,):
            raise BadVector(f"vector {row.shape}, dimension {self.dim}")
        if not abs(float(np.linalg.norm(row)) - 1.0) <= _UNIT:  # so that NaN fails
            raise BadVector("a vector is not of length 1")
        if not expires_at > -math.inf:
            raise ValueError("a deadline is not a time")
        try:
            await self._add(pack(id), scope, row.tobytes(), min(expires_at, _FOREVER))
        except StoreError:
            self._failed.note(scope)
            raise
        self._failed.clear(scope)

    async def remove(self, id: str, scope: str) -> bool:
        """Remove a vector; return whether it was in."""
        known = await self._learned(scope)
        gone = 0
        for number in range(known.count):
            gone += await self._drop(Segment(scope, number), [pack(id)])
        return gone > 0

    async def holds(self, id: str, scope: str) -> bool:
        """Return whether a vector is in, an expired one that was not swept included."""
        known = await self._learned(scope)
        for number in range(known.count):
            key = self._keys.vectors(Segment(scope, number))
            if await self._server.run(key, "VGETATTR", key, pack(id)) is not None:
                return True
        return False

    async def pages(self) -> AsyncIterator[Sequence[str]]:
        """Yield all ids that are in, some at a time."""
        async for page in self._walk.pages():
            yield [id for id, _ in page]

    async def next_page(self) -> list[tuple[str, str]]:
        """Return some ids with their scopes. Call by call all come, then all again."""
        if self._pages is None:
            self._pages = self._walk.pages()
        try:
            return await anext(self._pages)
        except StopAsyncIteration:
            self._pages = None
            return []
        except StoreError:
            self._pages = None
            raise

    async def discard_gone(self, are_stored: AreStored) -> int:
        """Remove what has no stored entry; return how many there were."""
        gone = 0
        async for page in self._walk.pages():
            without = await gone_of([id for id, _ in page], are_stored)
            for id, scope in page:
                if id in without:
                    gone += await self.remove(id, scope)
        return gone

    async def save(self) -> None:
        return  # the server keeps what it has

    async def wipe(self) -> None:
        """Delete all sets of this embedder."""
        await self._walk.wipe()
        self._scopes.clear()
        self._vectors = 0

    async def tend(self) -> None:
        """Remove what has expired, sets that no server uses, and segments that stay empty."""
        await self._marks.delete_unused()
        now, some = self._clock(), ("WITHSCORES", "LIMIT", 0, _DUE)
        for shard in range(SHARDS):
            key = self._keys.register(shard)
            due, condemned = await self._server.run_all(
                key,
                [
                    ("ZRANGEBYSCORE", key, 0, now, *some),
                    ("ZRANGEBYSCORE", key, -(now - _CONDEMNED_S), "(0", *some),
                ],
            )
            for listed in (due, condemned):
                for member, score in zip(listed[::2], listed[1::2], strict=True):
                    await self._sweep(Segment.of_member(member.decode()), score, now)
        if self._monotonic() >= self._count_at:
            await self._recount()

    async def close(self) -> None:
        await self._server.close()

    async def _search(
        self, scope: str, query: bytes, k: int, now: float
    ) -> Sequence[tuple[str, float]]:
        known = self._scopes.get(scope)
        if known is not None and known.count == 1 and self._is_fresh(known):
            return await self._nearest(Segment(scope, 0), query, k, now)
        count = 1 if known is None else known.count
        numbers = range(count)
        asked = [self._nearest(Segment(scope, n), query, k, now) for n in numbers]
        learned, found = await asyncio.gather(self._learned(scope), asyncio.gather(*asked))
        if more := range(count, learned.count):
            found += await asyncio.gather(
                *(self._nearest(Segment(scope, n), query, k, now) for n in more)
            )
        return [match for some in found for match in some]

    async def _nearest(
        self, segment: Segment, query: bytes, k: int, now: float
    ) -> list[tuple[str, float]]:
        key = self._keys.vectors(segment)
        found = await self._server.run(
            key,
            *("VSIM", key, "FP32", query, "WITHSCORES", "COUNT", k),
            *("EF", max(_SEARCH_EF, k), "FILTER", f".e > {now!r}"),
        )
        # Redis' similarity is (1 + cosine) / 2.
        return [
            (unpack(name), min(1.0, 2.0 * float(score) - 1.0))
            for name, score in zip(found[::2], found[1::2], strict=True)
        ]

    async def _add(self, name: bytes, scope: str, row: bytes, expires_at: float) -> None:
        try:
            await self._marks.say_used()
        except StoreError:  # of another node: this one may take it
            self._failed.note("")
        known = await self._learned(scope)
        if known.is_full:
            await self._open_segment(scope, known)
        segment = Segment(scope, known.open)
        for number in range(known.count):  # a scope with several is rare, and large
            if number != segment.number:
                await self._drop(Segment(scope, number), [name])
        await self._register(segment, known, expires_at)
        key, deadlines = self._keys.vectors(segment), self._keys.deadlines(segment)
        _, is_new, size = await self._server.run_all(
            key,
            [
                ("ZADD", deadlines, expires_at, name),
                (
                    *("VADD", key, "FP32", row, name, "CAS", "Q8", "EF", _ADD_EF),
                    *("SETATTR", json.dumps({"e": expires_at})),
                ),
                ("VCARD", key),
            ],
        )
        if known.open == segment.number:
            known.is_full = int(size) >= self._most
        self._vectors += int(is_new)

    async def _open_segment(self, scope: str, known: _Scope) -> None:
        """Add to the emptiest segment that has room, or to a new one.

        Others learn of a new one with its entry in the register.
        """
        sizes = [await self._walk.size(Segment(scope, n)) for n in range(known.count)]
        if not known.is_full:
            return  # another addition has opened one meanwhile
        least = min(sizes)
        if least < self._most * 3 // 4:  # else it would be full again at once
            known.open = sizes.index(least)
        else:
            known.open, known.count = known.count, known.count + 1
        known.is_full, known.registered_at, known.due = False, -math.inf, math.inf

    async def _register(self, segment: Segment, known: _Scope, expires_at: float) -> None:
        """List a segment for sweeps and searches, before anything is in it."""
        now, is_open = self._monotonic(), known.open == segment.number
        if is_open and now - known.registered_at < _REGISTERED_S and expires_at >= known.due:
            return
        shard = shard_of(segment.scope)
        keys = [self._keys.register(shard), self._keys.counts(shard)]
        words = (segment.member, expires_at, segment.scope, known.count)
        await self._run_script(scripts.REGISTER, keys, *words)
        if known.open == segment.number:  # else another was opened meanwhile, and is not listed
            known.due, known.registered_at = min(known.due, expires_at), now

    async def _learned(self, scope: str) -> _Scope:
        """Return what is known of a scope, read again after a while."""
        known = self._scopes.get(scope)
        if known is None:
            known = self._scopes[scope] = _Scope()
            if len(self._scopes) > _MOST_SCOPES:
                self._scopes.popitem(last=False)
        if not self._is_fresh(known):
            key = self._keys.counts(shard_of(scope))
            count = int(await self._server.run(key, "HGET", key, scope) or 1)
            if count > known.count:
                known.open, known.registered_at = count - 1, -math.inf
                known.due, known.is_full = math.inf, False
            elif count < known.count:  # lost by a failover: the next addition writes it again
                known.registered_at = -math.inf
            known.count, known.learned_at = max(count, known.count), self._monotonic()
        return known

    def _is_fresh(self, known: _Scope) -> bool:
        return self._monotonic() - known.learned_at < _LEARN_S

    async def _drop(self, segment: Segment, names: Sequence[bytes]) -> int:
        keys = [self._keys.vectors(segment), self._keys.deadlines(segment)]
        gone = int(await self._run_script(scripts.REMOVE, keys, *names))
        self._vectors = max(0, self._vectors - gone)
        return gone

    async def _sweep(self, segment: Segment, score: bytes, now: float) -> None:
        """Remove what is due in a segment, and list when it is due again."""
        keys = [self._keys.vectors(segment), self._keys.deadlines(segment)]
        while True:
            count, due = await self._run_script(scripts.SWEEP, keys, now, _SWEEP)
            self._vectors = max(0, self._vectors - count)
            if count < _SWEEP:
                break
        again: bytes | float = due
        if not due and float(score) >= 0:
            again = -now  # condemned
        key = self._keys.register(shard_of(segment.scope))
        await self._run_script(scripts.SETTLE, [key], segment.member, score, again)

    async def _recount(self) -> None:
        began = self._monotonic()
        self._vectors = await self._walk.count()
        ended = self._monotonic()
        self._count_at = ended + _COUNT_SHARE * (ended - began)

    async def _run_script(self, script: str, keys: Sequence[str], *words: Word) -> Any:
        return await self._server.run(keys[0], "EVAL", script, len(keys), *keys, *words)
