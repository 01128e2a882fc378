"""Rows out of the ledger, oldest first: from the files, then from Redis, a minute at a time."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cacheserver.core.ledger_row import Row
from cacheserver.ledger import files as ledgerfiles
from cacheserver.ledger import parquet, row_codec
from cacheserver.ledger.files import Damaged, RowFile
from cacheserver.storage.connection import PREFIX, Connection, command

FORMATS = ("csv", "jsonl", "parquet")

_AT_ONCE = 1_000  # rows of a page
_CHUNK = 65_536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


class LedgerExport:
    """Reads rows in a range of time. Everything here may raise `StoreError`."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        folder: Path | None = None,
        damaged: Damaged = lambda site: None,
    ) -> None:
        """`folder` has the files; `damaged` is called for each that cannot be read to its end."""
        self._redis = redis
        self._prefix = prefix
        self._folder = folder
        self._damaged = damaged

    async def needs_parquet(self, start: float, end: float) -> bool:
        """Return whether rows of the range lie in Parquet files that this server cannot read."""
        if parquet.available():
            return False
        return any(file.parquet for file in await asyncio.to_thread(self._files, start, end))

    async def rows(
        self, start: float, end: float, tenant: str | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of flat rows with `start <= at < end`; memory is bounded by a minute's rows."""
        files = await asyncio.to_thread(self._files, start, end)
        for file in files:
            source = ledgerfiles.read(file, start, end, tenant, self._damaged)
            while page := await asyncio.to_thread(_some, source):
                yield page
        known: dict[Path, set[str]] = {}
        async for minute, found in self.minutes(start, end):
            # Spilled and not yet forgotten: a server that was killed in between.
            told: set[str] = set()
            for file in files:
                if file.first <= minute <= file.last:
                    if file.path not in known:
                        found_ids = await asyncio.to_thread(ledgerfiles.ids, file, self._damaged)
                        known[file.path] = found_ids
                    told |= known[file.path]
            flat = [
                row_codec.flat(row)
                for row in sorted(found, key=lambda row: row.at)
                if start <= row.at < end and tenant in (None, row.tenant) and row.id not in told
            ]
            for at in range(0, len(flat), _AT_ONCE):
                yield flat[at : at + _AT_ONCE]

    async def minutes(self, start: float, end: float) -> AsyncIterator[tuple[int, list[Row]]]:
        """The rows that Redis has of each minute of a range, the oldest first."""
        first, last = int(start // 60), int(-(-end // 60)) - 1
        held = await command(self._redis, "ZRANGEBYSCORE", f"{self._prefix}lr", first, last)
        for minute in map(int, held):
            kept = await self.held(minute)
            rows = (row_codec.decode(id, row) for id, row in kept.items())
            yield minute, [row for row in rows if row is not None]

    async def held(self, minute: int) -> dict[str, bytes]:
        """What Redis has of one minute, as it is kept, by id."""
        kept = await command(self._redis, "HGETALL", f"{self._prefix}lr:{minute}")
        return {id.decode(): row for id, row in kept.items()}

    def _files(self, start: float, end: float) -> list[RowFile]:
        if self._folder is None:
            return []
        return [
            file
            for file in ledgerfiles.files(self._folder)
            if file.first * 60 < end and (file.last + 1) * 60 > start
        ]


def written(pages: AsyncIterator[list[dict[str, Any]]], format: str) -> AsyncGenerator[bytes, None]:
    """Pages as the bytes of a file; `format` is one of `FORMATS`."""
    return {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[format](pages)


async def _csv(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncGenerator[bytes, None]:
    buffer = io.StringIO()
    writer = csv.DictWriter(
        buffer, [column.name for column in row_codec.COLUMNS], lineterminator="\r\n"
    )
    writer.writeheader()
    yield buffer.getvalue().encode()
    async for page in pages:
        buffer.seek(0)
        buffer.truncate()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in page)
        yield buffer.getvalue().encode()


async def _jsonl(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncGenerator[bytes, None]:
    async for page in pages:
        yield b"".join(ledgerfiles.lines_of(page))


async def _parquet(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncGenerator[bytes, None]:
    """A Parquet file has its index at its end, so it is written to a file first."""
    with tempfile.TemporaryDirectory(prefix="cacheserver-export-") as folder:
        path = Path(folder) / "rows.parquet"
        writer = await asyncio.to_thread(parquet.Writer, path)
        async for page in pages:
            await asyncio.to_thread(writer.write, page)
        await asyncio.to_thread(writer.close)
        with path.open("rb") as written:
            while chunk := await asyncio.to_thread(written.read, _CHUNK):
                yield chunk


def _cell(value: Any) -> Any:
    """A value as a CSV field: callers' words never begin a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else value


def _some(source: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(islice(source, _AT_ONCE))
