"""Fields of hashes, replaced only if nobody else has changed them."""

from __future__ import annotations

from typing import Final

from cacheserver.storage.connection import Connection, run_script

# ARGV: key, field, what it was ('' none), what it becomes ('' nothing). Returns 1 if it was that.
_REPLACE: Final = """
local was = redis.call('HGET', ARGV[1], ARGV[2]) or ''
if was ~= ARGV[3] then return 0 end
if ARGV[4] == '' then redis.call('HDEL', ARGV[1], ARGV[2])
else redis.call('HSET', ARGV[1], ARGV[2], ARGV[4]) end
return 1
"""


async def replace_field(
    redis: Connection, key: str, field: str, was: bytes, becomes: bytes
) -> bool:
    """Replace a field; b"" stands for none. False: it is another than `was`.

    Raises `StoreError`.
    """
    script = redis.register_script(_REPLACE)
    return bool(await run_script(script, key, field, was, becomes))
