"""The two forms of a ledger row: stored in Redis, and exported.

Stored: a JSON array by position (`STORED`), about 150 bytes. Exported: flat, one column for each
kind of token and cause (`COLUMNS`), so that a spreadsheet and DuckDB need no unpacking. Both
tables are complete: encoding, decoding, the CSV header and the Parquet schema are derived from
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias

import orjson

from cacheserver.core.ledger_row import CAUSES, NOTHING, SPENDS, Bounds, Row
from cacheserver.core.types import Usage

_LAYOUT = 1

# The stored values after the layout's number, by position. A new field goes at the end: rows that
# were stored before have its default, and an older version skips it.
STORED: Final = (
    *("at", "tenant", "key_id", "outcome", "reason", "asked", "model", "baseline", "task", "tags"),
    *("conversation", "usage", "cost", "saved", "spent", "prices", "call", "status", "unknown"),
    "flags",  # `_FLAGS`, the first in the lowest bit
)
_FLAGS: Final = ("stream", "batch_eligible", "batched")
_FIRST_VERSION: Final = 20  # how many values every row has

# How the fields are stored that JSON has no type for, or a shorter form of.
_STORE: Final[Mapping[str, Callable[[Row], Any]]] = {
    "at": lambda row: round(row.at, 3),
    "usage": lambda row: 0 if row.usage == NOTHING else astuple(row.usage),
    "saved": lambda row: row.saved or 0,
    "spent": lambda row: row.spent or 0,
    "unknown": lambda row: 0 if row.unknown is None else (row.unknown.least, row.unknown.most),
    "flags": lambda row: sum(getattr(row, flag) << bit for bit, flag in enumerate(_FLAGS)),
}
_LOAD: Final[Mapping[str, Callable[[Any], Any]]] = {
    "tags": tuple,
    "usage": lambda stored: _usage(stored),
    "saved": lambda stored: stored or {},
    "spent": lambda stored: stored or {},
    "unknown": lambda stored: Bounds(*stored) if stored else None,
}
_READERS: Final = tuple(_STORE.get(name) or attrgetter(name) for name in STORED)

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
)


def encode(row: Row) -> bytes:
    """Encode a row for Redis."""
    return orjson.dumps([_LAYOUT, *(read(row) for read in _READERS)])


def decode(id: str, stored: bytes) -> Row | None:
    """Decode a stored row; None if this version does not know its layout."""
    try:
        layout, *values = orjson.loads(stored)
    except (ValueError, TypeError):
        return None
    if layout != _LAYOUT or len(values) < _FIRST_VERSION:
        return None
    fields = dict(zip(STORED, values, strict=False))
    flags = fields.pop("flags")
    for name, load in _LOAD.items():
        if name in fields:
            fields[name] = load(fields[name])
    fields |= {flag: bool(flags >> bit & 1) for bit, flag in enumerate(_FLAGS)}
    return Row(id=id, **fields)


def flat(row: Row) -> dict[str, Any]:
    """Return a row as it is exported, by the names of `COLUMNS`."""
    usage = row.usage.billed
    return {column.name: column.value(row, usage) for column in COLUMNS}


def _usage(stored: Any) -> Usage:
    if not stored:
        return NOTHING
    *counts, legs = stored
    return replace(Usage(*counts), iterations=tuple((model, _usage(leg)) for model, leg in legs))
