"""The stored record of a request: its ledger row, and what else is known of its decision.

    ROW                      of background work, and of all rows of earlier versions
    ROW "\n"                 of a request whose decision is not known
    ROW "\n" MARK FACTS DETAILS    of all others; MARK is one byte: whether a similarity decided
    ROW "\n" MARK DETAILS    the same of earlier versions, with marks of their own

The row is a JSON array by position (`STORED`) of about 150 bytes and has no line break. The ledger
keeps it alone. The facts are numbers and digests that decisions are searched by, beside the row
(`cache.store.decision_index`). The details are sealed (`storage.sealer`). Both last a day, with a
copy of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, replace
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from cacheserver.core.ledger_row import NOTHING, Bounds, Comparison, Row
from cacheserver.core.types import Usage

_LAYOUT = 1

# The stored values after the layout's number, by position. A new field goes at the end: rows that
# were stored before have its default, and an older version skips it.
STORED: Final = (
    *("at", "tenant", "key_id", "outcome", "reason", "asked", "model", "baseline", "task", "tags"),
    *("conversation", "usage", "cost", "saved", "spent", "prices", "call", "status", "unknown"),
    "flags",  # `_FLAGS`, the first in the lowest bit
    *("verification", "estimated", "compared"),
)
_FLAGS: Final = ("stream", "batch_eligible", "batched")
_FIRST_VERSION: Final = 20  # how many values every row has

MOST: Final = 2**53 - 1  # the store's scripts add up no larger numbers

_END: Final = b"\n"
NEAR: Final = b"+"  # the mark of a decision that depended on a similarity
_FAR: Final = b"-"
EARLIER_NEAR: Final = b"~"  # without facts
_EARLIER_FAR: Final = b"."
FACTS_BYTES: Final = 24

# How the fields are stored that JSON has no type for, or a shorter form of.
_STORE: Final[Mapping[str, Callable[[Row], Any]]] = {
    "at": lambda row: round(row.at, 6),
    "usage": lambda row: 0 if row.usage == NOTHING else astuple(row.usage),
    "saved": lambda row: row.saved or 0,
    "spent": lambda row: row.spent or 0,
    "unknown": lambda row: 0 if row.unknown is None else (row.unknown.least, row.unknown.most),
    "flags": lambda row: row.stream | row.batch_eligible << 1 | row.batched << 2,
    "compared": lambda row: _compared(row.compared),
}
_LOAD: Final[Mapping[str, Callable[[Any], Any]]] = {
    "tags": tuple,
    "usage": lambda stored: _usage(stored),
    "saved": lambda stored: stored or {},
    "spent": lambda stored: stored or {},
    "unknown": lambda stored: Bounds(*stored) if stored else None,
    "compared": lambda stored: Comparison(*stored) if stored else None,
}
# Every answer waits for its row to be encoded: most values are read by one call.
_READ: Final = attrgetter(*("at" if name in _STORE else name for name in STORED))
_REPLACED: Final = tuple((STORED.index(name) + 1, store) for name, store in _STORE.items())


def encode(row: Row) -> bytes:
    """Encode a row for Redis. Raises `TypeError` if it is not `sound`."""
    return orjson.dumps(_values(row))


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


def sound(row: Row) -> Row:
    """Return a row without what cannot be stored: half pairs and enormous numbers."""
    found = decode(row.id, orjson.dumps(_sound(_values(row))))
    assert found is not None  # it is of this version
    return found


class Details(NamedTuple):
    """Details of a request's decision that its row does not have, as JSON."""

    plain: bytes
    near: bool  # whether it depended on the similarity of a stored question
    facts: bytes = b""  # `FACTS_BYTES`; empty: it is not found by a search


class Parted(NamedTuple):
    """Parts of a stored record."""

    row: bytes
    details: bytes | None  # None: not known
    ended: bool  # whether a request's end is recorded
    facts: bytes  # empty: not known


def joined(row: bytes) -> bytes:
    """Return the record of a request whose decision is not known."""
    return row + _END


def joined_with(row: bytes, sealed: bytes, details: Details) -> bytes:
    """Join a request's row with its details, which `sealed` are."""
    if not details.facts:
        return b"".join((row, _END, EARLIER_NEAR if details.near else _EARLIER_FAR, sealed))
    return b"".join((row, _END, NEAR if details.near else _FAR, details.facts, sealed))


def parted(record: bytes) -> Parted:
    """Return the parts of a stored record."""
    row, end, rest = record.partition(_END)
    if rest[:1] in (NEAR, _FAR):
        start = 1 + FACTS_BYTES
        return Parted(row, rest[start:] or None, True, rest[1:start])
    return Parted(row, rest[1:] or None, bool(end), b"")


def details_of(record: bytes) -> bytes:
    """Return the details in a stored record, empty if there are none: in a fifth of the time."""
    end = record.find(_END)
    if end < 0:
        return b""
    start = end + len(_END) + 1
    return record[start + (FACTS_BYTES if record[start - 1 : start] in (NEAR, _FAR) else 0) :]


def _values(row: Row) -> list[Any]:
    values = [_LAYOUT, *_READ(row)]
    for place, store in _REPLACED:
        values[place] = store(row)
    return values


def _sound(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case int():
            return max(-MOST, min(MOST, value))
        case tuple() | list():
            return [_sound(one) for one in value]
        case Mapping():
            return {_sound(name): _sound(one) for name, one in value.items()}
    return value


def _compared(found: Comparison | None) -> Any:
    if found is None:
        return 0
    if found.model is None:
        return found.opus, found.sonnet
    return found.opus, found.sonnet, found.model, found.named


def _usage(stored: Any) -> Usage:
    if not stored:
        return NOTHING
    *counts, legs = stored
    return replace(Usage(*counts), iterations=tuple((model, _usage(leg)) for model, leg in legs))
