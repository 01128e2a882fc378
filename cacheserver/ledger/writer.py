"""Ledger writer: a request's row is in Redis before the last byte of its answer leaves.

Group commit: a row is written at once if no commit is running; rows that arrive meanwhile are
written together in the next. So a quiet server waits for one round trip, and a busy one writes
many rows in one. One script writes rows and sums, all or nothing, and a row whose id is already
there counts once.

While Redis is away, up to `limit` rows are buffered and nobody waits. Dropped rows are counted.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import TypeAlias

from cacheserver.core.errors import StoreError
from cacheserver.core.ledger_row import Row
from cacheserver.core.single_flight import end
from cacheserver.ledger import row_codec, sums
from cacheserver.ledger.script_connection import ScriptConnection
from cacheserver.ledger.scripts import COMMIT
from cacheserver.ledger.time_range import LIFETIME_S, SECONDS, Grain
from cacheserver.storage.connection import PREFIX, Connection
from cacheserver.storage.deadline import StoreHangs

DAY_S = 86_400

BLOCK: Mapping[Grain, int] = {"m": 60, "h": 24, "d": 30}  # slots of a grain that share a hash

_SHORT_S = 90 * DAY_S
# Most fields of a hash; further ones share an overflow field. Callers choose models, tasks, tags.
_MOST: Mapping[str, int] = {"ls": 5_000, "lk": 500, "lj": 5_000, "lg": 4_000, "lc": 100_000}

_COMMIT_ROWS = 500  # about 10 ms of Redis' time, for which others wait
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0

SEP = "\x1f"  # separates the parts of a field; no name contains it

# Key of a hash, its TTL (s), the field, and the overflow field.
_Cell: TypeAlias = tuple[str, int, str, str]
_Numbers: TypeAlias = tuple[tuple[int, int], ...]  # (position, amount to add)

log = logging.getLogger(__name__)


class _Group:
    """Rows of one commit, and the event that ends the wait for it."""

    __slots__ = ("done", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.done = asyncio.Event()


class Ledger:
    """Writer of rows. `overflowed`, `failures` and `late` are read by the metrics."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX, limit: int = 10_000) -> None:
        self.overflowed = 0  # rows dropped
        self.failures = 0  # commits that failed
        self.late = 0  # answers that left before their row was in Redis
        self.prefix = prefix
        self.redis = redis
        self._limit = limit
        self._script = ScriptConnection(redis, COMMIT)
        self._next = _Group()
        self._sending: _Group | None = None
        self._away = False  # the last commit failed: callers do not wait for the next
        self._closed = False
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Return the number of rows not yet in Redis."""
        return len(self._next.rows) + (0 if self._sending is None else len(self._sending.rows))

    async def record(self, row: Row) -> None:
        """Write a row and wait until it is in Redis; do not wait if Redis is away. Never fails."""
        await self.written(self.append(row))

    async def written(self, done: asyncio.Event) -> None:
        """Wait for the event that `append` returned, within the request's deadline.

        If Redis is away or too slow, the row stays buffered and is written later. Raises nothing.
        """
        if self._away or done.is_set():
            return
        try:
            async with self.redis.health.bounded():
                await done.wait()
        except StoreHangs:
            self.late += 1

    def append(self, row: Row) -> asyncio.Event:
        """Queue a row. The event is set when it is in Redis or its commit has failed.

        A later row of the same id replaces one that is still queued. Never blocks, never fails.
        """
        group = self._next
        if self._closed:
            self.overflowed += 1
            group.done.set()
            return group.done
        group.rows[row.id] = row
        if len(group.rows) > self._limit:
            del group.rows[next(iter(group.rows))]
            self.overflowed += 1
        self._start()
        return group.done

    async def flush(self) -> None:
        """Wait until all queued rows are in Redis. Raises `StoreError` if that fails."""
        while self._next.rows or self._sending is not None:
            failures = self.failures
            self._hurry.set()
            group = self._next if self._next.rows else self._sending
            assert group is not None  # the loop's condition
            self._start()
            await group.done.wait()
            if self.failures > failures:
                raise StoreError("the ledger could not be written")

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Write the queued rows, for `patience_s` at most. Later rows are dropped and counted."""
        self._closed = True
        if self._task is not None:
            self._hurry.set()
            await asyncio.wait({self._task}, timeout=patience_s)
            await end(self._task)
            self._task = None
        left = [group for group in (self._sending, self._next) if group is not None]
        if lost := sum(len(group.rows) for group in left):
            self.overflowed += lost
            log.error("%d ledger rows could not be written and are lost", lost)
        for group in left:
            group.done.set()
        await self._script.close()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit_all(), name="store:ledger")

    async def _commit_all(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._next.rows or self._sending is not None:
            if self._sending is None:
                self._sending, self._next = self._next, _Group()
            try:
                await self._commit(self._sending)
            except StoreError as error:
                self.failures += 1
                self._away = True
                log.warning("a ledger commit failed and will be repeated: %s", error)
                self._give_back(self._sending)
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            self._away = False
            self._sending.done.set()
            self._sending = None
            pause_s = _FIRST_PAUSE_S

    async def _commit(self, group: _Group) -> None:
        """Write a group, a large one in parts; written rows are removed from it."""
        while group.rows:
            part = list(islice(group.rows.values(), _COMMIT_ROWS))
            existing = await self._script.run(*_arguments(self.prefix, part))
            written = [part[place - 1] for place in existing] or part
            for row in written:
                del group.rows[row.id]

    def _give_back(self, group: _Group) -> None:
        """Put a failed group back before the rows that came meanwhile; the oldest are dropped."""
        group.done.set()
        waiting = _Group()
        waiting.rows = {**group.rows, **self._next.rows}
        self._next.done.set()
        while len(waiting.rows) > self._limit:
            del waiting.rows[next(iter(waiting.rows))]
            self.overflowed += 1
        self._next, self._sending = waiting, None

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return


def _arguments(prefix: str, rows: list[Row]) -> Iterator[str | bytes | int]:
    """Yield the arguments of a commit: the rows, and what they add to each cell."""
    yield prefix
    yield len(rows)
    for row in rows:
        yield int(row.at // 60)
        yield row.id
        yield row_codec.encode(row)
    if len(rows) == 1:
        packed, before = b"", None
        for cell, numbers in _cells(rows[0]):
            yield from _named(cell)
            if numbers is not before:
                packed, before = _packed(numbers), numbers
            yield packed
        return
    added: dict[_Cell, dict[int, int]] = {}
    for row in rows:
        for cell, numbers in _cells(row):
            into = added.setdefault(cell, {})
            for place, number in numbers:
                into[place] = into.get(place, 0) + number
    for cell, by_place in added.items():
        yield from _named(cell)
        yield _packed(by_place.items())


def _cells(row: Row) -> Iterator[tuple[_Cell, _Numbers]]:
    """Yield the cells of a row, each with the numbers to add."""
    numbers = tuple(sums.row_sums(row))
    for cell in _slots(row.tenant, row.key_id or "", row.model or row.asked, int(row.at // 60)):
        yield cell, numbers
    if row.task is None and not row.tags and row.conversation is None:
        return
    short = sums.short_row_sums(row)
    at = f"{int(row.at // DAY_S)}:{row.tenant}"
    if row.task is not None:
        yield (f"lk:{at}", _SHORT_S, row.task, ""), short
        hour = int(row.at // SECONDS["h"])
        field, rest = f"{hour}{SEP}{row.task}", f"{hour}{SEP}"
        yield (f"lj:{at}", LIFETIME_S["h"], field, rest), short
    for tag in row.tags:
        yield (f"lg:{at}", _SHORT_S, tag, ""), short
    if row.conversation is not None:
        # A digest: callers choose the name, at any length, and only equality matters.
        name = sha256(row.conversation.encode()).hexdigest()[:16]
        yield (f"lc:{at}", _SHORT_S, name, ""), short


@lru_cache(maxsize=1_024)  # hits of one key and model in one minute share these cells
def _slots(tenant: str, key_id: str, model: str, minute: int) -> tuple[_Cell, ...]:
    """Return the cells of a minute, its hour and its day."""
    found = []
    for grain, seconds in SECONDS.items():
        slot = minute * 60 // seconds
        key = f"ls:{grain}:{slot // BLOCK[grain]}:{tenant}"
        field, rest = f"{slot}{SEP}{key_id}{SEP}{model}", f"{slot}{SEP}{SEP}"
        found.append((key, LIFETIME_S[grain], field, rest))
    return tuple(found)


def _named(cell: _Cell) -> tuple[str, int, int, str, str]:
    key, life, field, rest = cell
    return key, life, _MOST[key[:2]], field, rest


def _packed(numbers: Iterable[tuple[int, int]]) -> bytes:
    return b"".join([_PAIR(place, number) for place, number in numbers])


_PAIR = struct.Struct("<Bq").pack
