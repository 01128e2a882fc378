"""A stored entry with its later marks: its group, corroboration and pin."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cacheserver.core.types import Entry, Nanodollars

CORROBORATED, PINNED = "c", "p"  # marks, as they are stored

# ARGV: P, id, fingerprint, group or '', mark to set or '', mark to drop or ''. Returns 0 where the
# entry is gone or replaced. One script, so that a group and a mark set at once are both kept.
SAY = """
local P, id = ARGV[1], ARGV[2]
local entry, key = P .. 'e:' .. ARGV[3], P .. 's:' .. ARGV[3]
if redis.call('GETRANGE', entry, 1, 32) ~= id then return 0 end
local life = redis.call('PTTL', entry)
if life <= 0 then return 0 end
local before, marks, group = (redis.call('GET', key) or ''):match('^(%S+) (%a*) (%S*)$')
if before ~= id then marks, group = '', '' end
if ARGV[4] ~= '' then group = ARGV[4] end
for _, mark in ipairs({ARGV[5], ARGV[6]}) do
  if mark ~= '' then marks = marks:gsub(mark, '') end
end
redis.call('SET', key, id .. ' ' .. marks .. ARGV[5] .. ' ' .. group, 'PX', life)
return 1
"""


def new_id(now: float) -> str:
    """Return an entry's id: 32 hex digits, in the order of times, never used twice."""
    return f"{int(now * 1000):012x}{secrets.token_hex(10)}"


def stored_at(entry_id: str) -> float:
    """Return when an entry was stored (Unix s), by its id. What is imported is dated earlier."""
    return int(entry_id[:12], 16) / 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry, its group and its marks."""

    entry: Entry
    group: str  # entries of one group say the same
    corroborated: bool = False  # a second actor's answer agreed, or it is pinned
    pinned: bool = False  # by an operator


@dataclass(frozen=True, slots=True)
class Replaced:
    """The entry that a new one is stored in place of, and what the new one saves a hit.

    Nothing is stored once another entry is in its place.
    """

    id: str  # "": none, so nothing is stored if there is one by now
    worth: Nanodollars
    pin: bool = False  # the new one


@dataclass(frozen=True, slots=True)
class Together:
    """Values that one round trip has read."""

    grouped: list[Stored | None]
    exact: Entry | None
    beside: Mapping[str, Sequence[bytes | None]]  # by entry id


def no_keys(entry_id: str) -> Sequence[str]:
    """No keys are read beside an entry."""
    return ()


def is_pinned(entry_id: str, value: bytes | None) -> bool:
    """Return whether the marks that `SAY` wrote are of this entry, and pin it."""
    id, _, rest = (value or b"").decode().partition(" ")
    return id == entry_id and PINNED in rest.partition(" ")[0]


def read(entry: Entry, value: bytes | None) -> Stored:
    """Add the marks that `SAY` wrote to an entry; marks of another entry are ignored."""
    id, _, rest = (value or b"").decode().partition(" ")
    if id != entry.id:
        return Stored(entry, entry.id)
    marks, _, group = rest.partition(" ")
    return Stored(entry, group or entry.id, corroborated=bool(marks), pinned=PINNED in marks)
