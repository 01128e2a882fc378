"""Changes of fields of hashes, made only if nobody else has changed them meanwhile.

Rule: one that a failover has lost is made again unless a newer one has been (`change_order`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio.client import Pipeline

from cacheserver.storage.change_order import FINAL, ORDER
from cacheserver.storage.connection import Connection, run_script

_NEW: Final = b""  # as a version: it is made for the first time
_UNKNOWN: Final = b"?"  # it was sent, and no reply came: it is made if the fields are as they were
_NEVER: Final = b"0"  # it was refused

# ARGV: P, hash, version, 1 if what it removes never comes back, then field, what it was ('' none),
# and what it becomes ('' nothing) of each. Returns the version; 0 if the fields were others.
_CHANGE: Final = (
    "local P = ARGV[1]\n"
    + ORDER
    + """
local hash, version = ARGV[2], ARGV[3]
local key, last = P .. hash, 0
local function name(at) return hash .. ':' .. ARGV[at] end
if version ~= '' and ARGV[4] == '1' then
  for at = 5, #ARGV, 3 do
    if ARGV[at + 2] == '' then
      redis.call('HDEL', key, ARGV[at])
      set_version(name(at), FINAL)
    end
  end
end
if version == '' or version == '?' then
  for at = 5, #ARGV, 3 do
    if (redis.call('HGET', key, ARGV[at]) or '') ~= ARGV[at + 1] then return 0 end
    last = math.max(last, version_of(name(at)))
  end
end
if version == '' then version = version_after(last) end
for at = 5, #ARGV, 3 do
  -- One of unknown outcome is older than whatever others changed it to, and gets no version.
  if version == '?' or version_of(name(at)) < tonumber(version) then
    if ARGV[at + 2] == '' then redis.call('HDEL', key, ARGV[at])
    else redis.call('HSET', key, ARGV[at], ARGV[at + 2]) end
    if version ~= '?' then set_version(name(at), version) end
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
        self._version = _UNKNOWN

    async def make(self) -> bool:
        """Make the change. False: a field is another than it was, and nothing is changed."""
        return self.made(await run_script(self._script, *self._words(_NEW)))

    async def again(self) -> None:
        """Make the change again, if it is lost and nothing newer has been made."""
        await run_script(self._script, *self._words(self._version))

    async def fits(self, pipe: Pipeline, *, again: bool) -> bool:
        """Return whether it would be made now, by a pipeline that watches the hash."""
        key = f"{self._prefix}{self._hash}"
        for field, (was, _) in self._fields.items():
            if not again or self._version == _UNKNOWN:
                if (await pipe.hget(key, field) or b"") != was:
                    return False
            elif int(await pipe.get(f"{self._prefix}changed:{self._hash}:{field}") or 0) >= int(
                self._version
            ):
                return False
        return True

    def queue(self, pipe: Pipeline, *, again: bool) -> None:
        """Make it as a part of a transaction, whose reply goes to `made`."""
        words = self._words(self._version if again else _NEW)
        pipe.execute_command("EVAL", self._script.script, 0, *words)

    def made(self, reply: Any) -> bool:
        """Take the reply to it; 0: it was not made, and never will be."""
        self._version = reply or _NEVER
        return bool(reply)

    def _words(self, version: bytes) -> list[str | bytes]:
        words: list[str | bytes] = [self._prefix, self._hash, version, "1" if self._final else "0"]
        for field, (was, becomes) in self._fields.items():
            words += (field, was, becomes)
        return words
