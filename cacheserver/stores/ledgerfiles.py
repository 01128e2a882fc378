"""Rows in Parquet files: what Redis no longer keeps, and what an export is written to.

Needs pyarrow (the `ledger` extra); nothing else of the ledger does. A file is named after its first
and last minute, so a range is looked for by name, and it is there whole or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cacheserver.policy.row import CAUSES, SPENDS
from cacheserver.stores.ledgerrows import COLUMNS, TOKENS

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"rows-(\d+)-(\d+)-[0-9a-f]{8}\.parquet")
_AT_ONCE = 10_000  # rows of a group: some 2 MB in memory

_INTEGERS = frozenset(
    {"status", *TOKENS}
    | {f"{of}_nanodollars" for of in ("cost", "saved", "spent", "counterfactual")}
    | {"unknown_least_nanodollars", "unknown_most_nanodollars"}
    | {f"saved_{cause.replace('-', '_')}" for cause in CAUSES}
    | {f"spent_{spend}" for spend in SPENDS}
)
_FLAGS = frozenset({"stream", "usage_known", "batch_eligible", "batched"})


def available() -> bool:
    """True where pyarrow is installed."""
    return find_spec("pyarrow") is not None


def schema() -> pa.Schema:
    """The columns' types, in order. Amounts are whole nanodollars, times are UTC."""
    import pyarrow as pa

    def kind(name: str) -> Any:
        if name in _INTEGERS:
            return pa.int64()
        if name in _FLAGS:
            return pa.bool_()
        return pa.timestamp("ms", tz="UTC") if name == "at" else pa.string()

    return pa.schema([(name, kind(name)) for name in COLUMNS])


class Writer:
    """Writes flat rows to one file; under another name until it is `close`d whole."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._part = path.with_suffix(".part")
        self._schema = schema()
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a group of rows."""
        import pyarrow as pa

        if rows:
            self._writer.write_table(pa.Table.from_pylist(list(rows), schema=self._schema))

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._writer.close()
        with self._part.open("rb") as written:
            os.fsync(written.fileno())
        self._part.rename(self._path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._writer.close()
        self._part.unlink(missing_ok=True)


def files(folder: Path) -> list[tuple[int, int, Path]]:
    """The files of a folder, each with its first and last minute, the oldest first."""
    if not folder.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(name[1]), int(name[2]), path) for name, path in found if name)


def read(path: Path, start: float, end: float, tenant: str | None) -> Iterator[dict[str, Any]]:
    """The flat rows of a file in [start, end), of one tenant or of all."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(_AT_ONCE):
            for row in batch.to_pylist():
                at: datetime = row["at"]
                if start <= at.timestamp() < end and tenant in (None, row["tenant"]):
                    yield row


def ids(path: Path) -> set[str]:
    """The ids of a file's rows."""
    import pyarrow.parquet as pq

    return set(pq.read_table(path, columns=["id"]).column("id").to_pylist())
