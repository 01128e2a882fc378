"""Export of ledger rows, oldest first: from the files, then from Redis, minute by minute."""

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
from cacheserver.ledger import files as row_files
from cacheserver.ledger import parquet, row_codec
from cacheserver.ledger.files import OnDamage, RowFile
from cacheserver.ledger.fold import LedgerFold
from cacheserver.storage import stored_row
from cacheserver.storage.connection import PREFIX, Connection, command

FORMATS = ("csv", "jsonl", "parquet")

_PAGE_ROWS = 1_000
_CHUNK = 65_536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so


class LedgerExport:
    """Reader of recorded rows in a time range. Every method may raise `StoreError`."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        folder: Path | None = None,
        damaged: OnDamage = lambda site: None,
    ) -> None:
        """`folder` holds the files; `damaged` is called for each file that is damaged."""
        self._redis = redis
        self._prefix = prefix
        self._fold = LedgerFold(redis, prefix=prefix)
        self._folder = folder
        self._damaged = damaged

    async def needs_parquet(self, start: float, end: float) -> bool:
        """Return whether the range has Parquet files that this server cannot read."""
        if parquet.available():
            return False
        return any(file.is_parquet for file in await asyncio.to_thread(self._files, start, end))

    async def rows(
        self, start: float, end: float, tenant: str | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield pages of flat rows with `start <= at < end`, with one minute's rows in memory."""
        files = await asyncio.to_thread(self._files, start, end)
        for file in files:
            source = row_files.read_rows(file, start, end, tenant, self._damaged)
            while page := await asyncio.to_thread(_next_page, source):
                yield page
        ids_by_file: dict[Path, set[str]] = {}
        async for minute, found in self.minutes(start, end):
            # A server that was killed may have left rows both in a file and in Redis.
            exported: set[str] = set()
            for file in files:
                if file.first <= minute <= file.last:
                    if file.path not in ids_by_file:
                        found_ids = await asyncio.to_thread(row_files.row_ids, file, self._damaged)
                        ids_by_file[file.path] = found_ids
                    exported |= ids_by_file[file.path]
            flat = [
                row_codec.flat(row)
                for row in sorted(found, key=lambda row: row.at)
                if start <= row.at < end and tenant in (None, row.tenant) and row.id not in exported
            ]
            for at in range(0, len(flat), _PAGE_ROWS):
                yield flat[at : at + _PAGE_ROWS]

    async def minutes(self, start: float, end: float) -> AsyncIterator[tuple[int, list[Row]]]:
        """Yield the rows that Redis has for each minute of a range, oldest first."""
        await self._fold.run()
        first, last = int(start // 60), int(-(-end // 60)) - 1
        stored = await command(self._redis, "ZRANGEBYSCORE", f"{self._prefix}lr", first, last)
        for minute in map(int, stored):
            encoded = await self.encoded_rows(minute)
            rows = (stored_row.decode(id, row) for id, row in encoded.items())
            yield minute, [row for row in rows if row is not None]

    async def encoded_rows(self, minute: int) -> dict[str, bytes]:
        """Return the encoded rows that Redis has for one minute, by id."""
        stored = await command(self._redis, "HGETALL", f"{self._prefix}lr:{minute}")
        return {id.decode(): row for id, row in stored.items()}

    def _files(self, start: float, end: float) -> list[RowFile]:
        if self._folder is None:
            return []
        return [
            file
            for file in row_files.list_files(self._folder)
            if file.first * 60 < end and (file.last + 1) * 60 > start
        ]


def encode_pages(
    pages: AsyncIterator[list[dict[str, Any]]], format: str
) -> AsyncGenerator[bytes, None]:
    """Encode pages as the bytes of one file; `format` is one of `FORMATS`."""
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
        yield b"".join(row_files.json_lines(page))


async def _parquet(pages: AsyncIterator[list[dict[str, Any]]]) -> AsyncGenerator[bytes, None]:
    """Encode through a temporary file: Parquet has its index at the end."""
    with tempfile.TemporaryDirectory(prefix="cacheserver-export-") as folder:
        path = Path(folder) / "rows.parquet"
        writer = await asyncio.to_thread(parquet.Writer, path)
        async for page in pages:
            await asyncio.to_thread(writer.write, page)
        await asyncio.to_thread(writer.close)
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk


def _cell(value: Any) -> Any:
    """Convert a value to a CSV field. A caller's text never begins a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else value


def _next_page(source: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(islice(source, _PAGE_ROWS))
