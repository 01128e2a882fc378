"""Rate limits in Redis, shared by all servers, by Redis's own clock.

    P lb:{bucket}   hash: l  tokens left, may be negative;  t  when, in milliseconds
    P lm:{seats}    sorted set: the id of a call in flight -> when its seat expires, in milliseconds

A call in flight renews its seat; the seat of a server that was killed is free after `LEASE_S`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cacheserver.storage.connection import PREFIX, Connection, run_script

# A server may miss two renewals; after a crash its seats stay taken this long.
LEASE_S = 30

_CLOCK = """
local P = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function level(key, cap)
  local kept = redis.call('HMGET', key, 'l', 't')
  local left, since = tonumber(kept[1]) or cap, tonumber(kept[2]) or now
  return math.min(cap, left + math.max(0, now - since) * cap / 60000)
end
local function fill(key, cap, left)
  left = math.min(cap, left)
  redis.call('HSET', key, 'l', string.format('%.6f', left), 't', now)
  redis.call('PEXPIRE', key, math.ceil((cap - left) * 60000 / cap) + 1000)  -- then it is full
end
"""

# All or nothing. ARGV: P, id, lease in ms, number of buckets, (name, per minute, cost) each, then
# (name, most) of seats. Returns the position of the first that refuses, from 1, and for how many
# ms; 0: none.
_TAKE = (
    _CLOCK
    + """
local id, lease, count = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at, taken, seats = 5, {}, {}
for i = 1, count do
  local key, cap, cost = P .. 'lb:' .. ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local left = level(key, cap)
  local lacking = math.min(cost, cap) - left
  if lacking > 0 then return {i, math.ceil(lacking * 60000 / cap)} end
  taken[i] = {key, cap, left - cost}
  at = at + 3
end
local place = count
while ARGV[at] do
  place = place + 1
  local key = P .. 'lm:' .. ARGV[at]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if redis.call('ZCARD', key) >= tonumber(ARGV[at + 1]) then return {place, 1000} end
  seats[#seats + 1] = key
  at = at + 2
end
for _, one in ipairs(taken) do fill(one[1], one[2], one[3]) end
for _, key in ipairs(seats) do
  redis.call('ZADD', key, now + lease, id)
  redis.call('PEXPIRE', key, lease + 1000)
end
return {0, 0}
"""
)

# ARGV: P, id, number of buckets, (name, per minute, amount to return) each, then names of seats.
_GIVE = (
    _CLOCK
    + """
local at = 4
for i = 1, tonumber(ARGV[3]) do
  local key, cap = P .. 'lb:' .. ARGV[at], tonumber(ARGV[at + 1])
  fill(key, cap, level(key, cap) + tonumber(ARGV[at + 2]))
  at = at + 3
end
while ARGV[at] do
  redis.call('ZREM', P .. 'lm:' .. ARGV[at], ARGV[2])
  at = at + 1
end
return 0
"""
)

# ARGV: P, lease in ms, then (seats, id) each.
_RENEW = (
    _CLOCK
    + """
local lease, at = tonumber(ARGV[2]), 3
while ARGV[at] do
  local key = P .. 'lm:' .. ARGV[at]
  redis.call('ZADD', key, 'XX', now + lease, ARGV[at + 1])
  redis.call('PEXPIRE', key, lease + 1000)
  at = at + 2
end
return 0
"""
)


@dataclass(frozen=True, slots=True)
class BucketAmount:
    """Amount to take from a bucket or to return to it."""

    name: str
    per_minute: int
    amount: int


@dataclass(frozen=True, slots=True)
class Seats:
    """Seats for concurrent calls."""

    name: str
    most: int


class RateLimitStore:
    """Store of buckets and seats. Every method raises `StoreError`."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, lease_s: float = LEASE_S
    ) -> None:
        self._prefix = prefix
        self.lease_s = lease_s
        self._take = redis.register_script(_TAKE)
        self._give = redis.register_script(_GIVE)
        self._renew = redis.register_script(_RENEW)

    async def take(
        self, id: str, buckets: Sequence[BucketAmount], seats: Sequence[Seats] = ()
    ) -> tuple[int, float] | None:
        """Take all or none. Returns None, or the position of the first refusal and its wait (s)."""
        words: list[str | int] = [self._prefix, id, round(self.lease_s * 1_000), len(buckets)]
        for bucket in buckets:
            words += [bucket.name, bucket.per_minute, bucket.amount]
        for one in seats:
            words += [one.name, one.most]
        place, wait_ms = await run_script(self._take, *words)
        return None if place == 0 else (place - 1, wait_ms / 1_000)

    async def give(
        self, id: str, buckets: Sequence[BucketAmount], seats: Sequence[Seats] = ()
    ) -> None:
        """Return unused amounts (negative ones are taken) and free the seats."""
        words: list[str | int] = [self._prefix, id, len(buckets)]
        for bucket in buckets:
            words += [bucket.name, bucket.per_minute, bucket.amount]
        await run_script(self._give, *words, *(one.name for one in seats))

    async def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Renew seats, given as (name, id)."""
        words = [word for pair in held for word in pair]
        await run_script(self._renew, self._prefix, round(self.lease_s * 1_000), *words)
