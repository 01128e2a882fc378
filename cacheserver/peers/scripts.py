"""The Lua scripts of the peers. Each is one atomic step.

Keys, all under one prefix P:

    P peers        zset    name of a server -> when its lease ends, Unix ms by the store's clock
    P peers:seen   hash    name of a server -> id of the last change that it has applied
    P many         string  there are several servers; for seconds
    P changes      stream  changes: kind `k`, body `b`, and `o`, the server that made it
"""

from __future__ import annotations

from typing import Final

MANY_MS: Final = 10_000  # after the second of two servers has left
MOST_CHANGES: Final = 100_000  # about 15 MB; a server that missed more restores its index anew

_NOW = """
local P = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# ARGV: P, name, lease (ms), the last change applied here. Returns whether the lease went on without
# a gap, the number of live servers, this one included, and the store's clock in Unix ms.
BEAT: Final = (
    _NOW
    + """
local name = ARGV[2]
local went_on, count, latest = false, 1, now + ARGV[3]
local found = redis.call('ZRANGE', P .. 'peers', 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  local one, ends = found[at], tonumber(found[at + 1])
  if ends <= now then
    redis.call('ZREM', P .. 'peers', one)
    redis.call('HDEL', P .. 'peers:seen', one)
  elseif one == name then
    went_on = true
  else
    count = count + 1
    if ends > latest then redis.call('ZADD', P .. 'peers', latest, one) end  -- the clock went back
  end
end
redis.call('ZADD', P .. 'peers', latest, name)
redis.call('HSET', P .. 'peers:seen', name, ARGV[4])
if count > 1 then redis.call('SET', P .. 'many', count, 'PX', MANY_MS) end
return {went_on and 1 or 0, count, now}
""".replace("MANY_MS", str(MANY_MS))
)

# ARGV: P, name.
LEAVE: Final = """
local P, name = ARGV[1], ARGV[2]
redis.call('ZREM', P .. 'peers', name)
redis.call('HDEL', P .. 'peers:seen', name)
return 1
"""

# ARGV: P, name of who makes it, kind, body. Returns its id, how many other servers live, and
# whether the one that makes it does.
ADD: Final = (
    _NOW
    + """
local others, listed = 0, 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'peers', '(' .. now, '+inf')) do
  if name == ARGV[2] then listed = 1 else others = others + 1 end
end
local id = redis.call('XADD', P .. 'changes', 'MAXLEN', '~', MOST, '*',
                      'k', ARGV[3], 'b', ARGV[4], 'o', ARGV[2])
return {id, others, listed}
""".replace("MOST", str(MOST_CHANGES))
)

# ARGV: P, name, id of a change. Notes that this server has applied it, if it still has a lease.
SEEN: Final = """
local P, name = ARGV[1], ARGV[2]
if redis.call('ZSCORE', P .. 'peers', name) then
  redis.call('HSET', P .. 'peers:seen', name, ARGV[3])
end
return 1
"""

# ARGV: P, name of who asks, id of a change. Returns how many other live servers lack it.
LAGGING: Final = (
    _NOW
    + """
local function parts(one)
  local ms, seq = string.match(one or '', '^(%d+)-(%d+)$')
  return tonumber(ms) or 0, tonumber(seq) or 0
end
local late, ms, seq = 0, parts(ARGV[3])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'peers', '(' .. now, '+inf')) do
  if name ~= ARGV[2] then
    local m, s = parts(redis.call('HGET', P .. 'peers:seen', name) or '')
    if m < ms or (m == ms and s < seq) then late = late + 1 end
  end
end
return late
"""
)

# Part of scripts that change entries: tells the other servers, if there are any. `P` is the prefix.
TELL: Final = """
local function tell(kind, body, origin)
  redis.call('XADD', P .. 'changes', 'MAXLEN', '~', MOST, '*', 'k', kind, 'b', body, 'o', origin)
end
""".replace("MOST", str(MOST_CHANGES))
