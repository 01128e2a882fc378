"""Access mode: whether requests need an API key. From the first key on they do, until `key open`.

Rule: the mode is recorded in Redis and in the data directory, so that neither an emptied Redis nor
the revocation of the last key opens a server again. Each record has a number; the higher number
wins, and the other place is updated. In doubt access is closed: of two records with one number the
one that needs keys wins, and a record that cannot be read needs keys.

    P access          "3:needed" or "4:open"
    DATA_DIR/access   the same, for all servers of that directory
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cacheserver.core.errors import StoreError
from cacheserver.storage.connection import Connection, run_script

_NOTE = re.compile(r"([0-9]{1,15}):(needed|open)\s*")

# Merges the record known here into Redis and returns the one that wins. A key without a record was
# made by an earlier version.
_MERGE = """
local P, number, state = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local kept = redis.call('GET', P .. 'access')
local n, s = 0, 'open'
if kept then
  n, s = string.match(kept, '^(%d+):(%a+)$')
  n = tonumber(n) or number
  if s ~= 'open' then s = 'needed' end
end
if number > n or (number == n and state == 'needed') then n, s = number, state end
if s == 'open' and redis.call('EXISTS', P .. 'keys') == 1 then n, s = n + 1, 'needed' end
local note = string.format('%d:%s', n, s)
if note ~= kept and note ~= '0:open' then redis.call('SET', P .. 'access', note) end
return note
"""


@dataclass(frozen=True, slots=True)
class _Record:
    number: int = 0
    needed: bool = False

    def __str__(self) -> str:
        return f"{self.number}:{'needed' if self.needed else 'open'}"


class Access:
    """Access mode. `path` is its file in the data directory; None: Redis alone."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        path: Path | None,
        swallowed: Callable[[str], object],
    ) -> None:
        self._merge = redis.register_script(_MERGE)
        self._prefix = prefix
        self._path = path
        self._swallowed = swallowed
        self._note: _Record | None = None  # as last seen

    async def needed(self) -> bool:
        """Return whether a key is needed. Raises `StoreError` if that is unknown."""
        latest = self._latest()
        try:
            return (await self._merge_record(latest)).needed
        except StoreError:
            if latest.needed:
                return True
            raise

    async def require(self) -> bool:
        """Record that a key is needed, before the first key is created; False: it was already.

        Raises `StoreError`.
        """
        note = await self._merge_record(self._latest())
        if note.needed:
            return False
        note = _Record(note.number + 1, needed=True)
        self._write(note)
        await self._merge_record(note)
        return True

    async def open(self) -> None:
        """Record that no key is needed. Raises `StoreError`."""
        note = await self._merge_record(self._latest())
        await self._merge_record(_Record(note.number + 1))

    async def _merge_record(self, note: _Record) -> _Record:
        agreed = _read(
            await run_script(self._merge, self._prefix, note.number, str(note).split(":")[1])
        )
        self._write(agreed)
        return agreed

    def _latest(self) -> _Record:
        """Return the higher of the last record seen and the one in the shared file."""
        seen = self._note or _Record()
        filed = self._filed()
        return max(seen, filed, key=lambda note: (note.number, note.needed))

    def _filed(self) -> _Record:
        if self._path is None:
            return _Record()
        try:
            return _read(self._path.read_bytes())
        except FileNotFoundError:
            return _Record()
        except OSError:
            self._swallowed("access-note")
            return _Record(needed=True)

    def _write(self, note: _Record) -> None:
        self._note = note
        if self._path is None or note == _Record() or note == self._filed():
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.new")
            new.write_text(f"{note}\n")
            new.chmod(0o600)
            new.replace(self._path)
        except OSError:  # the record in Redis, and the one in memory, still apply
            self._swallowed("access-note")


def _read(text: bytes | str) -> _Record:
    """Parse a record; a malformed one needs keys."""
    found = _NOTE.fullmatch(text.decode(errors="replace") if isinstance(text, bytes) else text)
    return _Record(needed=True) if found is None else _Record(int(found[1]), found[2] == "needed")
