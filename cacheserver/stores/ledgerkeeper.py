"""Keeps the ledger's rows within bounds: 30 days or a million in Redis, whichever is less.

What goes beyond is written to Parquet files first, where a folder is set, and kept there for a set
time. A file is whole before Redis forgets its rows; a server that is killed in between leaves both,
and an export tells them apart by their ids. One server at a time does it, by a lease.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cacheserver.policy.row import Row
from cacheserver.stores import ledgerfiles, ledgerrows
from cacheserver.stores.connection import PREFIX, Connection, command, run
from cacheserver.stores.ledger import Ledger
from cacheserver.stores.ledgerexport import LedgerExport
from cacheserver.stores.ledgerscripts import FORGET

ROW_DAYS: Final = 30
MAX_ROWS: Final = 1_000_000  # some 250 MB of Redis' memory

_LEASE_S = 300  # far longer than a file takes
_FILE_ROWS = 50_000  # rows of a file, about 2 MB
_DAY_S = 86_400
_TEND_S = 60.0  # the bounds may be passed by as many rows as come in a minute

log = logging.getLogger(__name__)


class Counts(Protocol):
    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


class LedgerKeeper:
    """Spills and forgets. `folder` None, or no pyarrow: rows beyond the bounds end."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        folder: Path | None = None,
        file_days: int = 365,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._folder = folder if ledgerfiles.available() else None
        self._file_days = file_days
        self._max_rows = max_rows
        self._export = LedgerExport(redis, prefix=prefix)
        self._forget = redis.register_script(FORGET)

    async def tend(self, now: float) -> int:
        """Bring the rows within their bounds; how many left Redis. Raises `StoreError`, `OSError`.

        To be called about once a minute.
        """
        token = secrets.token_hex(8)
        key = f"{self._prefix}lrk"
        if not await command(self._redis, "SET", key, token, "NX", "EX", _LEASE_S):
            return 0
        try:
            await asyncio.to_thread(self._drop_files, now)
            gone = 0
            while minutes := await self._beyond(now):
                spilled = await self._spill(minutes)
                gone += spilled
                if not spilled or not await command(self._redis, "EXPIRE", key, _LEASE_S):
                    break  # rows still come for those minutes; or another server may be at it
            return gone
        finally:
            if await command(self._redis, "GET", key) == token.encode():
                await command(self._redis, "DEL", key)

    async def count(self) -> int:
        """How many rows Redis has."""
        return int(await command(self._redis, "GET", f"{self._prefix}lrn") or 0)

    async def _beyond(self, now: float) -> list[int]:
        """The oldest minutes that are to go, a file's worth of them."""
        old = int((now - ROW_DAYS * _DAY_S) // 60)
        excess = await self.count() - self._max_rows
        held = await command(self._redis, "ZRANGE", f"{self._prefix}lr", 0, 1_439)
        found: list[int] = []
        rows = 0
        for minute in map(int, held):
            if (minute >= old and rows >= excess) or rows >= _FILE_ROWS:
                break
            found.append(minute)
            rows += int(await command(self._redis, "HLEN", f"{self._prefix}lr:{minute}"))
        return found

    async def _spill(self, minutes: list[int]) -> int:
        """Write minutes to a file and forget them; how many rows that were."""
        first, last = minutes[0], minutes[-1]
        taken: dict[int, int] = {}
        rows: list[Row] = []
        for minute in minutes:
            held = await self._export.held(minute)
            taken[minute] = len(held)
            found = (ledgerrows.decode(id, kept) for id, kept in held.items())
            rows += (row for row in found if row is not None)
        if self._folder is not None and rows:
            await asyncio.to_thread(self._write, self._folder, first, last, rows)
        gone = 0
        for minute, count in taken.items():
            gone += await run(self._forget, self._prefix, minute, count)
        return len(rows) if gone else 0

    def _write(self, folder: Path, first: int, last: int, rows: list[Row]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        told: set[str] = set()  # by a file that a killed server left before it forgot them
        for start, end, path in ledgerfiles.files(folder):
            if start <= last and end >= first:
                told |= ledgerfiles.ids(path)
        fresh = [row for row in rows if row.id not in told]
        if not fresh:
            return
        writer = ledgerfiles.Writer(folder / f"rows-{first}-{last}-{secrets.token_hex(4)}.parquet")
        try:
            writer.write([ledgerrows.flat(row) for row in sorted(fresh, key=lambda row: row.at)])
        except BaseException:
            writer.abandon()
            raise
        writer.close()

    def _drop_files(self, now: float) -> None:
        if self._folder is None:
            return
        for _, last, path in ledgerfiles.files(self._folder):
            if last * 60 < now - self._file_days * _DAY_S:
                path.unlink(missing_ok=True)


async def keep(
    keeper: LedgerKeeper, ledger: Ledger, counts: Counts, clock: Callable[[], float]
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
