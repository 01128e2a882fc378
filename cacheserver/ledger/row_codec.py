"""Ledger rows as they are exported: one column for each kind of token and each cause (`COLUMNS`).

A spreadsheet and DuckDB need no unpacking. The table is complete: the CSV header and the Parquet
schema are derived from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias

from cacheserver.core.ledger_row import CAUSES, SPENDS, Row
from cacheserver.core.types import Usage

ColumnType: TypeAlias = Literal["text", "integer", "flag", "time"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an export. `value` is given the row and the tokens on its bill."""

    name: str
    type: ColumnType
    value: Callable[[Row, Usage], Any]


def _field(name: str, field: str | None = None, type: ColumnType = "text") -> Column:
    read = attrgetter(field or name)
    return Column(name, type, lambda row, _: read(row))


def _usage_field(name: str, type: ColumnType = "text") -> Column:
    read = attrgetter(name)
    return Column(name, type, lambda _, usage: read(usage))


def _amount(name: str, value: Callable[[Row], int | None]) -> Column:
    return Column(name, "integer", lambda row, _: value(row))


def _part(of: Literal["saved", "spent"], cause: str) -> Column:
    read = attrgetter(of)
    return _amount(f"{of}_{cause.replace('-', '_')}", lambda row: read(row).get(cause, 0))


def _compared(name: str, field: str, type: ColumnType = "integer") -> Column:
    """Return a column of the comparison; it is empty if there is none, or no model was named."""
    read = attrgetter(field)

    def value(row: Row, _: Usage) -> Any:
        found = row.compared
        return None if found is None or (field == "named" and not found.model) else read(found)

    return Column(name, type, value)


def _bound(row: Row, name: Literal["least", "most"]) -> int | None:
    if row.unknown is None:
        return None
    return row.unknown.least if name == "least" else row.unknown.most


TOKENS: Final = (
    *("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_searches"),
)

# The columns of the CSV, JSONL and Parquet files, in order.
COLUMNS: Final[tuple[Column, ...]] = (
    _field("id"),
    Column("at", "time", lambda row, _: datetime.fromtimestamp(row.at, UTC)),
    _field("tenant"),
    _field("key_id"),
    _field("decision", "outcome"),
    _field("reason"),
    _field("model_asked", "asked"),
    _field("model"),
    _field("model_baseline", "baseline"),
    _field("task"),
    Column("tags", "text", lambda row, _: ",".join(row.tags)),
    _field("conversation"),
    _field("stream", type="flag"),
    _field("status", type="integer"),
    *(_usage_field(name, "integer") for name in TOKENS),
    *(_usage_field(name) for name in ("service_tier", "speed", "inference_geo")),
    _field("prices"),
    _field("cost_nanodollars", "cost", "integer"),
    _amount("saved_nanodollars", lambda row: sum(row.saved.values())),
    _amount("spent_nanodollars", lambda row: sum(row.spent.values())),
    _amount("counterfactual_nanodollars", lambda row: row.counterfactual),
    *(_part("saved", cause) for cause in CAUSES),
    *(_part("spent", spend) for spend in SPENDS),
    Column("usage_known", "flag", lambda row, _: row.unknown is None),
    _amount("unknown_least_nanodollars", lambda row: _bound(row, "least")),
    _amount("unknown_most_nanodollars", lambda row: _bound(row, "most")),
    _field("batch_eligible", type="flag"),
    _field("batched", type="flag"),
    _field("claude_message_id", "call"),
    *(_compared(f"compared_{name}_nanodollars", name) for name in ("opus", "sonnet")),
    _compared("compared_model", "model", "text"),
    _compared("compared_model_nanodollars", "named"),
)


def flat(row: Row) -> dict[str, Any]:
    """Return a row as it is exported, by the names of `COLUMNS`."""
    usage = row.usage.billed
    return {column.name: column.value(row, usage) for column in COLUMNS}
