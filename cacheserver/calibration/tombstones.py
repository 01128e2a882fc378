"""Tombstones: never serve this entry for that question again; and an index of them by entry.

The index names the questions that an entry is refused to, so that nothing but the walk of `index`
ever looks through all keys. It is a set beside the tombstones, as long-lived as the longest of
them, with one member for each. A member whose tombstone has gone counts for nothing.

Every method raises `StoreError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from cacheserver.storage.connection import Connection, command, run_script
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.key_scan import scan_keys

ANYBODY: Final = "1"  # whose tombstone it is that nobody may take back

# While servers of a version without the index may still write to the store, in a rolling update.
_MIXED_S: Final = 86_400.0

# Each script: ARGV: P, T, entry id, ... A question is its length, a colon and itself.
_PRELUDE: Final = """
local P, T, id = ARGV[1], ARGV[2], ARGV[3]
local function index(id) return P .. 'tombs:' .. T .. ':' .. id end
local function tombstone(question, id) return P .. 'tomb:' .. T .. ':' .. question .. ':' .. id end
local function prolong(key, life)
  if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, life) end
end
local function note(question, id, life)
  redis.call('SADD', index(id), question)
  prolong(index(id), life)
end
"""

# ARGV: ..., question, life (ms), whose it is; `ANYBODY` takes it over from anybody. It lives as
# long as its entry, whose deadline an operator may have moved since it was read.
_ADD: Final = (
    _PRELUDE
    + """
local key, life = tombstone(ARGV[4], id), tonumber(ARGV[5])
local raw = redis.call('HGET', P .. 'ids', id)
if raw then life = math.max(life, redis.call('PTTL', P .. 'e:' .. cjson.decode(raw)[1])) end
local by = redis.call('GET', key)
if by and by ~= ARGV[6] and ARGV[6] ~= 'ANYBODY' then return 1 end
redis.call('SET', key, ARGV[6], 'PX', life)
note(ARGV[4], id, life)
return 1
""".replace("ANYBODY", ANYBODY)
)

# ARGV: ..., question, whose. Removes a tombstone that stands for nobody else.
_REMOVE: Final = (
    _PRELUDE
    + """
local key = tombstone(ARGV[4], id)
if redis.call('GET', key) ~= ARGV[5] then return 0 end
redis.call('SREM', index(id), ARGV[4])
return redis.call('DEL', key)
"""
)

# ARGV: ..., heir, life (ms).
_INHERIT: Final = (
    _PRELUDE
    + """
for _, question in ipairs(redis.call('SMEMBERS', index(id))) do
  if redis.call('EXISTS', tombstone(question, id)) == 1 then
    redis.call('SET', tombstone(question, ARGV[4]), 'ANYBODY', 'PX', ARGV[5])
    note(question, ARGV[4], tonumber(ARGV[5]))
  end
end
return 1
""".replace("ANYBODY", ANYBODY)
)

# ARGV: ..., more entry ids. Returns a list of questions for each id.
_QUESTIONS: Final = (
    _PRELUDE
    + """
local found = {}
for at = 3, #ARGV do
  local questions = {}
  for _, question in ipairs(redis.call('SMEMBERS', index(ARGV[at]))) do
    if redis.call('EXISTS', tombstone(question, ARGV[at])) == 1 then
      questions[#questions + 1] = question
    end
  end
  found[#found + 1] = questions
end
return found
"""
)

# ARGV: ..., life (ms).
_OUTLIVE: Final = (
    _PRELUDE
    + """
local life = tonumber(ARGV[4])
for _, question in ipairs(redis.call('SMEMBERS', index(id))) do
  local key = tombstone(question, id)
  if redis.call('PTTL', key) >= 0 then prolong(key, life) end
end
if redis.call('PTTL', index(id)) >= 0 then prolong(index(id), life) end
return 1
"""
)

# ARGV: ..., questions. Notes the tombstones of an earlier version that are still there.
_NOTE: Final = (
    _PRELUDE
    + """
for at = 4, #ARGV do
  local life = redis.call('PTTL', tombstone(ARGV[at], id))
  if life > 0 then note(ARGV[at], id, life) end
end
return 1
"""
)


class Tombstones:
    """The tombstones of all tenants. `now` returns Unix seconds."""

    def __init__(self, redis: Connection, *, prefix: str, now: Callable[[], float]) -> None:
        self._redis = redis
        self._prefix = prefix
        self._now = now
        self._indexed = False
        self._one_at_a_time = asyncio.Lock()
        self._add = redis.register_script(_ADD)
        self._remove = redis.register_script(_REMOVE)
        self._inherit = redis.register_script(_INHERIT)
        self._questions = redis.register_script(_QUESTIONS)
        self._outlive = redis.register_script(_OUTLIVE)
        self._note = redis.register_script(_NOTE)

    def key(self, tenant: str, question_key: str, entry_id: str) -> str:
        """Return the key that exists while the entry is refused to the question."""
        return f"{self._prefix}tomb:{tenant_key(tenant)}:{_sized(question_key)}:{entry_id}"

    async def add(
        self, tenant: str, question_key: str, entry_id: str, *, life_s: int, by: str = ANYBODY
    ) -> None:
        """Never serve the entry for that question again, for `life_s` (the entry's remaining life).

        `question_key` is a hash of the question, made by the caller. `by` names who may `remove`
        it; a tombstone that stands for others is not taken over.
        """
        if life_s > 0:
            words = (entry_id, _sized(question_key), life_s * 1000, by)
            add = partial(run_script, self._add, self._prefix, tenant_key(tenant), *words)
            self._redis.recent.note(add)
            await add()

    async def remove(self, tenant: str, question_key: str, entry_id: str, *, by: str) -> None:
        """Remove a tombstone that `by` made, unless it stands for others too."""
        words = (entry_id, _sized(question_key), by)
        await run_script(self._remove, self._prefix, tenant_key(tenant), *words)

    async def inherit(self, tenant: str, heirs: Mapping[str, str], until: float) -> None:
        """Refuse each entry's heir to all questions that the entry is refused to, until then.

        `heirs` has the new ids by the old ones.
        """
        if not heirs:
            return
        await self.index()
        life_ms = max(1, round((until - self._now()) * 1000))
        words = (self._prefix, tenant_key(tenant))
        await asyncio.gather(
            *(run_script(self._inherit, *words, *pair, life_ms) for pair in heirs.items())
        )

    async def questions(self, tenant: str, entry_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the keys of the questions that entries are refused to, by entry id."""
        if not entry_ids:
            return {}
        await self.index()
        found = await run_script(self._questions, self._prefix, tenant_key(tenant), *entry_ids)
        return {
            id: sorted(one.decode().partition(":")[2] for one in questions)
            for id, questions in zip(entry_ids, found, strict=True)
            if questions
        }

    async def outlive(self, tenant: str, entry_id: str, life_ms: int) -> None:
        """Keep an entry's tombstones for that long at least: its deadline was moved."""
        await self.index()
        words = (tenant_key(tenant), entry_id, life_ms)
        await run_script(self._outlive, self._prefix, *words)

    async def index(self) -> None:
        """Index the tombstones of versions that had no index: one walk of all keys, in steps.

        A mark says that a store is done. For a day servers that start walk again, since those of
        an earlier version may have written meanwhile.
        """
        async with self._one_at_a_time:
            if self._indexed:
                return
            mark = f"{self._prefix}tombsindexed"
            since = await command(self._redis, "GET", mark)
            if since is None or self._now() - float(since) < _MIXED_S:
                began = self._now()
                await self._walk()
                await command(self._redis, "SET", mark, repr(began), "NX")
            self._indexed = True

    async def _walk(self) -> None:
        start = f"{self._prefix}tomb:"
        async for page in scan_keys(self._redis, start):
            found: dict[tuple[str, str], list[str]] = {}
            for key in page:
                if (parts := _parts(key.decode(errors="replace")[len(start) :])) is not None:
                    tenant, question, entry_id = parts
                    found.setdefault((tenant, entry_id), []).append(question)
            for (tenant, entry_id), questions in found.items():
                await run_script(self._note, self._prefix, tenant, entry_id, *questions)


def _sized(question_key: str) -> str:
    return f"{len(question_key)}:{question_key}"


def _parts(rest: str) -> tuple[str, str, str] | None:
    """Parse a tombstone's key: its tenant and its question, both with their length, its entry.

    None: it is no tombstone's.
    """
    size, _, _ = rest.partition(":")
    if not size.isdecimal():
        return None
    end = len(size) + 1 + int(size)
    question, _, entry_id = rest[end + 1 :].rpartition(":")
    return rest[:end], question, entry_id
