"""Lua scripts of budgets, and their keys.

    P bg:{account}     hash: n, t  spent nanodollars and tokens;  rn, rt  reserved
    P bl:{tenant}      sorted set: reservation -> when its lease ends
    P br:{tenant}      hash: reservation -> [nanodollars, tokens, 1 or 2 (cheapest), account ...]
    P bs:{id}          mark of a settled request

Amounts are whole and below 2^53, so that Lua's doubles are exact: 9 million dollars.
"""

from __future__ import annotations

# Functions for any script with P: job scripts release a reservation in the step that ends the ask.
HOLDS = """
-- Frees a reservation and returns it, [nanodollars, tokens, kind, account ...]; or false.
local function release(who, id)
  local leases, held = P .. 'bl:' .. who, P .. 'br:' .. who
  local kept = redis.call('HGET', held, id)
  if not kept then return false end
  local parts = cjson.decode(kept)
  for i = 4, #parts do
    local key = P .. 'bg:' .. parts[i]
    if redis.call('EXISTS', key) == 1 then
      for place, field in ipairs({'rn', 'rt'}) do  -- Redis reads "-0" as no number
        if parts[place] ~= '0' then redis.call('HINCRBY', key, field, '-' .. parts[place]) end
      end
    end
  end
  redis.call('HDEL', held, id)
  redis.call('ZREM', leases, id)
  return parts
end
-- Moves a reservation to another id; false if there is none.
local function pass_on(who, id, to)
  local leases, held = P .. 'bl:' .. who, P .. 'br:' .. who
  local kept = redis.call('HGET', held, id)
  if not kept then return false end
  release(who, to)
  redis.call('HSET', held, to, kept)
  redis.call('HDEL', held, id)
  redis.call('ZADD', leases, redis.call('ZSCORE', leases, id), to)
  redis.call('ZREM', leases, id)
  return true
end
-- Without a TTL, only if the account still exists.
local function spend(account, nano, tokens, life)
  local key = P .. 'bg:' .. account
  if not life and redis.call('EXISTS', key) == 0 then return end
  local first = redis.call('HINCRBY', key, 'n', nano) == tonumber(nano)  -- else it has a TTL
  redis.call('HINCRBY', key, 't', tokens)
  if life and first and redis.call('TTL', key) < 0 then redis.call('EXPIRE', key, life) end
end
"""

# ARGV: P, tenant, now. Frees expired reservations of servers that were killed: whether their
# requests were paid for is unknown, and a budget must not stay blocked.
_FREE = (
    """
local P, who, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local leases, held = P .. 'bl:' .. who, P .. 'br:' .. who
"""
    + HOLDS
    + """
local function free()
  local gone = redis.call('ZRANGEBYSCORE', leases, '-inf', ARGV[3], 'LIMIT', 0, 100)
  for _, id in ipairs(gone) do release(who, id) end
  return #gone
end
local function numbers(key)
  local kept = redis.call('HMGET', key, 'n', 't', 'rn', 'rt')
  for i = 1, 4 do kept[i] = tonumber(kept[i] or '0') end
  return kept
end
"""
)

# ARGV: P, tenant, now, id, lease (s), nanodollars, tokens, the same for the cheapest tier, the
# fencing token of the job worker or '', then for each account: name, TTL (s), limit in
# nanodollars, limit in tokens ('' for none), action at the limit (0 nothing, 1 the cheapest tier,
# 2 no reservation).
# Returns whether it was reserved (0 no, 1 yes, 2 at the cheapest tier), how many leases it freed,
# and for each account the nanodollars and tokens spent, then reserved, before. An id that has a
# reservation keeps it and gets the same reply again.
RESERVE = (
    _FREE
    + """
if ARGV[10] ~= '' and redis.call('GET', P .. 'bt:lease') ~= ARGV[10] then
  return redis.error_reply('FENCED another server does the work')
end
local freed = free()
local reply, worst = {0, freed}, 0
-- The caller gave up and settled before this arrived: nobody would settle it again.
if redis.call('EXISTS', P .. 'bs:' .. ARGV[4]) == 1 then return {1, freed} end
local before = redis.call('HGET', held, ARGV[4])
if before then return {tonumber(cjson.decode(before)[3]), freed} end
for i = 11, #ARGV, 5 do
  local kept = numbers(P .. 'bg:' .. ARGV[i])
  local nano, tokens = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if (nano and kept[1] + kept[3] >= nano) or (tokens and kept[2] + kept[4] >= tokens) then
    worst = math.max(worst, tonumber(ARGV[i + 4]))
  end
  for place = 1, 4 do reply[#reply + 1] = kept[place] end
end
if worst == 2 then return reply end
local nano, tokens = ARGV[6], ARGV[7]
if worst == 1 then nano, tokens = ARGV[8], ARGV[9] end
reply[1] = worst + 1
local parts, longest = {nano, tokens, tostring(reply[1])}, 0
for i = 11, #ARGV, 5 do
  local key = P .. 'bg:' .. ARGV[i]
  redis.call('HINCRBY', key, 'rn', nano)
  redis.call('HINCRBY', key, 'rt', tokens)
  if redis.call('TTL', key) < 0 then redis.call('EXPIRE', key, ARGV[i + 1]) end
  parts[#parts + 1] = ARGV[i]
  longest = math.max(longest, tonumber(ARGV[i + 1]))
end
redis.call('HSET', held, ARGV[4], cjson.encode(parts))
redis.call('ZADD', leases, now + tonumber(ARGV[5]), ARGV[4])
redis.call('EXPIRE', held, longest)
redis.call('EXPIRE', leases, longest)
return reply
"""
)

# ARGV: P, tenant, now, id, nanodollars, tokens, TTL of the id's mark (s), then for each account:
# name, TTL (s). Replaces the reservation by what was spent, once for each id, so that a call whose
# reply was lost can be repeated.
SETTLE = (
    _FREE
    + """
if not redis.call('SET', P .. 'bs:' .. ARGV[4], '1', 'NX', 'EX', ARGV[7]) then return 0 end
release(who, ARGV[4])
for i = 8, #ARGV, 2 do spend(ARGV[i], ARGV[5], ARGV[6], ARGV[i + 1]) end
return 1
"""
)

# ARGV: P, tenant, now, then the accounts' names. Frees expired leases; returns four numbers each.
READ = (
    _FREE
    + """
free()
local reply = {}
for i = 4, #ARGV do
  for _, number in ipairs(numbers(P .. 'bg:' .. ARGV[i])) do reply[#reply + 1] = number end
end
return reply
"""
)
