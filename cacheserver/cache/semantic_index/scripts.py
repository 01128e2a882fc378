"""The Lua scripts of vector sets. The keys of each are of one slot.

A name is added to the deadlines before its vector (`VectorSets.add`), and leaves them after it. So
no vector is without a deadline, and a sweep finds it. A name whose vector is still on its way is
left for the sweep.

A segment that was found empty is condemned in the register: its score is then minus the time. It is
removed if it is still empty and condemned some time later; who adds to it revokes that.
"""

from __future__ import annotations

# KEYS: vectors, deadlines. ARGV: names... Returns how many vectors there were.
REMOVE = """
local gone = 0
for _, name in ipairs(ARGV) do
  if redis.call('VREM', KEYS[1], name) == 1 then
    redis.call('ZREM', KEYS[2], name)
    gone = gone + 1
  end
end
return gone
"""

# KEYS: vectors, deadlines. ARGV: now (s), limit. Returns how many were due, and when the next is
# ('': none is left).
SWEEP = """
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, name in ipairs(due) do
  redis.call('VREM', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return {#due, next[2] or ''}
"""

# KEYS: register, counts. ARGV: segment, when its first expires, scope, its number of segments. The
# segment is listed from then on, and the number never falls: a slower server may know of fewer.
REGISTER = """
local score = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '-1')
if score < 0 or tonumber(ARGV[2]) < score then
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
end
if tonumber(ARGV[4]) > tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or '1') then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
end
return 1
"""

# KEYS: marks. ARGV: mark. Lists an embedder; also where there is no memory left.
LIST = """#!lua flags=allow-oom
return redis.call('SADD', KEYS[1], ARGV[1])
"""

# KEYS: state. Says that a server uses the sets, by another time each time; also where there is no
# memory left.
USE = """#!lua flags=allow-oom
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'used', now[1] .. '.' .. now[2])
return redis.call('PERSIST', KEYS[1])
"""

# KEYS: state. ARGV: another text. Returns the version of the sets.
VERSION = """
redis.call('HSETNX', KEYS[1], 'version', ARGV[1])
return redis.call('HGET', KEYS[1], 'version')
"""

# KEYS: state. ARGV: the version from now on, how long to know of it (s), unless the sets are used.
# The sets are being deleted. Called before and after: who compared them with the store meanwhile
# may have seen what is gone by now.
WIPE = """#!lua flags=allow-oom
redis.call('HDEL', KEYS[1], 'full')
redis.call('HSET', KEYS[1], 'version', ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

# KEYS: state. ARGV: the version before the comparison. Returns 0, for nothing, if it differs.
SET_FULL = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'full', 1)
return 1
"""

# KEYS: register. ARGV: segment, its score as read, its score from now on ('': it leaves the list).
SETTLE = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
"""
