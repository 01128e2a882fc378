"""The Lua scripts of `labels` and `reviews`: each is one atomic step.

Keys, all under one prefix P; T is a tenant with its length, `4:acme`:

    P labels:T:<scope>    stream  the scope's rolling window of labels
    P windows:T           zset    scopes with labels, by their last label (ms)
    P sizes:T             hash    s:<scope> -> labels in its window; total
    P learned             zset    windows and states of all tenants by their last write (ms); a name
                                  is the length of T in bytes, T, `labels` or `calib`, the scope
    P learnedbytes        hash    the same names -> the bytes they take; total
    P calib:T:<scope>     string  16 digits of version, then the calibration state
    P calibs:T            zset    scopes with a state, by when it was last saved (ms)
    P evid:T:<entry>      string  "wrong right": evidence of one entry
    P gevid:T:<name>      string  the same of a group
    P tomb:T:<n>:<question>:<entry>  string  never serve this entry for that question
    P tombs:T:<entry>     set     the questions of these, each with its length (`tombstones`)
    P tombsindexed        string  when those of earlier versions were put into such sets
    P spend:T:<n>:<purpose>:<period>:<number>  string  nanodollars spent in that period
    P review:T:<id>       string  a pair for a person to look at
    P reviews:T           zset    ids of such pairs, by when they came (us)
    P once:T:<digest>     string  what a step that must happen once gave back

The keys of a script are built inside it, which a cluster would not allow.
"""

from __future__ import annotations

_LABEL_BYTES = 22  # of a label beside itself in a stream (measured)
_STATE_BYTES = 200  # of a state beside its key and itself: its places in lists

# Names the scopes in `zset` to be dropped: those idle for longer than `life`, and the idlest beyond
# `most`; never `keep`. A few per step: a step adds one, so the rest is for the next ones.
_IDLE = """
local function idle(zset, now, life, most, keep)
  local found, over = {}, redis.call('ZCARD', zset) - most
  for at, scope in ipairs(redis.call('ZRANGE', zset, 0, 20)) do
    if scope ~= keep then
      local since = tonumber(redis.call('ZSCORE', zset, scope))
      if since > now - life * 1000 and #found >= over then break end
      found[#found + 1] = scope
    end
  end
  return found
end
"""

# Bytes of all windows and states, and `drop`, the end of one. `squeeze` drops those written longest
# ago until the bytes are within the bound, and those that have died by themselves; a few per step.
# `resize` keeps `total`, the sum of a tenant's sizes, whatever has died by itself meanwhile, since
# only its two lines change either.
_LEARNED = """
local P, T, scope = ARGV[1], ARGV[2], ARGV[3]
local LEARNED, BYTES = P .. 'learned', P .. 'learnedbytes'

local function resize(T, name, size)
  local sizes = P .. 'sizes:' .. T
  local before = tonumber(redis.call('HGET', sizes, 's:' .. name) or '0')
  redis.call('HSET', sizes, 's:' .. name, size)
  return redis.call('HINCRBY', sizes, 'total', size - before)
end
local function named(T, kind, name) return #T .. ' ' .. T .. ' ' .. kind .. ' ' .. name end
local function weigh(T, kind, name, bytes, now)
  local learned = named(T, kind, name)
  local before = tonumber(redis.call('HGET', BYTES, learned) or '0')
  if bytes > 0 then
    redis.call('HSET', BYTES, learned, bytes)
    redis.call('ZADD', LEARNED, now, learned)
  else
    redis.call('HDEL', BYTES, learned)
    redis.call('ZREM', LEARNED, learned)
  end
  redis.call('HINCRBY', BYTES, 'total', bytes - before)
end
local function drop(T, kind, name)
  redis.call('DEL', P .. kind .. ':' .. T .. ':' .. name)
  redis.call('ZREM', P .. (kind == 'calib' and 'calibs:' or 'windows:') .. T, name)
  weigh(T, kind, name, 0)
  if kind == 'calib' then return 0 end
  local total = resize(T, name, 0)
  redis.call('HDEL', P .. 'sizes:' .. T, 's:' .. name)
  return total
end
local function squeeze(most, life, now, keep)
  for _, learned in ipairs(redis.call('ZRANGE', LEARNED, 0, 20)) do
    local dead = tonumber(redis.call('ZSCORE', LEARNED, learned)) < now - life * 1000
    local total = tonumber(redis.call('HGET', BYTES, 'total'))
    if not dead and (most == 0 or total <= most) then break end
    local digits, rest = learned:match('^(%d+) (.*)$')
    local kind, name = rest:sub(digits + 2):match('^(%l+) (.*)$')
    if learned ~= keep then drop(rest:sub(1, tonumber(digits)), kind, name) end
  end
  for _, key in ipairs({LEARNED, BYTES}) do redis.call('EXPIRE', key, life) end
end
"""

# ARGV: P, T, scope, label, key of `once` or '', its life (s), labels of a scope, labels of all
# scopes, scopes, life (s), now (ms), most bytes of all tenants' or 0. Returns the label's id.
ADD = (
    _IDLE
    + _LEARNED
    + """
local most, life, now = tonumber(ARGV[8]), tonumber(ARGV[10]), tonumber(ARGV[11])
if ARGV[5] ~= '' then
  local before = redis.call('GET', ARGV[5])
  if before then return before end
end

local windows, sizes = P .. 'windows:' .. T, P .. 'sizes:' .. T
local stream = P .. 'labels:' .. T .. ':' .. scope

local before = redis.call('XLEN', stream)
local id = redis.call('XADD', stream, 'MAXLEN', '=', ARGV[7], '*', 'l', ARGV[4])
local there = redis.call('XLEN', stream)
redis.call('ZADD', windows, now, scope)
local total = resize(T, scope, there)
-- Of the labels that left their mean: a window's are much alike.
local size = #ARGV[4] + LABEL_BYTES
local held = before == 0 and 0
  or tonumber(redis.call('HGET', BYTES, named(T, 'labels', scope)) or before * size)
weigh(T, 'labels', scope, math.ceil((held + size) * there / (before + 1)), now)
for _, name in ipairs(idle(windows, now, life, tonumber(ARGV[9]), scope)) do
  total = drop(T, 'labels', name)
end
for _, name in ipairs(redis.call('ZRANGE', windows, 0, 20)) do
  if total <= most then break end
  if name ~= scope then total = drop(T, 'labels', name) end
end
squeeze(tonumber(ARGV[12]), life, now, named(T, 'labels', scope))
for _, key in ipairs({stream, windows, sizes}) do redis.call('EXPIRE', key, life) end
if ARGV[5] ~= '' then redis.call('SET', ARGV[5], id, 'EX', ARGV[6]) end
return id
""".replace("LABEL_BYTES", str(_LABEL_BYTES))
)

# ARGV: P, T, ''. Drops all states of a tenant.
FORGET = (
    _LEARNED
    + """
for _, name in ipairs(redis.call('ZRANGE', P .. 'calibs:' .. T, 0, -1)) do
  drop(T, 'calib', name)
end
return 0
"""
)

# ARGV: P, T, scope, version read (16 digits), state, scopes, life (s), now (ms), most bytes of all
# tenants' or 0. Returns 1 if it was saved. Versions are of the clock, so that a state that was
# dropped and began again never has a version that an earlier one had.
SAVE = (
    _IDLE
    + _LEARNED
    + """
local key, calibs = P .. 'calib:' .. T .. ':' .. scope, P .. 'calibs:' .. T
local before = redis.call('GETRANGE', key, 0, 15)
if before == '' then before = '0000000000000000' end
if before ~= ARGV[4] then return 0 end
local time = redis.call('TIME')
local version = math.max(time[1] * 1000000 + time[2], tonumber(before) + 1)
local life, now = tonumber(ARGV[7]), tonumber(ARGV[8])
redis.call('SET', key, string.format('%016.0f', version) .. ARGV[5], 'EX', life)
redis.call('ZADD', calibs, now, scope)
redis.call('EXPIRE', calibs, life)
weigh(T, 'calib', scope, #ARGV[5] + 2 * #key + STATE_BYTES, now)
for _, name in ipairs(idle(calibs, now, life, tonumber(ARGV[6]), scope)) do
  drop(T, 'calib', name)
end
squeeze(tonumber(ARGV[9]), life, now, named(T, 'calib', scope))
return 1
""".replace("STATE_BYTES", str(_STATE_BYTES))
)

# ARGV: P, tenant, key of the evidence, entry id, or '' where the life is given, life (ms), wrong,
# right, key of `once` or '', its life (s). Returns 1, or 0 if the entry is gone or not the
# tenant's. Evidence dies with its entry, by the entry's own key: see `scripts` for `ids` and `e:`.
ADJUST = """
local P, key, life = ARGV[1], ARGV[3], tonumber(ARGV[5])
if ARGV[4] ~= '' then
  local raw = redis.call('HGET', P .. 'ids', ARGV[4])
  if not raw then return 0 end
  local meta = cjson.decode(raw)
  local entry = P .. 'e:' .. meta[1]
  if meta[4] ~= ARGV[2] or redis.call('GETRANGE', entry, 1, 32) ~= ARGV[4] then return 0 end
  life = redis.call('PTTL', entry)
end
if life <= 0 then return 0 end
if ARGV[8] ~= '' and not redis.call('SET', ARGV[8], 1, 'NX', 'EX', ARGV[9]) then return 1 end
local wrong, right = (redis.call('GET', key) or '0 0'):match('(%S+) (%S+)')
local sums = {wrong + ARGV[6], right + ARGV[7]}
redis.call('SET', key, string.format('%.17g %.17g', sums[1], sums[2]), 'PX', life)
return 1
"""

# ARGV: key, nanodollars, cap, life (s). Returns 1 if they were reserved.
SPEND = """
local spent = tonumber(redis.call('GET', ARGV[1]) or '0')
if spent + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return 0 end
redis.call('INCRBY', ARGV[1], ARGV[2])
redis.call('EXPIRE', ARGV[1], ARGV[4])
return 1
"""

# ARGV: key, nanodollars. Never below zero: a refund must not make room for more than the cap.
REFUND = """
local spent = tonumber(redis.call('GET', ARGV[1]) or '0')
local back = math.min(spent, tonumber(ARGV[2]))
if back > 0 then redis.call('DECRBY', ARGV[1], string.format('%.0f', back)) end
return 1
"""

# ARGV: P, T, item, items, life (ms), key of `once` or ''. Returns the item's id: microseconds, and
# later than the last one's.
REVIEW = """
local P, T = ARGV[1], ARGV[2]
if ARGV[6] ~= '' then
  local before = redis.call('GET', ARGV[6])
  if before then return before end
end
local zset, item = P .. 'reviews:' .. T, P .. 'review:' .. T .. ':'
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local last = redis.call('ZRANGE', zset, -1, -1)[1]
if last then us = math.max(us, tonumber(last) + 1) end
local id = string.format('%016.0f', us)
redis.call('ZADD', zset, id, id)
redis.call('SET', item .. id, ARGV[3], 'PX', ARGV[5])
redis.call('PEXPIRE', zset, ARGV[5])
for _, old in ipairs(redis.call('ZRANGE', zset, 0, -1 - ARGV[4])) do
  redis.call('DEL', item .. old)
  redis.call('ZREM', zset, old)
end
if ARGV[6] ~= '' then redis.call('SET', ARGV[6], id, 'PX', ARGV[5]) end
return id
"""

# ARGV: P, T, after or '-inf', limit. Returns id, item, id, item... of those still there; fewer than
# the limit only at the end.
REVIEWS = """
local P, T, from, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local zset, reply = P .. 'reviews:' .. T, {}
while #reply < 2 * limit do
  local ids = redis.call('ZRANGEBYSCORE', zset, from, '+inf', 'LIMIT', 0, limit - #reply / 2)
  if not ids[1] then break end
  for _, id in ipairs(ids) do
    local item = redis.call('GET', P .. 'review:' .. T .. ':' .. id)
    if item then
      reply[#reply + 1] = id
      reply[#reply + 1] = item
    else
      redis.call('ZREM', zset, id)
    end
  end
  from = '(' .. ids[#ids]
end
return reply
"""
