"""Rows as Parquet, for an export that asks for it. Needs pyarrow, the `ledger` extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cacheserver.core.ledger_row import CAUSES, SPENDS
from cacheserver.ledger.row_codec import COLUMNS, TOKENS

if TYPE_CHECKING:
    import pyarrow as pa

NEEDED: Final = 'pip install "cacheserver[ledger]"'
_AT_ONCE: Final = 10_000  # rows of a group: some 2 MB in memory

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
    """The flat rows of a file that an earlier version wrote."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(_AT_ONCE):
            yield from batch.to_pylist()


def ids(path: Path) -> set[str]:
    """The ids of such a file's rows."""
    import pyarrow.parquet as pq

    return set(pq.read_table(path, columns=["id"]).column("id").to_pylist())
