"""Parquet files of ledger rows. Needs pyarrow, the `ledger` extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cacheserver.ledger.row_codec import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED: Final = "install cacheserver's extra `ledger`"
_BATCH_ROWS: Final = 10_000  # some 2 MB in memory


def available() -> bool:
    """Return whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


def schema() -> pa.Schema:
    """Return the columns with their types, in order. Amounts are nanodollars, times are UTC."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "flag": pa.bool_(),
        "time": pa.timestamp("ms", tz="UTC"),
    }
    return pa.schema([(column.name, types[column.type]) for column in COLUMNS])


class Writer:
    """Writes flat rows to one file."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._schema = schema()
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a group of rows."""
        import pyarrow as pa

        if rows:
            self._writer.write_table(pa.Table.from_pylist(list(rows), schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the flat rows of a file that an earlier version wrote."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(_BATCH_ROWS):
            yield from batch.to_pylist()


def ids(path: Path) -> set[str]:
    """Return the ids of the rows in such a file."""
    import pyarrow.parquet as pq

    return set(pq.read_table(path, columns=["id"]).column("id").to_pylist())
