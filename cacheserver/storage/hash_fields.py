"""Changes of fields of hashes, made only if nobody else has changed them meanwhile.

Rule: one that a failover has lost is made again unless a newer one has been (`change_order`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio.client import Pipeline

from cacheserver.storage.change_order import FINAL, NEVER, NEW, ORDER, UNKNOWN
from cacheserver.storage.connection import Connection, run_script

# ARGV: P, hash, version, 1 if what it removes never comes back, then field, what it was ('' none),
# and what it becomes ('' nothing) of each. Returns the version; 0 if it was not made.
_CHANGE: Final = (
    "local P = ARGV[1]\n"
    + ORDER
    + """
local hash, version, final = ARGV[2], ARGV[3], ARGV[4] == '1'
if version == '0' then return 0 end
local key, last, only_removes = P .. hash, 0, final
for at = 5, #ARGV, 3 do only_removes = only_removes and ARGV[at + 2] == '' end
if version == '' or (version == '?' and not only_removes) then
  for at = 5, #ARGV, 3 do
    if (redis.call('HGET', key, ARGV[at]) or '') ~= ARGV[at + 1] then return 0 end
    last = math.max(last, version_of(hash .. ':' .. ARGV[at]))
  end
  -- One of unknown outcome is older than any of which a version is known.
  if version == '?' and last > 0 then return 0 end
end
if version == '' then version = version_after(last) end
for at = 5, #ARGV, 3 do
  local field, was, becomes = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local name, number = hash .. ':' .. field, tonumber(version)
  local revoked = final and was ~= '' and redis.call('HEXISTS', key, field) == 0
  if final and becomes == '' then
    redis.call('HDEL', key, field)
    set_version(name, FINAL)
  elseif not revoked and (not number or version_of(name) < number) then
    if becomes == '' then redis.call('HDEL', key, field)
    else redis.call('HSET', key, field, becomes) end
    if number then set_version(name, version) end
  end
end
return version
""".replace("FINAL", f"'{FINAL}'")
)


class FieldChange:
    """A change of fields of one hash: what each was, and what it becomes; b"" stands for none.

    `final`: what it removes never comes back. Its methods raise `StoreError`.
    """

    def __init__(
        self,
        redis: Connection,
        fields: Mapping[str, tuple[bytes, bytes]],
        *,
        hash: str,
        prefix: str,
        final: bool = False,
    ) -> None:
        self._prefix = prefix
        self._hash = hash
        self._fields = fields
        self._final = final
        self._script = redis.register_script(_CHANGE)
        self._version = NEVER  # until it is sent

    async def make(self) -> bool:
        """Make the change. False: a field is another than it was, and nothing is changed."""
        self._version = UNKNOWN
        return self.made(await run_script(self._script, *self._words(NEW)))

    async def again(self) -> None:
        """Make the change again, if it is lost and nothing newer has been made."""
        await run_script(self._script, *self._words(self._version))

    async def fits(self, pipe: Pipeline, *, again: bool) -> bool:
        """Return whether it would be made now, by a pipeline that watches the hash."""
        if again and self._version == NEVER:
            return False
        key = f"{self._prefix}{self._hash}"
        version = int(self._version) if again and self._version != UNKNOWN else None
        for field, (was, _) in self._fields.items():
            newest = int(await pipe.get(f"{self._prefix}changed:{self._hash}:{field}") or 0)
            if version is None and (await pipe.hget(key, field) or b"") != was:
                return False
            if again and newest >= (version or 1):
                return False
        return True

    def queue(self, pipe: Pipeline, *, again: bool) -> None:
        """Make it as a part of a transaction, whose reply goes to `made`."""
        if not again:
            self._version = UNKNOWN
        words = self._words(self._version if again else NEW)
        pipe.execute_command("EVAL", self._script.script, 0, *words)

    def made(self, reply: Any) -> bool:
        """Take the reply to it; 0: it was not made, and never will be."""
        self._version = reply or NEVER
        return bool(reply)

    def _words(self, version: bytes) -> list[str | bytes]:
        words: list[str | bytes] = [self._prefix, self._hash, version, "1" if self._final else "0"]
        for field, (was, becomes) in self._fields.items():
            words += (field, was, becomes)
        return words
