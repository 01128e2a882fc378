"""Retention of ledger rows in Redis: 30 days or `max_bytes`, whichever is less.

Rows beyond that are moved to files, which are kept for a set time. A file is complete and synced
before its rows are deleted from Redis. A server that is killed in between leaves both, and an
export drops duplicates by id. One server at a time does this, by lease.

Rule: a row is deleted from Redis only once a file has it. If no file can be written, Redis keeps
the rows beyond the bound, and `failing` is true.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.ledger_row import Row
from cacheserver.ledger import files, row_codec
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.files import OnDamage
from cacheserver.ledger.fold import LedgerFold
from cacheserver.ledger.scripts import FORGET, WEIGH
from cacheserver.ledger.writer import Ledger
from cacheserver.peers.work_lease import ALONE, Lease
from cacheserver.storage import stored_row
from cacheserver.storage.connection import PREFIX, Connection, command, run_script, store_errors

ROW_DAYS: Final = 30

_FILE_BYTES = 12_500_000  # Redis bytes per file: 50,000 rows, compressed to about 1.5 MB
_FILE_MINUTES = 1_440
_LOW_WATER = 0.9  # share of the bound to go down to: a file a minute is half a million a year
_AGED_MINUTES = 60  # expired rows are moved an hour at a time, for the same reason
_DAY_S = 86_400
_INTERVAL_S = 60.0  # the bounds may be exceeded by one minute's rows

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class LedgerRetention:
    """Mover of rows from Redis to files in `folder`. `max_bytes` None: by age only."""

    def __init__(
        self,
        redis: Connection,
        *,
        folder: Path,
        prefix: str = PREFIX,
        file_days: int = 365,
        max_bytes: int | None = None,
        damaged: OnDamage = lambda site: None,
        lease: Lease = ALONE,
    ) -> None:
        self.failing = False  # True while rows beyond the bounds cannot be written to a file
        self._redis = redis
        self._prefix = prefix
        self._folder = folder
        self.file_days = file_days
        self.max_bytes = max_bytes
        self._damaged = damaged
        self.lease = lease
        self._export = LedgerExport(redis, prefix=prefix)
        self._fold = LedgerFold(redis, prefix=prefix)
        self._forget = redis.register_script(FORGET)
        self._weigh = redis.register_script(WEIGH)

    async def enforce(self, now: float) -> int:
        """Move rows beyond the bounds to files and return how many. Call it once a minute.

        A server without the lease only removes its own old files. Raises `StoreError`, `OSError`.
        """
        await self._in_thread(self._drop_files, now)
        if not self.lease.held:
            self.failing = False
            return 0
        await self._fold.run()  # what waits counts in the bounds
        await self._in_thread(files.remove_partial_files, self._folder)
        gone = 0
        most, until = await self._bounds(now)
        while self.lease.held and (minutes := await self._beyond(most, until)):
            spilled = await self._spill(minutes)
            gone += spilled
            if not spilled:
                break  # rows still arrive for those minutes, or another server has the lease
        self.failing = False
        return gone

    async def size(self) -> int:
        """Return the bytes of the rows in Redis."""
        return int(await command(self._redis, "GET", f"{self._prefix}lrb") or 0)

    async def _bounds(self, now: float) -> tuple[float, int]:
        """Return the most bytes to keep and the first minute to keep."""
        most = float("inf") if self.max_bytes is None else float(self.max_bytes)
        if await self.size() > most:
            most *= _LOW_WATER
        until = int((now - ROW_DAYS * _DAY_S) // 60)
        oldest = await command(self._redis, "ZRANGE", f"{self._prefix}lr", 0, 0)
        if not oldest or int(oldest[0]) >= until - _AGED_MINUTES:
            until = 0
        return most, until

    async def _beyond(self, most: float, until: int) -> list[int]:
        """Return the oldest minutes to move, at most one file's worth."""
        excess = await self.size() - most
        held = await command(self._redis, "ZRANGE", f"{self._prefix}lr", 0, _FILE_MINUTES - 1)
        minutes = [int(minute) for minute in held]
        if not minutes or (minutes[0] >= until and excess <= 0):
            return []
        found: list[int] = []
        size = 0
        sizes = await run_script(self._weigh, self._prefix, *minutes)
        for minute, weight in zip(minutes, sizes, strict=True):
            if (minute >= until and size >= excess) or size >= _FILE_BYTES:
                break
            found.append(minute)
            size += int(weight)
        return found

    async def _spill(self, minutes: Sequence[int]) -> int:
        """Write minutes to a file, delete them from Redis, and return the number of rows."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for minute in minutes:  # an earlier version set a TTL of 31 days
                    pipe.persist(f"{self._prefix}lr:{minute}")
                await pipe.execute()
        taken: dict[int, int] = {}
        rows = 0
        in_files = await self._in_thread(self._ids_in_files, minutes[0], minutes[-1])
        writer: files.RowFileWriter | None = None
        try:
            for minute in minutes:
                encoded = await self._export.encoded_rows(minute)
                taken[minute] = len(encoded)
                rows += len(encoded)
                decoded = (stored_row.decode(id, row) for id, row in encoded.items())
                fresh = [row for row in decoded if row is not None and row.id not in in_files]
                if fresh and writer is None:
                    writer = await self._in_thread(
                        files.RowFileWriter, self._folder, minutes[0], minutes[-1]
                    )
                if fresh and writer is not None:
                    await self._in_thread(_write, writer, fresh)
            if writer is not None:
                await self._in_thread(writer.close)
        except BaseException:
            if writer is not None:
                writer.abandon()
            raise
        gone = 0
        for minute, count in taken.items():
            words = (self._prefix, minute, count, self.lease.token)
            if (done := await run_script(self._forget, *words)) < 0:
                break
            gone += done
        return rows if gone else 0

    async def _in_thread(self, work: Callable[..., _T], *given: Any) -> _T:
        """Run file `work` in a thread. An `OSError` sets `failing`."""
        try:
            return await asyncio.to_thread(work, *given)
        except OSError:
            self.failing = True
            raise

    def _ids_in_files(self, first: int, last: int) -> set[str]:
        """Return row ids in files of these minutes: a killed server may have left both copies."""
        ids: set[str] = set()
        for file in files.list_files(self._folder):
            if file.first <= last and file.last >= first:
                ids |= files.row_ids(file, self._damaged)
        return ids

    def _drop_files(self, now: float) -> None:
        for file in files.list_files(self._folder):
            if file.last * 60 < now - self.file_days * _DAY_S:
                file.path.unlink(missing_ok=True)


def _write(writer: files.RowFileWriter, rows: list[Row]) -> None:
    writer.write([row_codec.flat(row) for row in sorted(rows, key=lambda row: row.at)])


async def run_retention(
    mover: LedgerRetention, ledger: Ledger, counts: Counts, clock: Callable[[], float]
) -> None:
    """Enforce retention once a minute and count failures. Ends only by cancellation."""
    overflowed, failures, late = ledger.overflowed, ledger.failures, ledger.late
    unfolded = ledger.unfolded
    try:
        await ledger.fold()  # what a killed server left
    except StoreError:
        counts.swallowed("ledger-fold")
    while True:
        await asyncio.sleep(_INTERVAL_S)
        if ledger.overflowed > overflowed:
            counts.dropped("ledger", ledger.overflowed - overflowed)
        for _ in range(ledger.failures - failures):
            counts.swallowed("ledger")
        for _ in range(ledger.late - late):
            counts.swallowed("ledger-late")
        for _ in range(ledger.unfolded - unfolded):
            counts.swallowed("ledger-fold")
        overflowed, failures, late = ledger.overflowed, ledger.failures, ledger.late
        unfolded = ledger.unfolded
        try:
            with one_round():
                await mover.enforce(clock())
        except Exception as error:  # the task boundary, e.g. a full disk: Redis still has the rows
            counts.swallowed("keep-ledger")
            log.warning("ledger retention failed: %s", type(error).__name__)
            if isinstance(error, OSError):
                await _pass_on(mover.lease, counts)


async def _pass_on(lease: Lease, counts: Counts) -> None:
    """Let another server move rows: this one cannot write files."""
    try:
        await lease.pass_on()
    except StoreError:  # it ends by itself
        counts.swallowed("work-leases")
