"""The Lua scripts of `jobs` and `work_queue`. Each is one atomic step: no crash leaves half.

Keys, all under one prefix P, a job's for as long as its results are kept:

    P bt:job:<id>     hash    what a job is, how far it is, how its items ended
    P bt:in:<id>      hash    item -> its custom id and request, until it is answered
    P bt:out:<id>     hash    item -> its line of the results
    P bt:asks:<id>    hash    item -> the ask it waits for
    P bt:gone:<id>    hash    item -> the line that stands for an answer that is to be erased
    P bt:mine:<owner> zset    a tenant's batches, by creation
    P bt:open         zset    jobs whose items have not all been looked up, by creation
    P bt:cancel       set     jobs that are to end early
    P bt:ask:<key>    hash    a request to Claude, to be made once; the pool or ship it is in;
                              `who`: whose budget holds something for it, as `ask:<key>`
    P bt:wait:<key>   list    who waits for it: "<job>:<item>:<kind>"
    P bt:pools        hash    pool -> what its asks have in common
    P bt:pool:<pool>  zset    asks that have not been sent, by when they are due (ms)
    P bt:late         zset    asks by when they are no longer waited for (ms)
    P bt:ship:<nonce> hash    one batch of Claude's: packed -> sending -> sent, and its id there
    P bt:load:<nonce> list    its asks, in the order of their custom ids
    P bt:ships        zset    batches by when to look after them (ms)
    P bt:hooks        zset    jobs whose webhook is to be sent, by when (ms)
    P bt:rows         hash    id -> a row of the ledger that may not be in it yet
    P bt:bytes        hash    a job's id, or ask:<key> -> the bytes it takes; total: all of them
    P bt:kept         zset    the same names by when they end by themselves (ms)
    P bt:lease        string  the token of the one server that works

Every step of the worker's names its token: a server that lost its lease while it was held up
changes nothing any more.

An item's row is kept in the step that ends it, until the ledger has it: none is lost with a server.

What an item reserved of a budget (under `<id>:<item>`) becomes its ask's, or ends with the item;
what an ask holds ends with it. In the same step: nothing is booked twice, and nothing left held.
"""

from __future__ import annotations

from cacheserver.budgets import scripts

_ASK_BYTES = 700  # beside its fields: its key in six places, and its waiters (measured)

PRELUDE = (
    """
local P, token = ARGV[1], ARGV[2]
if token ~= '' and redis.call('GET', P .. 'bt:lease') ~= token then
  return redis.error_reply('FENCED another server does the work')
end
"""
    + scripts.HOLDS
    + """
local function count(name, bytes, until_ms)
  redis.call('HSET', P .. 'bt:bytes', name, bytes)
  redis.call('HINCRBY', P .. 'bt:bytes', 'total', bytes)
  redis.call('ZADD', P .. 'bt:kept', until_ms, name)
end

local function uncount(name)
  local bytes = redis.call('HGET', P .. 'bt:bytes', name)
  if not bytes then return end
  redis.call('HDEL', P .. 'bt:bytes', name)
  redis.call('HINCRBY', P .. 'bt:bytes', 'total', -bytes)
  redis.call('ZREM', P .. 'bt:kept', name)
end

local function recount(name, more)
  if redis.call('HEXISTS', P .. 'bt:bytes', name) == 0 then return end  -- of an earlier version
  redis.call('HINCRBY', P .. 'bt:bytes', name, more)
  redis.call('HINCRBY', P .. 'bt:bytes', 'total', more)
end

local function finish(id, now)
  local job = P .. 'bt:job:' .. id
  redis.call('HSET', job, 'status', 'ended', 'ended_at', now)
  redis.call('DEL', P .. 'bt:in:' .. id, P .. 'bt:asks:' .. id)
  redis.call('ZREM', P .. 'bt:open', id)
  redis.call('SREM', P .. 'bt:cancel', id)
  if redis.call('HGET', job, 'webhook') then
    redis.call('ZADD', P .. 'bt:hooks', math.floor(tonumber(now) * 1000), id)
  end
end

-- The first answer of an item is its answer: whatever comes a second time changes nothing.
local function answer(id, item, kind, line, row_id, row, now)
  local job, out = P .. 'bt:job:' .. id, P .. 'bt:out:' .. id
  local total = redis.call('HGET', job, 'total')
  line = redis.call('HGET', P .. 'bt:gone:' .. id, item) or line  -- erased while it was asked
  if not total or redis.call('HSETNX', out, item, line) == 0 then return 0 end
  local done = redis.call('HINCRBY', job, 'done', 1)
  if done == 1 then redis.call('PEXPIRE', out, redis.call('PTTL', job)) end
  recount(id, #line - redis.call('HSTRLEN', P .. 'bt:in:' .. id, item))
  redis.call('HDEL', P .. 'bt:in:' .. id, item)
  redis.call('HDEL', P .. 'bt:asks:' .. id, item)
  local who = redis.call('HGET', job, 'who')
  if who then release(who, id .. ':' .. item) end
  redis.call('HINCRBY', job, kind, 1)
  if row_id ~= '' then redis.call('HSET', P .. 'bt:rows', row_id, row) end
  if done == tonumber(total) then finish(id, now) end
  return 1
end

local function let_go(key)
  local who = redis.call('HGET', P .. 'bt:ask:' .. key, 'who')
  if not who then return false end
  redis.call('HDEL', P .. 'bt:ask:' .. key, 'who')
  return release(who, 'ask:' .. key)
end

local function forget(key)
  let_go(key)
  local pool = redis.call('HGET', P .. 'bt:ask:' .. key, 'pool')
  if pool then redis.call('ZREM', P .. 'bt:pool:' .. pool, key) end
  redis.call('ZREM', P .. 'bt:late', key)
  redis.call('DEL', P .. 'bt:ask:' .. key, P .. 'bt:wait:' .. key)
  uncount('ask:' .. key)
end

local function delete(id, who)
  redis.call('DEL', P .. 'bt:job:' .. id, P .. 'bt:out:' .. id, P .. 'bt:gone:' .. id)
  redis.call('ZREM', P .. 'bt:mine:' .. who, id)
  redis.call('ZREM', P .. 'bt:hooks', id)
  uncount(id)
end

local function unload(key)
  local ask = P .. 'bt:ask:' .. key
  local ship = redis.call('HGET', ask, 'ship')
  if not ship then return end
  redis.call('HDEL', ask, 'ship')
  if redis.call('HINCRBY', P .. 'bt:ship:' .. ship, 'left', -1) <= 0 then
    redis.call('DEL', P .. 'bt:ship:' .. ship, P .. 'bt:load:' .. ship)
    redis.call('ZREM', P .. 'bt:ships', ship)
  end
end
"""
)

_LOOKED_AT = 1_000  # names read in one step: a millisecond or two

# ARGV: P, '', id, bytes, most bytes or 0, life ms. Counts a new job. If it does not fit, ended jobs
# are deleted, those first whose results would expire first, but none whose webhook is still to be
# sent. Returns how many were deleted, or -1: they would not be enough, and none was.
ROOM = (
    PRELUDE
    + """
local time = redis.call('TIME')
local now, most = time[1] * 1000, tonumber(ARGV[5])
for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'bt:kept', '-inf', now, 'LIMIT', 0,
                                 LOOKED_AT)) do uncount(name) end
local over = tonumber(redis.call('HGET', P .. 'bt:bytes', 'total') or '0') + ARGV[4] - most
local going = {}
if most > 0 and over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', P .. 'bt:kept', 0, LOOKED_AT - 1)) do
    if over <= 0 then break end
    local job = redis.call('HMGET', P .. 'bt:job:' .. name, 'status', 'who')
    if job[1] == 'ended' and not redis.call('ZSCORE', P .. 'bt:hooks', name) then
      going[#going + 1] = {name, job[2] or ''}
      over = over - (redis.call('HGET', P .. 'bt:bytes', name) or 0)
    end
  end
  if over > 0 then return -1 end
  for _, each in ipairs(going) do delete(each[1], each[2]) end
end
count(ARGV[3], ARGV[4], now + ARGV[6])
return #going
""".replace("LOOKED_AT", str(_LOOKED_AT))
)

# ARGV: P, '', id, owner or '', created ms, life ms, then field, value... The items are stored
# before: this step makes the job visible.
OPEN = (
    PRELUDE
    + """
local job = P .. 'bt:job:' .. ARGV[3]
for at = 7, #ARGV, 2 do redis.call('HSET', job, ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIRE', job, ARGV[6])
if ARGV[4] ~= '' then
  local mine = P .. 'bt:mine:' .. ARGV[4]
  redis.call('ZADD', mine, ARGV[5], ARGV[3])
  if redis.call('PTTL', mine) < tonumber(ARGV[6]) then redis.call('PEXPIRE', mine, ARGV[6]) end
end
redis.call('ZADD', P .. 'bt:open', ARGV[5], ARGV[3])
return 1
"""
)

# ARGV: P, '', id, now (s). Returns 1 if it was under way.
CANCEL = (
    PRELUDE
    + """
local job = P .. 'bt:job:' .. ARGV[3]
local status = redis.call('HGET', job, 'status')
if not status or status == 'ended' then return 0 end
if status == 'in_progress' then
  redis.call('HSET', job, 'status', 'canceling', 'cancel_at', ARGV[4])
end
redis.call('SADD', P .. 'bt:cancel', ARGV[3])
return 1
"""
)

# ARGV: P, '', id, owner. Returns 1 if it had ended and is gone.
DELETE = (
    PRELUDE
    + """
local id = ARGV[3]
if redis.call('HGET', P .. 'bt:job:' .. id, 'status') ~= 'ended' then return 0 end
delete(id, ARGV[4])
return 1
"""
)

# ARGV: P, '', life ms, a random token. Returns 1, or 0 where another server holds the lease.
LEASE = """
local P = ARGV[1]
return redis.call('SET', P .. 'bt:lease', ARGV[4], 'NX', 'PX', ARGV[3]) and 1 or 0
"""

# ARGV: P, token, life ms or 0 to release it.
RENEW = (
    PRELUDE
    + """
if ARGV[3] == '0' then return redis.call('DEL', P .. 'bt:lease') end
return redis.call('PEXPIRE', P .. 'bt:lease', ARGV[3])
"""
)

# ARGV: P, token, now (s), id, item, next cursor or '', kind, line, its row's id or '', the row.
ANSWER = (
    PRELUDE
    + """
if ARGV[6] ~= '' then redis.call('HSET', P .. 'bt:job:' .. ARGV[4], 'cursor', ARGV[6]) end
return answer(ARGV[4], ARGV[5], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[3])
"""
)

# ARGV: P, token, life ms, id, item, next cursor or '', key, kind, pool, due ms, late ms, what the
# pool's asks share, the item's verification or '', then field, value... of the ask. Returns 1 where
# the item waits now, 0 where it was answered, and -1 where there is no such ask and nothing to make
# it of. What the item reserved is the ask's where this made it; else it is freed.
JOIN = (
    PRELUDE
    + """
local id, item, key, kind, pool = ARGV[4], ARGV[5], ARGV[7], ARGV[8], ARGV[9]
local job, ask, wait = P .. 'bt:job:' .. id, P .. 'bt:ask:' .. key, P .. 'bt:wait:' .. key
local there = redis.call('EXISTS', ask) == 1
if not there and #ARGV < 14 then return -1 end
if ARGV[6] ~= '' then redis.call('HSET', job, 'cursor', ARGV[6]) end
local answered = redis.call('HEXISTS', P .. 'bt:out:' .. id, item) == 1
local who, reserved = redis.call('HGET', job, 'who'), id .. ':' .. item
if who and (there or answered or pool == 'direct') then release(who, reserved) end
if answered then return 0 end
local asks = P .. 'bt:asks:' .. id
if redis.call('HGET', asks, item) ~= key then
  redis.call('HSET', asks, item, key)
  redis.call('PEXPIRE', asks, ARGV[3])
  redis.call('RPUSH', wait, id .. ':' .. item .. ':' .. kind)
  redis.call('PEXPIRE', wait, ARGV[3])
end
if there then
  -- Who cannot wait takes the others along.
  local now_in = redis.call('HGET', ask, 'pool')
  if now_in and now_in ~= pool and pool == 'direct' then
    let_go(key)  -- it is let in anew, at full price
    redis.call('ZREM', P .. 'bt:pool:' .. now_in, key)
    redis.call('HSET', ask, 'pool', pool)
    redis.call('ZADD', P .. 'bt:pool:' .. pool, ARGV[10], key)
  elseif now_in then
    redis.call('ZADD', P .. 'bt:pool:' .. now_in, 'XX', 'LT', ARGV[10], key)
  end
  redis.call('ZADD', P .. 'bt:late', 'XX', 'LT', ARGV[11], key)
else
  local bytes = ASK_BYTES
  for at = 14, #ARGV, 2 do
    redis.call('HSET', ask, ARGV[at], ARGV[at + 1])
    bytes = bytes + #ARGV[at] + #ARGV[at + 1]
  end
  count('ask:' .. key, bytes, redis.call('TIME')[1] * 1000 + ARGV[3])
  if who and pass_on(who, reserved, 'ask:' .. key) then redis.call('HSET', ask, 'who', who) end
  redis.call('HSET', ask, 'pool', pool)
  redis.call('PEXPIRE', ask, ARGV[3])
  redis.call('HSET', P .. 'bt:pools', pool, ARGV[12])
  redis.call('ZADD', P .. 'bt:pool:' .. pool, ARGV[10], key)
  redis.call('ZADD', P .. 'bt:late', ARGV[11], key)
end
if ARGV[13] ~= '' then
  local name = 'verified:' .. id .. ':' .. item
  if redis.call('HSET', ask, name, ARGV[13]) == 1 then recount('ask:' .. key, #name + #ARGV[13]) end
end
return 1
""".replace("ASK_BYTES", str(_ASK_BYTES))
)

# ARGV: P, token, id. Every item has been looked up.
SORTED = (
    PRELUDE
    + """
return redis.call('ZREM', P .. 'bt:open', ARGV[3])
"""
)

# ARGV: P, token, life ms, now ms, pool, nonce, then keys... Returns how many were packed.
PACK = (
    PRELUDE
    + """
local pool, nonce = ARGV[5], ARGV[6]
local ship, load, count = P .. 'bt:ship:' .. nonce, P .. 'bt:load:' .. nonce, 0
for at = 7, #ARGV do
  local key = ARGV[at]
  if redis.call('ZREM', P .. 'bt:pool:' .. pool, key) == 1
      and redis.call('EXISTS', P .. 'bt:ask:' .. key) == 1 then
    redis.call('HDEL', P .. 'bt:ask:' .. key, 'pool')
    redis.call('HSET', P .. 'bt:ask:' .. key, 'ship', nonce)
    redis.call('RPUSH', load, key)
    count = count + 1
  end
end
if count == 0 then return 0 end
redis.call('HSET', ship, 'state', 'packed', 'size', count, 'left', count, 'polls', 0, 'tries', 0,
  'share', redis.call('HGET', P .. 'bt:pools', pool) or '{}')
redis.call('PEXPIRE', ship, ARGV[3])
redis.call('PEXPIRE', load, ARGV[3])
redis.call('ZADD', P .. 'bt:ships', ARGV[4], nonce)
return count
"""
)

# ARGV: P, token, nonce, state it is in, due ms, then field, value... Returns 0 where it is not.
MOVE = (
    PRELUDE
    + """
local ship = P .. 'bt:ship:' .. ARGV[3]
if redis.call('HGET', ship, 'state') ~= ARGV[4] then return 0 end
for at = 6, #ARGV, 2 do redis.call('HSET', ship, ARGV[at], ARGV[at + 1]) end
redis.call('ZADD', P .. 'bt:ships', ARGV[5], ARGV[3])
return 1
"""
)

# ARGV: P, token, now (s), key, number who wait, nanodollars and tokens that were spent, n, then n
# of account, life (s), then id, item, kind, line, row's id or '', row... of those answered. What
# was spent is booked where it was held; where nothing was, in the accounts given. Returns 0 where
# more items joined meanwhile, 1 if all have ended, 2 if they had before.
TELL = (
    PRELUDE
    + """
local key = ARGV[4]
if redis.call('EXISTS', P .. 'bt:ask:' .. key) == 0 then return 2 end
if redis.call('LLEN', P .. 'bt:wait:' .. key) ~= tonumber(ARGV[5]) then return 0 end
local nano, tokens, lines = ARGV[6], ARGV[7], 9 + 2 * tonumber(ARGV[8])
local held = let_go(key)
if nano ~= '0' or tokens ~= '0' then
  for at = 4, held and #held or 0 do spend(held[at], nano, tokens) end
  for at = 9, held and 0 or lines - 1, 2 do spend(ARGV[at], nano, tokens, ARGV[at + 1]) end
end
for at = lines, #ARGV, 6 do
  answer(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[3])
end
unload(key)
forget(key)
return 1
"""
)

# ARGV: P, token, key, pool, due ms, what the pool's asks share. Puts an ask back.
REQUEUE = (
    PRELUDE
    + """
local key, ask = ARGV[3], P .. 'bt:ask:' .. ARGV[3]
if redis.call('EXISTS', ask) == 0 then return 0 end
local old = redis.call('HGET', ask, 'pool')
if old then redis.call('ZREM', P .. 'bt:pool:' .. old, key) end
unload(key)
if ARGV[4] == 'direct' then let_go(key) end  -- it is let in anew, at full price
redis.call('HSET', ask, 'pool', ARGV[4])
redis.call('HSET', P .. 'bt:pools', ARGV[4], ARGV[6])
redis.call('ZADD', P .. 'bt:pool:' .. ARGV[4], ARGV[5], key)
if ARGV[4] == 'direct' then redis.call('ZREM', P .. 'bt:late', key) end
return 1
"""
)

# ARGV: P, token, now (s), key, who (as in its list), id, item, line, its row's id or '', the row.
# An item no longer waits for an ask that was not sent; the last one takes it along, else what it
# holds is held for the others. Returns 0 where it was sent.
LEAVE = (
    PRELUDE
    + """
local key, wait = ARGV[4], P .. 'bt:wait:' .. ARGV[4]
if redis.call('HEXISTS', P .. 'bt:ask:' .. key, 'ship') == 1 then return 0 end
redis.call('LREM', wait, 0, ARGV[5])
answer(ARGV[6], ARGV[7], 'canceled', ARGV[8], ARGV[9], ARGV[10], ARGV[3])
if redis.call('LLEN', wait) == 0 then forget(key) end
return 1
"""
)
