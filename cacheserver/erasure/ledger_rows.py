"""Erasure in the ledger: amounts stay, names that callers chose are removed.

A row's names are its conversation, its tags and its task. In the sums by those, the amounts of an
erased name are added to the nameless field, so that totals stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cacheserver.core.ledger_row import Row
from cacheserver.erasure import scripts
from cacheserver.erasure.selectors import Selector
from cacheserver.ledger import files as row_files
from cacheserver.ledger import parquet
from cacheserver.ledger.fold import SEP
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command, run_script

_STEP: Final = 500
_FOLDED: Final = 100  # names or rows of one script: a millisecond


@dataclass(frozen=True, slots=True)
class Names:
    """Names to remove from rows: all of them, or those that the selector covers."""

    tenant: str
    selector: Selector
    at: float
    decisions: Set[str]  # rows by whose ids it is known that they are covered

    def cover(self, row: Row) -> bool:
        """Return whether the request of a row is covered, by a name of it or as it is known."""
        if row.tenant != self.tenant or self._since(row):
            return False
        kind, values = self.selector.kind, self.selector.values
        tagged = kind == "tag" and not set(values).isdisjoint(row.tags)
        talked = kind == "conversation" and row.conversation in values
        return kind == "tenant" or row.id in self.decisions or tagged or talked

    def without(self, row: Row) -> Row:
        """Return the row without covered names; the same row if there are none."""
        if row.tenant != self.tenant or self._since(row):
            return row
        kind, values = self.selector.kind, self.selector.values
        if kind == "tenant":
            return replace(row, conversation=None, tags=(), task=None)
        if row.id in self.decisions:
            return replace(row, conversation=None, tags=())
        if kind == "tag":
            return replace(row, tags=tuple(tag for tag in row.tags if tag not in values))
        if kind == "conversation" and row.conversation in values:
            return replace(row, conversation=None)
        return row

    def _since(self, row: Row) -> bool:
        return row.at > self.at and row.id not in self.decisions

    @property
    def by_name(self) -> bool:
        """Return whether covered rows are recognized by their names, at any age."""
        return self.selector.kind in ("tenant", "tag", "conversation")


class ErasedRows:
    """Remover of names from rows and sums. Raises `StoreError`, and `OSError` for files."""

    def __init__(self, redis: Connection) -> None:
        self._redis = redis
        self._replace = redis.register_script(scripts.REPLACE)
        self._fold = redis.register_script(scripts.FOLD)

    async def rows(self, key: bytes, names: Names) -> int:
        """Remove names from a hash of rows; returns the number of changed rows."""
        cursor, changed = 0, 0
        marker = names.tenant.encode()
        while True:
            cursor, found = await command(self._redis, "HSCAN", key, cursor, "COUNT", _STEP)
            words: list[bytes] = []
            for id, packed in found.items():
                if marker not in packed:
                    continue
                parts = stored_row.parted(packed)
                row = stored_row.decode(id.decode(), parts.row)
                if row is None:
                    continue
                bare = names.without(row)
                if parts.details is not None and names.cover(row):
                    # Its question goes at once: without its names no later pass would know it.
                    words += (id, packed, stored_row.joined(stored_row.encode(bare)))
                elif bare != row:
                    words += (id, packed, stored_row.encode(bare) + packed[len(parts.row) :])
            for start in range(0, len(words), 3 * _FOLDED):
                changed += await run_script(self._replace, key, *words[start : start + 3 * _FOLDED])
            if not int(cursor):
                return changed

    async def sums(self, key: bytes, kind: str, names: Names) -> int:
        """Move the sums of erased names to the nameless field; returns the number of names."""
        wanted = _folded(kind, names.selector)
        if wanted is None:
            return 0
        fields = await command(self._redis, "HKEYS", key)
        pairs: list[bytes] = []
        for field in fields:
            rest = _rest(kind, field)
            if field != rest and wanted(field):
                pairs += (field, rest)
        gone = 0
        for start in range(0, len(pairs), 2 * _FOLDED):
            gone += await run_script(self._fold, key, *pairs[start : start + 2 * _FOLDED])
        return gone


def files(folder: Path, names: Names) -> tuple[int, int]:
    """Remove names from rows in files; returns the numbers of changed rows and unreadable files.

    Blocks. Raises `OSError`.
    """
    held = row_files.list_files(folder) if names.by_name else []
    changed = unread = 0
    for file in held:
        if file.is_parquet and not parquet.available():
            unread += 1
            continue
        damaged: list[str] = []
        rows = list(row_files.read_rows(file, 0.0, float("inf"), None, damaged.append))
        unread += bool(damaged)
        count = sum(_without_flat(row, names) for row in rows)
        if not count or damaged:  # a new file would lose the rows after the damage
            continue
        writer = row_files.RowFileWriter(folder, file.first, file.last, replaces=file.path)
        try:
            writer.write(rows)
        except BaseException:
            writer.abandon()
            raise
        writer.close()
        changed += count
    return changed, unread


def _without_flat(row: dict[str, Any], names: Names) -> bool:
    """Remove names from a flat row; returns whether there were any."""
    if row["tenant"] != names.tenant or row["at"].timestamp() > names.at:
        return False
    kind, values = names.selector.kind, names.selector.values
    tags = [tag for tag in (row["tags"] or "").split(",") if tag]
    tags_left, talk, task = tags, row["conversation"], row["task"]
    if kind == "tenant":
        tags_left, talk, task = [], None, None
    elif kind == "tag":
        tags_left = [tag for tag in tags if tag not in values]
    elif kind == "conversation" and talk in values:
        talk = None
    changed = (tags_left, talk, task) != (tags, row["conversation"], row["task"])
    row["tags"], row["conversation"], row["task"] = ",".join(tags_left), talk, task
    return changed


def _folded(kind: str, selector: Selector) -> Callable[[bytes], bool] | None:
    """Return a predicate of the fields to remove from a hash of sums; None for no field."""
    if selector.kind == "tenant":
        return lambda field: True
    if (kind, selector.kind) == ("tag_sums", "tag"):
        return _among(selector.values)
    if (kind, selector.kind) == ("conversation_sums", "conversation"):
        return _among(sha256(name.encode()).hexdigest()[:16] for name in selector.values)
    return None


def _among(names: Iterable[str]) -> Callable[[bytes], bool]:
    wanted = {name.encode() for name in names}
    return lambda field: field in wanted


def _rest(kind: str, field: bytes) -> bytes:
    """Return the nameless field that belongs to `field`."""
    sep = SEP.encode()
    return field.partition(sep)[0] + sep if kind == "task_hour_sums" else b""
