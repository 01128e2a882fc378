"""Whether a key is needed: from the first one on for good, until an operator says otherwise.

Rule: it is noted twice, in Redis and in the data directory, so that neither an emptied Redis nor a
revoked last key opens a server again. Each note has a number, the higher one holds, and each place
is brought up to the other whenever both are looked at. Doubt is closed: of two notes of one number
the one that needs keys holds, and so does a note that cannot be read.

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

# Bring Redis up to the note that is known here; return what holds. A key that is there without a
# note is of an earlier version.
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
class _Note:
    number: int = 0
    needed: bool = False

    def __str__(self) -> str:
        return f"{self.number}:{'needed' if self.needed else 'open'}"


class Access:
    """The note. `path` is where it is kept beside the data; None: in Redis alone."""

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
        self._note: _Note | None = None  # as last seen

    async def needed(self) -> bool:
        """Whether a key is needed. Raises `StoreError` where nobody here knows that it is."""
        known = self._known()
        try:
            return (await self._agree(known)).needed
        except StoreError:
            if known.needed:
                return True
            raise

    async def require(self) -> None:
        """Note that a key is needed, before there is one. Raises `StoreError`."""
        note = await self._agree(self._known())
        if not note.needed:
            note = _Note(note.number + 1, needed=True)
            self._write(note)
            await self._agree(note)

    async def open(self) -> None:
        """Note that none is needed. Raises `StoreError`."""
        note = await self._agree(self._known())
        await self._agree(_Note(note.number + 1))

    async def _agree(self, note: _Note) -> _Note:
        agreed = _read(
            await run_script(self._merge, self._prefix, note.number, str(note).split(":")[1])
        )
        self._write(agreed)
        return agreed

    def _known(self) -> _Note:
        """The higher of what was seen last and what stands in the file, which others write too."""
        seen = self._note or _Note()
        filed = self._filed()
        return max(seen, filed, key=lambda note: (note.number, note.needed))

    def _filed(self) -> _Note:
        if self._path is None:
            return _Note()
        try:
            return _read(self._path.read_bytes())
        except FileNotFoundError:
            return _Note()
        except OSError:
            self._swallowed("access-note")
            return _Note(needed=True)

    def _write(self, note: _Note) -> None:
        self._note = note
        if self._path is None or note == _Note() or note == self._filed():
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.new")
            new.write_text(f"{note}\n")
            new.chmod(0o600)
            new.replace(self._path)
        except OSError:  # what stands in Redis, and what this process has seen, holds all the same
            self._swallowed("access-note")


def _read(text: bytes | str) -> _Note:
    """A note; one that makes no sense needs keys."""
    found = _NOTE.fullmatch(text.decode(errors="replace") if isinstance(text, bytes) else text)
    return _Note(needed=True) if found is None else _Note(int(found[1]), found[2] == "needed")
