"""Store of named conversations: their turns, summaries and growth.

A question and its answer are appended together, in one script: two requests on one conversation at
once lose nothing of each other, and no question is left without its answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.conversations import trimming
from cacheserver.core import json_text
from cacheserver.storage import key_groups
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.sealer import PlainSealer, Sealer, as_object

KIND = "turns"  # as values are sealed
MAX_TURNS = 2_000  # older ones are dropped; Claude's own limit is 100,000 messages
MAX_BYTES = 4_000_000  # of a conversation: an eighth of the largest request Claude takes
_SAMPLES = 200
_BLOATED_S = 86_400

# ARGV: key, kept seconds, most turns, most bytes, time of the request, n, then the keys of n purge
# markers, n, then n marks, then the turns. A turn asked before a purge covering it is not stored.
# Marks are stored beside the size, each after `=`, and when the conversation began.
_APPEND = """
local marks = 7 + tonumber(ARGV[6])
local first = marks + 1 + tonumber(ARGV[marks])
for i = 7, marks - 1 do
  local purged = redis.call('GET', ARGV[i])
  if purged and tonumber(purged) >= tonumber(ARGV[5]) then return 0 end
end
if redis.call('EXISTS', ARGV[1]) == 0 then
  redis.call('HSET', ARGV[1] .. ':size', 'began', ARGV[5])
end
for i = marks + 1, first - 1 do redis.call('HSET', ARGV[1] .. ':size', '=' .. ARGV[i], 1) end
for i = first, #ARGV do redis.call('RPUSH', ARGV[1], ARGV[i]) end
local over = redis.call('LLEN', ARGV[1]) - tonumber(ARGV[3])
if over > 0 then redis.call('LTRIM', ARGV[1], over + over % 2, -1) end
local size = redis.call('HINCRBY', ARGV[1] .. ':size', 'bytes', 0)
for i = first, #ARGV do size = size + #ARGV[i] end
while size > tonumber(ARGV[4]) and redis.call('LLEN', ARGV[1]) > 2 do
  for i = 1, 2 do size = size - #redis.call('LPOP', ARGV[1]) end
end
redis.call('HSET', ARGV[1] .. ':size', 'bytes', size)
redis.call('EXPIRE', ARGV[1], ARGV[2])
redis.call('EXPIRE', ARGV[1] .. ':size', ARGV[2])
return redis.call('LLEN', ARGV[1])
"""

# ARGV: key, key of its growth, when the conversation that is meant began. Returns how many keys are
# gone, and when the one that is there began: another one of the same name stays.
_FORGET = """
local size = ARGV[1] .. ':size'
local began = redis.call('HGET', size, 'began') or ''
if began ~= ARGV[3] then return {0, began} end
return {redis.call('DEL', ARGV[1], size, ARGV[2]), began}
"""

# ARGV: key, kept seconds, tokens, most samples.
_SAMPLE = """
redis.call('RPUSH', ARGV[1], ARGV[3])
redis.call('LTRIM', ARGV[1], -tonumber(ARGV[4]), -1)
redis.call('EXPIRE', ARGV[1], ARGV[2])
return redis.call('LRANGE', ARGV[1], 0, -1)
"""


def sealed_name(namespace: str, name: str) -> str:
    """Return the name under which the turns of a conversation are sealed."""
    return f"{len(namespace)}:{namespace}:{name}"


def marks_of(tags: Sequence[str], actor: str | None) -> list[str]:
    """Return tags and an actor as marks of a conversation. No tag begins with `@`."""
    return [*tags, *(() if actor is None else (f"@{actor}",))]


def began_at(began: bytes | None) -> float:
    """Return when a conversation began (Unix s), by its `began`; 0 for one of earlier versions."""
    return float(began or 0)


class Turns:
    """Store of conversations. Every method raises `StoreError`."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, sealer: Sealer | None = None
    ) -> None:
        self._redis = redis
        self._sealer = sealer or PlainSealer()
        self._prefix = prefix
        self._append = redis.register_script(_APPEND)
        self._forget = redis.register_script(_FORGET)
        self._sample = redis.register_script(_SAMPLE)

    async def load(self, tenant: str, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return the turns, oldest first; none for a new or forgotten conversation.

        If a turn cannot be decrypted, only the turns after it are returned.
        """
        values = await command(
            self._redis, "LRANGE", self._key("t", tenant, namespace, name), 0, -1
        )
        await self._sealer.know(values)
        found: list[dict[str, Any]] = []
        for start in range(0, len(values), 2):
            pair = [
                self._sealer.read(KIND, tenant, sealed_name(namespace, name), turn, _turn)
                for turn in values[start : start + 2]
            ]
            if None in pair:  # a question without an answer, or the reverse
                found.clear()
                continue
            found += [turn for turn in pair if turn is not None]
        return found

    async def append(
        self,
        tenant: str,
        namespace: str,
        name: str,
        turns: Sequence[Mapping[str, Any]],
        *,
        keep_s: int,
        asked_at: float,
        tags: Sequence[str] = (),
        actor: str | None = None,
    ) -> None:
        """Add a question and its answer, both or none; none if purged since `asked_at`.

        Erasure finds a conversation by its tags and actors.
        """
        key = self._key("t", tenant, namespace, name)
        mark = conversation_mark(namespace, name)
        covering = key_groups.groups_of_marks(
            tenant, namespace, tags=tags, actor=actor, conversation=mark
        )
        purges = [f"{self._prefix}p:{group}" for group in covering]
        marks = marks_of(tags, actor)
        await self._sealer.ready(tenant)
        words = [
            self._sealer.seal(
                KIND, tenant, sealed_name(namespace, name), json_text.dumps(dict(turn))
            )
            for turn in turns
        ]
        bounds = (keep_s, MAX_TURNS, MAX_BYTES, repr(asked_at), len(purges))
        await run_script(self._append, key, *bounds, *purges, len(marks), *marks, *words)

    async def forget(self, tenant: str, namespace: str, name: str) -> bool:
        """Delete a conversation; return whether there was one."""
        key = self._key("t", tenant, namespace, name)
        grown = self._key("g", tenant, namespace, name)
        began = await command(self._redis, "HGET", f"{key}:size", "began") or b""
        while True:
            delete = partial(run_script, self._forget, key, grown, began)
            self._redis.recent.note(delete)  # spares another conversation of the same name
            gone, found = await delete()
            if found == began:
                return bool(gone)
            began = found

    async def summary(self, tenant: str, digest: str) -> str | None:
        """Return the stored summary of turns, if any."""
        sealed = await command(self._redis, "GET", f"{self._prefix}sum:{tenant}:{digest}")
        await self._sealer.know([sealed])
        return self._sealer.read("summaries", tenant, digest, sealed, bytes.decode)

    async def put_summary(self, tenant: str, digest: str, text: str, *, keep_s: int) -> None:
        """Store a summary for the next question of its conversation."""
        key = f"{self._prefix}sum:{tenant}:{digest}"
        await self._sealer.ready(tenant)
        value = self._sealer.seal("summaries", tenant, digest, text.encode())
        await command(self._redis, "SET", key, value, "EX", keep_s)

    async def grew(
        self, tenant: str, namespace: str, name: str, tokens: int, *, keep_s: int, now: float
    ) -> float:
        """Record the length of a prompt; return the tokens that each turn adds."""
        key = self._key("g", tenant, namespace, name)
        stored = await run_script(self._sample, key, keep_s, tokens, _SAMPLES)
        samples = [int(one) for one in stored]
        if trimming.bloated(samples):
            marked = f"{self._prefix}bloat:{tenant}"
            await command(
                self._redis, "ZADD", marked, now, hashlib.sha256(key.encode()).hexdigest()
            )
            await command(self._redis, "EXPIRE", marked, _BLOATED_S)
        return trimming.growth(samples)

    async def bloated(self, tenant: str, now: float) -> int:
        """Return how many conversations have become bloated within the last day."""
        marked = f"{self._prefix}bloat:{tenant}"
        await command(self._redis, "ZREMRANGEBYSCORE", marked, "-inf", now - _BLOATED_S)
        return int(await command(self._redis, "ZCARD", marked))

    def _key(self, kind: str, tenant: str, namespace: str, name: str) -> str:
        # each part with its length: no tenant can spell another one's key
        return f"{self._prefix}cv{kind}:{len(tenant)}:{tenant}:{len(namespace)}:{namespace}:{name}"


def _turn(plain: bytes) -> dict[str, Any]:
    """Decode a stored turn. Raises `ValueError` if it is invalid."""
    return as_object(plain, "role", "content")
