"""Alerts that were raised, and their way out: an outbox in Redis that all servers empty.

    P al:{id}      an alert's mark: while it is there, the same is not raised again
    P all          list: the last alerts, the newest first
    P ald          sorted set: "id channel" -> when it is to be tried
    P alm          hash: id -> the alert;  "id channel" -> how often it was tried
    P alt:{slot}   which server looks at what happened in a minute

Raised and queued in one step: a server that dies then loses nothing. Delivered at least once: a
receiver knows by the id what it has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import decode_object

_SHOWN = 1_000  # alerts kept to be looked at, some 500 kB
_SEP = " "  # no channel has it

# ARGV: P, id, alert, now, life of the mark (s), most kept, then the channels. 1 where it is new.
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

# ARGV: P, now, until when they are this server's, how many. Returns name, alert, tries of each.
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

# ARGV: P, name, when to try again, or '' where it is over. What is over everywhere is forgotten.
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
    """An alert that is to go out by one channel."""

    alert: dict[str, Any]
    channel: str
    tries: int  # that failed
    name: bytes


class AlertOutbox:
    """Raises, queues and shows. Every method raises `StoreError`. `now` is Unix seconds."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._raise = redis.register_script(_RAISE)
        self._take = redis.register_script(_TAKE)
        self._tried = redis.register_script(_TRIED)

    async def raise_once(
        self, alert: dict[str, Any], channels: Sequence[str], *, once_s: int, now: float
    ) -> bool:
        """Keep an alert and queue it for `channels`. False: its id was raised in this period."""
        id, told = alert["id"].replace(_SEP, "_"), orjson.dumps(alert)
        words = (self._prefix, id, told, repr(now), once_s, _SHOWN, *channels)
        return bool(await run_script(self._raise, *words))

    async def take(self, now: float, *, lease_s: float, most: int) -> list[Due]:
        """What is due, this server's for `lease_s`; then another one may take it."""
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

    async def delivered(self, due: Due) -> None:
        """It went out, or was given up."""
        await run_script(self._tried, self._prefix, due.name, "")

    async def again(self, due: Due, at: float) -> None:
        """It failed, and is to be tried again at `at`."""
        await run_script(self._tried, self._prefix, due.name, repr(at))

    async def recent(self, limit: int = 100) -> list[dict[str, Any]]:
        """The last alerts, the newest first."""
        found = await command(self._redis, "LRANGE", f"{self._prefix}all", 0, limit - 1)
        return [decode_object("an alert", one) for one in found]

    async def mine(self, slot: int, *, life_s: int) -> bool:
        """Whether this server looks at what happened in `slot`: the first that asks does."""
        key = f"{self._prefix}alt:{slot}"
        return await command(self._redis, "SET", key, "1", "NX", "EX", life_s) is not None
