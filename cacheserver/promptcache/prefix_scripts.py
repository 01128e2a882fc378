"""The Lua scripts of `prefixes`: each is one atomic step.

Keys, all under one prefix P; T is a tenant with its length, `4:acme`:

    P pc:T:<prefix>      hash    what is known of a prefix of Claude's prompt cache
        s sightings, a b c gaps up to 5 minutes, up to an hour, longer (all decayed); l last seen;
        k its kind; u when a call that used it began, t its lifetime (s); w until when it counts as
        being written, o by which server; m its account (tokens) on day d, z its tokens; v 1: it is
        under the minimum
    P pc:T:~<kind>       hash    s prefixes of the kind ever seen, a b c how they came again first
    P pcs:T              zset    all of these by when they were last seen

The keys of a script are built inside it, which a cluster would not allow.
"""

from __future__ import annotations

from cacheserver.promptcache.planner import CARRIED

# What has not been seen for two days is new when it comes again: its gaps say nothing any more,
# and its account was opened anew since. One that was seen once is kept for two hours only, which
# is as long as its first gap can matter: most prefixes end with somebody's own words.
LIFE_S = 172_800
ONCE_S = 7_200

_PRELUDE = f"""
local P, T = ARGV[1], ARGV[2]
local LIFE, ONCE, CARRIED = {LIFE_S}, {ONCE_S}, {CARRIED}
local BASE, ALL = P .. 'pc:' .. T .. ':', P .. 'pcs:' .. T
local function exact(number) return string.format('%.17g', number) end
-- The account as it stands on `day`: a new day forgives a debt, and keeps so much of a profit.
local function account(m, d, z, day)
  m = tonumber(m or '0')
  if tonumber(d or '-1') == day then return m end
  return math.max(0, math.min(m, CARRIED * tonumber(z or '0')))
end
"""

# ARGV: P, T, now, day, server, most, decay of a prefix, decay of a kind, the edges of the two
# gaps, then name, kind and tokens of each. Counts a sighting of each and returns, for each, what is
# known of it now: s a b c, s a b of the kind it was first seen as, u, t, w, o, account, v. '' for
# one there is no room for: what owes a premium today is not forgotten for a newcomer.
SEE = (
    _PRELUDE
    + """
local now, day, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local keep, keep_kind = tonumber(ARGV[7]), tonumber(ARGV[8])
local edge_a, edge_b = tonumber(ARGV[9]), tonumber(ARGV[10])

local function zone(gap)
  if gap <= edge_a then return 1 elseif gap <= edge_b then return 2 end
  return 3
end

local function room(name)
  if redis.call('ZSCORE', ALL, name) or redis.call('ZCARD', ALL) < most then return true end
  for _, old in ipairs(redis.call('ZRANGE', ALL, 0, 9)) do
    local f = redis.call('HMGET', BASE .. old, 'm', 'd', 'z')
    if account(f[1], f[2], f[3], day) >= 0 then
      redis.call('DEL', BASE .. old)
      redis.call('ZREM', ALL, old)
      if redis.call('ZCARD', ALL) < most then return true end
    end
  end
  return false
end

local function touch(name, life)
  redis.call('EXPIRE', BASE .. name, life)
  redis.call('ZADD', ALL, now, name)
end

-- `opened`: a prefix of the kind was seen first; `came`: in which zone one came again first.
local function kind(name, opened, came)
  local f = redis.call('HMGET', BASE .. name, 's', 'a', 'b', 'c')
  local n = {}
  for i = 1, 4 do n[i] = tonumber(f[i] or '0') end
  if not (opened or came) or not room(name) then return n end
  if opened then
    for i = 1, 4 do n[i] = n[i] * keep_kind end
    n[1] = n[1] + 1
  end
  if came then n[came + 1] = n[came + 1] + 1 end
  redis.call('HSET', BASE .. name, 's', exact(n[1]), 'a', exact(n[2]), 'b', exact(n[3]),
    'c', exact(n[4]))
  touch(name, LIFE)
  return n
end

redis.call('ZREMRANGEBYSCORE', ALL, '-inf', now - LIFE)
local reply = {}
for at = 11, #ARGV, 3 do
  local name, key = ARGV[at], BASE .. ARGV[at]
  if not room(name) then
    reply[#reply + 1] = ''
  else
    local f = redis.call('HMGET', key, 's', 'a', 'b', 'c', 'l', 'k', 'u', 't', 'w', 'o', 'm',
      'd', 'v', 'z')
    local s, l = tonumber(f[1] or '0'), tonumber(f[5] or '0')
    local gaps = {tonumber(f[2] or '0'), tonumber(f[3] or '0'), tonumber(f[4] or '0')}
    local came
    if s > 0 then
      for i = 1, 3 do gaps[i] = gaps[i] * keep end
      local zone_ = zone(math.max(0, now - l))
      gaps[zone_] = gaps[zone_] + 1
      if s == 1 then came = zone_ end
    end
    local kind_ = f[6] or ARGV[at + 1]
    if came then kind(kind_, false, came) end
    local of_kind = kind(kind_, s == 0, nil)
    s = s * keep + 1
    local m = account(f[11], f[12], f[14], day)
    redis.call('HSET', key, 's', exact(s), 'a', exact(gaps[1]), 'b', exact(gaps[2]),
      'c', exact(gaps[3]), 'l', exact(math.max(now, l)), 'k', kind_, 'm', exact(m), 'd', day,
      'z', ARGV[at + 2])
    touch(name, (s > 1 or m < 0) and LIFE or ONCE)
    reply[#reply + 1] = {
      exact(s), exact(gaps[1]), exact(gaps[2]), exact(gaps[3]),
      exact(of_kind[1]), exact(of_kind[2]), exact(of_kind[3]),
      f[7] or '', f[8] or '', f[9] or '', f[10] or '', exact(m), f[13] or ''}
  end
end
return reply
"""
)

# ARGV: P, T, now, day, server, until, then name, premium, lifetime (s) of each. Sets all of them
# as being written by the server, and takes the premiums; 0 and nothing where one of them owes, or
# is being written.
CLAIM = (
    _PRELUDE
    + """
local now, day = tonumber(ARGV[3]), tonumber(ARGV[4])
for at = 7, #ARGV, 3 do
  local f = redis.call('HMGET', BASE .. ARGV[at], 'm', 'd', 'z', 'w', 's')
  if not f[5] or tonumber(f[4] or '0') > now or account(f[1], f[2], f[3], day) < 0 then return 0 end
end
for at = 7, #ARGV, 3 do
  local key = BASE .. ARGV[at]
  local f = redis.call('HMGET', key, 'm', 'd', 'z')
  local m = account(f[1], f[2], f[3], day) - tonumber(ARGV[at + 1])
  redis.call('HSET', key, 'm', exact(m), 'd', day, 'w', ARGV[6], 'o', ARGV[5], 't', ARGV[at + 2])
  redis.call('EXPIRE', key, LIFE)
end
return 1
"""
)

# ARGV: P, T, day, then name, change, used (1 or 0), lifetime (s), void (1 or 0), claimed (1 or 0),
# when the call began, of each. What is booked to an account that was closed meanwhile can only
# lower today's: the day's premium is not spent twice.
BOOK = (
    _PRELUDE
    + """
local day = tonumber(ARGV[3])
for at = 4, #ARGV, 7 do
  local key, began = BASE .. ARGV[at], tonumber(ARGV[at + 6])
  local f = redis.call('HMGET', key, 's', 'm', 'd', 'u')
  -- Pre-warming writes what nobody has asked for yet; what was forgotten meanwhile stays so.
  if f[1] or (ARGV[at + 2] == '1' and ARGV[at + 5] == '0') then
    local change, today = tonumber(ARGV[at + 1]), tonumber(f[3] or '-1')
    local m = tonumber(f[2] or '0')
    if today == day then m = m + change elseif change < 0 then m = m + change end
    redis.call('HSET', key, 'm', exact(m))
    if ARGV[at + 5] == '1' then redis.call('HDEL', key, 'w', 'o') end
    if ARGV[at + 2] == '1' and began >= tonumber(f[4] or '0') then
      redis.call('HSET', key, 'u', exact(began), 't', ARGV[at + 3])
    end
    if ARGV[at + 4] == '1' then redis.call('HSET', key, 'v', 1) end
    if m < 0 then redis.call('EXPIRE', key, LIFE)
    elseif not f[1] then redis.call('EXPIRE', key, ONCE) end
  end
end
return 1
"""
)

# ARGV: the beginning of the keys, then names. Returns the tokens of each times its sightings.
WEIGH = """
local found = {}
for at = 2, #ARGV do
  local f = redis.call('HMGET', ARGV[1] .. ARGV[at], 's', 'z')
  found[#found + 1] = math.floor(tonumber(f[1] or '0') * tonumber(f[2] or '0'))
end
return found
"""

# ARGV: lifetime (s), then key, number of sums, and name, value of each.
COUNT = """
local at = 2
while ARGV[at] do
  local key = ARGV[at]
  local words = at + 2 * ARGV[at + 1]
  for place = at + 2, words, 2 do redis.call('HINCRBY', key, ARGV[place], ARGV[place + 1]) end
  redis.call('EXPIRE', key, ARGV[1])
  at = words + 2
end
return 1
"""
