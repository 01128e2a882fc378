"""Alert outbox in Redis, which all servers deliver from.

    P al:{id}      an alert's mark: while it exists, the alert is not raised again
    P all          list: the last alerts, the newest first
    P ald          sorted set: "id channel" -> when it is to be tried
    P alm          hash: id -> the alert;  "id channel" -> how often it was tried

An alert is raised and queued in one step, so a server that is killed loses nothing. It is delivered
at least once; a receiver recognizes repetitions by the id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import decode_object

_SHOWN = 1_000  # alerts kept for the list, about 500 kB
_SEP = " "  # no channel's name contains it

# ARGV: P, id, alert, now, TTL of the mark (s), most kept, then the channels. Returns 1 if new.
_RAISE = """
local P, id = ARGV[1], ARGV[2]
if not redis.call('SET', P .. 'al:' .. id, '1', 'NX', 'EX', ARGV[5]) then return 0 end
redis.call('LPUSH', P .. 'all', ARGV[3])
redis.call('LTRIM', P .. 'all', 0, tonumber(ARGV[6]) - 1)
for i = 7, #ARGV do
  redis.call('HSET', P .. 'alm', id, ARGV[3])
  redis.call('ZADD', P .. 'ald', ARGV[4], id .. ' ' .. ARGV[i])
end
return 1
"""

# ARGV: P, now, end of this server's lease, how many. Returns name, alert and tries of each.
_TAKE = """
local P = ARGV[1]
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'ald', '-inf', ARGV[2],
                                 'LIMIT', 0, ARGV[4])) do
  local id = name:match('^(.*) [^ ]*$')
  local alert = redis.call('HGET', P .. 'alm', id)
  if alert then
    redis.call('ZADD', P .. 'ald', ARGV[3], name)
    found[#found + 1] = name
    found[#found + 1] = alert
    found[#found + 1] = redis.call('HGET', P .. 'alm', name) or '0'
  else
    redis.call('ZREM', P .. 'ald', name)
  end
end
return found
"""

# ARGV: P, name, when to try again, or '' if done. An alert done on all channels is deleted.
_TRIED = """
local P, name = ARGV[1], ARGV[2]
if ARGV[3] ~= '' then
  redis.call('HINCRBY', P .. 'alm', name, 1)
  redis.call('ZADD', P .. 'ald', ARGV[3], name)
  return 1
end
redis.call('ZREM', P .. 'ald', name)
redis.call('HDEL', P .. 'alm', name)
local id = name:match('^(.*) [^ ]*$')
for _, channel in ipairs({'webhook', 'slack', 'email'}) do
  if redis.call('ZSCORE', P .. 'ald', id .. ' ' .. channel) then return 0 end
end
redis.call('HDEL', P .. 'alm', id)
return 0
"""


@dataclass(frozen=True, slots=True)
class Due:
    """Delivery of an alert by one channel that is due."""

    alert: dict[str, Any]
    channel: str
    tries: int  # that failed
    name: bytes


class AlertOutbox:
    """Queue of alerts. Every method raises `StoreError`. `now` is Unix seconds."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._raise = redis.register_script(_RAISE)
        self._take = redis.register_script(_TAKE)
        self._tried = redis.register_script(_TRIED)

    async def raise_once(
        self, alert: dict[str, Any], channels: Sequence[str], *, once_s: int, now: float
    ) -> bool:
        """Store an alert and queue it for `channels`. False: its id is raised in this period."""
        id, encoded = alert["id"].replace(_SEP, "_"), orjson.dumps(alert)
        words = (self._prefix, id, encoded, repr(now), once_s, _SHOWN, *channels)
        return bool(await run_script(self._raise, *words))

    async def take(self, now: float, *, lease_s: float, most: int) -> list[Due]:
        """Return due deliveries and lease them for `lease_s`; then another server may take them."""
        found = await run_script(self._take, self._prefix, repr(now), repr(now + lease_s), most)
        return [
            Due(
                decode_object("an alert", alert),
                name.decode().rpartition(_SEP)[2],
                int(tries),
                name,
            )
            for name, alert, tries in zip(found[::3], found[1::3], found[2::3], strict=True)
        ]

    async def remove(self, due: Due) -> None:
        """Remove a delivery that succeeded or was given up."""
        await run_script(self._tried, self._prefix, due.name, "")

    async def retry(self, due: Due, at: float) -> None:
        """Schedule a failed delivery for `at`."""
        await run_script(self._tried, self._prefix, due.name, repr(at))

    async def recent(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the last alerts, newest first."""
        found = await command(self._redis, "LRANGE", f"{self._prefix}all", 0, limit - 1)
        return [decode_object("an alert", one) for one in found]
