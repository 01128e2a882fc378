"""Fold of the ledger: what was recorded moves to where it is read, and counts in the sums.

Rows go to their minutes, decisions to their ids. Any server may fold any record, at any time: each
counts once (`scripts.FOLD`). Whoever reads rows, sums or statistics folds first, so that a record
counts from the moment it is written, also if its server was killed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from cacheserver.cache.store import decision_index
from cacheserver.core.ledger_row import Row
from cacheserver.ledger import sums
from cacheserver.ledger.scripts import FOLD
from cacheserver.ledger.time_range import LIFETIME_S, SECONDS, Grain
from cacheserver.storage import stored_row
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.stored_row import MOST

DAY_S = 86_400

BLOCK: Mapping[Grain, int] = {"m": 60, "h": 24, "d": 30}  # slots of a grain that share a hash

_SHORT_S = 90 * DAY_S
# Most fields of a hash; further ones share an overflow field. Callers choose models, tasks, tags.
_MOST: Mapping[str, int] = {"ls": 5_000, "lk": 500, "lj": 5_000, "lg": 4_000, "lc": 100_000}

_ROWS = 200  # of one script: about 2 ms of Redis' time, for which others wait
_SORTED = 10_000  # at once, some 10 MB

SEP = "\x1f"  # separates the parts of a field; no name contains it

# Key of a hash, its TTL (s), the field, and the overflow field.
_Cell: TypeAlias = tuple[str, int, str, str]


class _Recorded(NamedTuple):
    """A row, what it adds to the sums, and its stored form."""

    row: Row
    numbers: Sequence[tuple[int, int]]  # (position, amount)
    stored: bytes
    ended: bool  # a request's: it counts in the statistics
    decided: bool  # its decision is stored with it
    indexed: bytes  # its row of the index of decisions; empty: none


def recorded_key(prefix: str) -> str:
    """Return the key of the rows that wait for a fold."""
    return f"{prefix}lp"


class LedgerFold:
    """Mover of recorded rows. Safe beside other folds, of this server or of others."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._script = redis.register_script(FOLD)
        self._written: dict[bytes, tuple[bytes, Row]] = {}

    def expect(self, row: Row, stored: bytes) -> None:
        """Remember a row that this server wrote until the next fold, which need not decode it."""
        self._written[row.id.encode()] = stored, row

    async def run(self) -> None:
        """Fold all rows that are recorded now. Raises `StoreError`.

        A row that this version cannot read stays for the version that wrote it.
        """
        written, self._written = self._written, {}
        cursor, found = 0, dict[bytes, _Recorded]()  # a scan may meet a record twice
        while True:
            cursor, stored = await command(
                self._redis, "HSCAN", recorded_key(self._prefix), cursor, "COUNT", _ROWS
            )
            for id, record in stored.items():
                if (one := _read(id, record, written.get(id))) is not None:
                    found[id] = one
            if int(cursor) and len(found) < _SORTED:
                continue
            listed = sorted(found.values(), key=lambda one: one.row.at)  # as decisions are listed
            for start in range(0, len(listed), _ROWS):
                await self._fold(listed[start : start + _ROWS])
            found.clear()
            if not int(cursor):
                return

    async def _fold(self, found: list[_Recorded]) -> None:
        while found:
            out = set(await run_script(self._script, *_arguments(self._prefix, found)))
            if not out:
                return
            found = [one for place, one in enumerate(found, 1) if place not in out]


def _read(id: bytes, record: bytes, written: tuple[bytes, Row] | None) -> _Recorded | None:
    stored, details, ended, facts = stored_row.parted(record)
    try:
        if written is not None and written[0] == record:
            row: Row | None = written[1]
        else:
            row = stored_row.decode(id.decode(), stored)
        if row is None:
            return None
        numbers = sums.row_sums(row)
        if not all(-MOST <= number <= MOST for _, number in numbers):
            return None  # of an earlier version: it would stop the fold of all others
        indexed = decision_index.pack(row, facts) if facts else b""
        return _Recorded(row, numbers, stored, ended, details is not None, indexed)
    except (TypeError, ValueError, LookupError, struct.error):
        return None


def _arguments(prefix: str, found: Sequence[_Recorded]) -> Iterator[str | bytes | int]:
    """Yield the arguments of a fold: the rows, and what they add to the statistics and cells."""
    yield prefix
    yield len(found)
    added: dict[_Cell, dict[int, int]] = {}
    slots: dict[tuple[_Cell, ...], dict[int, int]] = {}  # rows mostly share the same three cells
    statistics: dict[tuple[str, str], int] = {}
    for row, numbers, stored, ended, decided, indexed in found:
        minute = int(row.at // 60)
        yield minute
        yield row.id
        yield stored
        yield tenant_key(row.tenant) if decided else ""
        yield indexed
        if ended:
            for name, number in _statistics(row):
                if number:
                    at = row.tenant, name
                    statistics[at] = statistics.get(at, 0) + number
        cells = _slots(row.tenant, row.key_id or "", row.model or row.asked, minute)
        _add(slots.setdefault(cells, {}), numbers)
        for cell, short in _short_cells(row):
            _add(added.setdefault(cell, {}), short)
    yield len(statistics)
    for (tenant, name), number in statistics.items():
        yield from (tenant, name, number)
    for cells, by_place in slots.items():
        for cell in cells:
            _add(added.setdefault(cell, {}), by_place.items())
    for (key, life, field, rest), by_place in added.items():
        yield from (key, life, _MOST[key[:2]], field, rest)
        yield b"".join([_PAIR(place, number) for place, number in by_place.items()])


def _statistics(row: Row) -> tuple[tuple[str, int], ...]:
    """Return what a request adds to the statistics of its tenant."""
    saved = row.net - row.verification
    return (
        *(("requests", 1), (row.outcome, 1)),
        *(("cost_nanodollars", row.shown_cost or 0), ("saved_nanodollars", saved)),
    )


def _add(into: dict[int, int], numbers: Iterable[tuple[int, int]]) -> None:
    for place, number in numbers:
        into[place] = into.get(place, 0) + number


def _short_cells(row: Row) -> Iterator[tuple[_Cell, tuple[tuple[int, int], ...]]]:
    """Yield the cells of a row's task, tags and conversation, each with the numbers to add."""
    if row.task is None and not row.tags and row.conversation is None:
        return
    short = sums.short_row_sums(row)
    at = f"{int(row.at // DAY_S)}:{row.tenant}"
    if row.task is not None:
        yield (f"lk:{at}", _SHORT_S, row.task, ""), short
        hour = int(row.at // SECONDS["h"])
        field, rest = f"{hour}{SEP}{row.task}", f"{hour}{SEP}"
        yield (f"lj:{at}", LIFETIME_S["h"], field, rest), short
    for tag in row.tags:
        yield (f"lg:{at}", _SHORT_S, tag, ""), short
    if row.conversation is not None:
        # A digest: callers choose the name, at any length, and only equality matters.
        name = sha256(row.conversation.encode()).hexdigest()[:16]
        yield (f"lc:{at}", _SHORT_S, name, ""), short


@lru_cache(maxsize=1_024)  # hits of one key and model in one minute share these cells
def _slots(tenant: str, key_id: str, model: str, minute: int) -> tuple[_Cell, ...]:
    """Return the cells of a minute, its hour and its day."""
    found = []
    for grain, seconds in SECONDS.items():
        slot = minute * 60 // seconds
        key = f"ls:{grain}:{slot // BLOCK[grain]}:{tenant}"
        field, rest = f"{slot}{SEP}{key_id}{SEP}{model}", f"{slot}{SEP}{SEP}"
        found.append((key, LIFETIME_S[grain], field, rest))
    return tuple(found)


_PAIR = struct.Struct("<Bq").pack
