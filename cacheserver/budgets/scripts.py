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
-- Adds to what an account has spent and reserved. Without a TTL, only if it still exists; what it
-- had reserved went with it.
local function add(account, life, nano, tokens, held_nano, held_tokens)
  local key = P .. 'bg:' .. account
  local kept = redis.call('HMGET', key, 'n', 't', 'rn', 'rt')
  local there = kept[1] or kept[2] or kept[3] or kept[4]
  if not there and not life then return end
  local function sum(kept, more) return string.format('%.0f', (tonumber(kept) or 0) + more) end
  if there then
    redis.call('HSET', key, 'n', sum(kept[1], nano), 't', sum(kept[2], tokens),
      'rn', sum(kept[3], held_nano), 'rt', sum(kept[4], held_tokens))
  else
    redis.call('HSET', key, 'n', sum(false, nano), 't', sum(false, tokens))
    redis.call('EXPIRE', key, life)
  end
end
-- Removes a reservation and returns it, [nanodollars, tokens, kind, account ...]; or false. Its
-- accounts still count it.
local function withdraw(who, id)
  local kept = redis.call('HGET', P .. 'br:' .. who, id)
  if not kept then return false end
  redis.call('HDEL', P .. 'br:' .. who, id)
  redis.call('ZREM', P .. 'bl:' .. who, id)
  return cjson.decode(kept)
end
-- Frees a reservation and returns it, or false.
local function release(who, id)
  local parts = withdraw(who, id)
  for i = 4, parts and #parts or 0 do
    add(parts[i], nil, 0, 0, -tonumber(parts[1]), -tonumber(parts[2]))
  end
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
  add(account, life, tonumber(nano), tonumber(tokens), 0, 0)
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
  local new = not (kept[1] or kept[2] or kept[3] or kept[4])
  for i = 1, 4 do kept[i] = tonumber(kept[i] or '0') end
  return kept, new
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
local reply, worst, reserved, new = {0, freed}, 0, {}, {}
-- The caller gave up and settled before this arrived: nobody would settle it again.
if redis.call('EXISTS', P .. 'bs:' .. ARGV[4]) == 1 then return {1, freed} end
local before = redis.call('HGET', held, ARGV[4])
if before then return {tonumber(cjson.decode(before)[3]), freed} end
for i = 11, #ARGV, 5 do
  local kept, is_new = numbers(P .. 'bg:' .. ARGV[i])
  reserved[i], new[i] = {kept[3], kept[4]}, is_new
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
  redis.call('HSET', key, 'rn', string.format('%.0f', reserved[i][1] + nano),
    'rt', string.format('%.0f', reserved[i][2] + tokens))
  if new[i] then redis.call('EXPIRE', key, ARGV[i + 1]) end
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
local parts = withdraw(who, ARGV[4]) or {0, 0}
local nano, tokens, holds = -tonumber(parts[1]), -tonumber(parts[2]), {}
for i = 4, #parts do holds[parts[i]] = true end
for i = 8, #ARGV, 2 do
  local held = holds[ARGV[i]]
  holds[ARGV[i]] = nil
  add(ARGV[i], ARGV[i + 1], tonumber(ARGV[5]), tonumber(ARGV[6]),
    held and nano or 0, held and tokens or 0)
end
for i = 4, #parts do
  if holds[parts[i]] then add(parts[i], nil, 0, 0, nano, tokens) end
end
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
