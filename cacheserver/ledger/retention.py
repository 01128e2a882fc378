"""Keeps the ledger's rows within bounds: 30 days or `max_bytes` in the store, whichever is less.

What goes beyond is written to files first and kept there for a set time. A file is whole and on the
disk before the store forgets its rows; a server that is killed in between leaves both, and an
export tells them apart by their ids. One server at a time does it, by a lease.

Rule: a row leaves the store for a file, or not at all. Where none can be written the store keeps
them, beyond its bound, and `failing` tells.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from cacheserver.core.ledger_row import Row
from cacheserver.ledger import files, row_codec
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.files import Damaged
from cacheserver.ledger.scripts import FORGET, WEIGH
from cacheserver.ledger.writer import Ledger
from cacheserver.storage.connection import PREFIX, Connection, command, run, store_errors

ROW_DAYS: Final = 30

_LEASE_S = 300  # far longer than a file takes
_FILE_BYTES = 12_500_000  # of the store's, in a file: 50,000 rows, packed to some 1.5 MB
_FILE_MINUTES = 1_440
_LOW_WATER = 0.9  # of the bound, once it was passed: a file a minute would be half a million a year
_AGED_MINUTES = 60  # rows past their days are taken by the hour, for the same reason
_DAY_S = 86_400
_TEND_S = 60.0  # the bounds may be passed by as many rows as come in a minute

log = logging.getLogger(__name__)

_Made = TypeVar("_Made")


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class LedgerRetention:
    """Moves rows from the store to the files of `folder`. `max_bytes` None: by their days only."""

    def __init__(
        self,
        redis: Connection,
        *,
        folder: Path,
        prefix: str = PREFIX,
        file_days: int = 365,
        max_bytes: int | None = None,
        damaged: Damaged = lambda site: None,
    ) -> None:
        self.failing = False  # rows beyond the bounds could not be written to a file
        self._redis = redis
        self._prefix = prefix
        self._folder = folder
        self._file_days = file_days
        self._max_bytes = max_bytes
        self._damaged = damaged
        self._export = LedgerExport(redis, prefix=prefix)
        self._forget = redis.register_script(FORGET)
        self._weigh = redis.register_script(WEIGH)

    async def tend(self, now: float) -> int:
        """Bring the rows within their bounds; how many left Redis. Raises `StoreError`, `OSError`.

        To be called about once a minute.
        """
        token = secrets.token_hex(8)
        key = f"{self._prefix}lrk"
        if not await command(self._redis, "SET", key, token, "NX", "EX", _LEASE_S):
            return 0
        try:
            await self._touch_files(self._drop_files, now)
            gone = 0
            most, until = await self._bounds(now)
            while minutes := await self._beyond(most, until):
                spilled = await self._spill(minutes)
                gone += spilled
                if not spilled or not await command(self._redis, "EXPIRE", key, _LEASE_S):
                    break  # rows still come for those minutes; or another server may be at it
            self.failing = False
            return gone
        finally:
            if await command(self._redis, "GET", key) == token.encode():
                await command(self._redis, "DEL", key)

    async def count(self) -> int:
        """How many rows Redis has."""
        return int(await command(self._redis, "GET", f"{self._prefix}lrn") or 0)

    async def size(self) -> int:
        """The bytes that they take there."""
        return int(await command(self._redis, "GET", f"{self._prefix}lrb") or 0)

    async def _bounds(self, now: float) -> tuple[float, int]:
        """The bytes that may stay, and the first minute that may."""
        most = float("inf") if self._max_bytes is None else float(self._max_bytes)
        if await self.size() > most:
            most *= _LOW_WATER
        until = int((now - ROW_DAYS * _DAY_S) // 60)
        oldest = await command(self._redis, "ZRANGE", f"{self._prefix}lr", 0, 0)
        if not oldest or int(oldest[0]) >= until - _AGED_MINUTES:
            until = 0
        return most, until

    async def _beyond(self, most: float, until: int) -> list[int]:
        """The oldest minutes that are to go, a file's worth of them."""
        excess = await self.size() - most
        held = await command(self._redis, "ZRANGE", f"{self._prefix}lr", 0, _FILE_MINUTES - 1)
        minutes = [int(minute) for minute in held]
        if not minutes or (minutes[0] >= until and excess <= 0):
            return []
        found: list[int] = []
        size = 0
        sizes = await run(self._weigh, self._prefix, *minutes)
        for minute, weight in zip(minutes, sizes, strict=True):
            if (minute >= until and size >= excess) or size >= _FILE_BYTES:
                break
            found.append(minute)
            size += int(weight)
        return found

    async def _spill(self, minutes: Sequence[int]) -> int:
        """Write minutes to a file and forget them; how many rows that were."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for minute in minutes:  # an earlier version gave them a life of 31 days
                    pipe.persist(f"{self._prefix}lr:{minute}")
                await pipe.execute()
        taken: dict[int, int] = {}
        rows = 0
        known = await self._touch_files(self._written, minutes[0], minutes[-1])
        writer: files.Writer | None = None
        try:
            for minute in minutes:
                held = await self._export.held(minute)
                taken[minute] = len(held)
                rows += len(held)
                decoded = (row_codec.decode(id, kept) for id, kept in held.items())
                fresh = [row for row in decoded if row is not None and row.id not in known]
                if fresh and writer is None:
                    writer = await self._touch_files(
                        files.Writer, self._folder, minutes[0], minutes[-1]
                    )
                if fresh and writer is not None:
                    await self._touch_files(_write, writer, fresh)
            if writer is not None:
                await self._touch_files(writer.close)
        except BaseException:
            if writer is not None:
                writer.abandon()
            raise
        gone = 0
        for minute, count in taken.items():
            gone += await run(self._forget, self._prefix, minute, count)
        return rows if gone else 0

    async def _touch_files(self, work: Callable[..., _Made], *given: Any) -> _Made:
        """Run `work` in a thread. A disk that fails it is told by `failing`."""
        try:
            return await asyncio.to_thread(work, *given)
        except OSError:
            self.failing = True
            raise

    def _written(self, first: int, last: int) -> set[str]:
        """The ids in files of these minutes: a killed server left them before it forgot them."""
        known: set[str] = set()
        for file in files.files(self._folder):
            if file.first <= last and file.last >= first:
                known |= files.ids(file, self._damaged)
        return known

    def _drop_files(self, now: float) -> None:
        files.drop_parts(self._folder)
        for file in files.files(self._folder):
            if file.last * 60 < now - self._file_days * _DAY_S:
                file.path.unlink(missing_ok=True)


def _write(writer: files.Writer, rows: list[Row]) -> None:
    writer.write([row_codec.flat(row) for row in sorted(rows, key=lambda row: row.at)])


async def keep(
    keeper: LedgerRetention, ledger: Ledger, counts: Counts, clock: Callable[[], float]
) -> None:
    """Tend once a minute, and bring to `counts` what failed. Ends only by cancellation."""
    overflowed, failures, late = ledger.overflowed, ledger.failures, ledger.late
    while True:
        await asyncio.sleep(_TEND_S)
        if ledger.overflowed > overflowed:
            counts.dropped("ledger", ledger.overflowed - overflowed)
        for _ in range(ledger.failures - failures):
            counts.swallowed("ledger")
        for _ in range(ledger.late - late):
            counts.swallowed("ledger-late")
        overflowed, failures, late = ledger.overflowed, ledger.failures, ledger.late
        try:
            await keeper.tend(clock())
        except Exception as error:  # the task boundary; a full disk, say: Redis has the rows
            counts.swallowed("keep-ledger")
            log.warning("the ledger could not be tended: %s", type(error).__name__)
