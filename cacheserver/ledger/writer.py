"""Ledger writer: a request's record is in Redis before the last byte of its answer leaves.

Group commit: a record is written at once if no commit is running; those that arrive meanwhile are
written together in the next. So a quiet server waits for one round trip, and a busy one writes
many in one. A record is a row and, of a request, the rest of its decision (`storage.stored_row`).
The write is one `HSET`, which may be repeated; a task folds what was written into minutes, sums,
decisions and statistics, behind the answers (`ledger.fold`).

While Redis is away, up to `limit` records are buffered and nobody waits. Dropped ones are counted.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from itertools import islice

from cacheserver.cache.store import decision_log
from cacheserver.core.errors import StoreError
from cacheserver.core.ledger_row import Row
from cacheserver.core.single_flight import end
from cacheserver.ledger.fold import LedgerFold, recorded_key
from cacheserver.storage import stored_row
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.deadline import StoreHangs
from cacheserver.storage.delayed_task import DelayedTask, wait_for_event
from cacheserver.storage.sealer import PlainSealer, Sealer
from cacheserver.storage.stored_row import Details

_COMMIT_ROWS = 500  # 100 kB; less than a millisecond of Redis' time
# Rows are folded this long after they were written, or when there are this many. It costs some 20
# commands, and whoever reads rows or sums folds first.
_FOLD_S, _FOLD_ROWS = 1.0, 1_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Record:
    row: Row
    details: Details | None


class _Group:
    """Records of one commit, and the event that ends the wait for it."""

    __slots__ = ("done", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, _Record] = {}
        self.done = asyncio.Event()


class Ledger:
    """Writer of rows. `overflowed`, `failures`, `unfolded` and `late` are read by the metrics."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        limit: int = 10_000,
        sealer: Sealer | None = None,
    ) -> None:
        self.overflowed = 0  # rows dropped
        self.failures = 0  # commits that failed
        self.unfolded = 0  # folds that failed
        self.late = 0  # answers that left before their row was in Redis
        self.prefix = prefix
        self.redis = redis
        self._limit = limit
        self._sealer = sealer or PlainSealer()
        self._fold = LedgerFold(redis, prefix=prefix)
        self._to_fold = 0  # rows written since the last fold
        self._folding = DelayedTask(
            self.fold, delay_s=_FOLD_S, name="store:ledger-fold", failed=self._note_unfolded
        )
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

    def queued(self, id: str) -> tuple[Row, Details | None] | None:
        """Return a record that is not in Redis yet."""
        for group in (self._next, self._sending):
            if group is not None and (found := group.rows.get(id)) is not None:
                return found.row, found.details
        return None

    def append(self, row: Row, details: Details | None = None) -> asyncio.Event:
        """Queue a row, and the rest of its decision. The event is set when it is in Redis or its
        commit has failed.

        A later row of the same id replaces one that is still queued. Never blocks, never fails.
        """
        group = self._next
        if self._closed:
            self.overflowed += 1
            group.done.set()
            return group.done
        if details is None and (before := group.rows.get(row.id)) is not None:
            details = before.details
        group.rows[row.id] = _Record(row, details)
        if len(group.rows) > self._limit:
            del group.rows[next(iter(group.rows))]
            self.overflowed += 1
        self._start()
        return group.done

    def replace(self, row: Row, details: Details) -> asyncio.Event:
        """Queue a row again, with other details: those sent last hold, and it counts once."""
        return self.append(row, details)

    async def flush(self) -> None:
        """Wait until all queued rows are in Redis and count. Raises `StoreError` if that fails."""
        while self._next.rows or self._sending is not None:
            failures = self.failures
            self._hurry.set()
            group = self._next if self._next.rows else self._sending
            assert group is not None  # the loop's condition
            self._start()
            await group.done.wait()
            if self.failures > failures:
                raise StoreError("the ledger could not be written")
        await self.fold()

    async def fold(self) -> None:
        """Fold all rows in Redis, also those of a server that was killed. Raises `StoreError`."""
        self._to_fold = 0
        await self._fold.run()

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
        await self._folding.close(patience_s=patience_s)

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
            if self._sealer.on:
                await self._sealer.ready(*{one.row.tenant for one in part if one.details})
            try:
                stored = [self._stored(one.row, one.details) for one in part]
            except TypeError:  # one has what cannot be written; it may not stop the others
                part = [_Record(stored_row.sound(one.row), one.details) for one in part]
                stored = [self._stored(one.row, one.details) for one in part]
            words: list[str | bytes] = ["HSET", recorded_key(self.prefix)]
            for one, packed in zip(part, stored, strict=True):
                words += (one.row.id, packed)
            await command(self.redis, *words)
            for one, packed in zip(part, stored, strict=True):
                del group.rows[one.row.id]
                self._fold.expect(one.row, packed)
            self._to_fold += len(part)
            self._folding.start(now=self._to_fold >= _FOLD_ROWS)

    def _stored(self, row: Row, details: Details | None) -> bytes:
        packed = stored_row.encode(row)
        if details is None:
            return packed if row.outcome == "background" else stored_row.joined(packed)
        sealed = self._sealer.seal(decision_log.KIND, row.tenant, row.id, details.plain)
        return stored_row.joined_with(packed, sealed, details)

    def _note_unfolded(self, error: StoreError) -> None:
        self.unfolded += 1
        log.warning("rows of the ledger could not be folded yet: %s", error)

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
        await wait_for_event(self._hurry, seconds)
