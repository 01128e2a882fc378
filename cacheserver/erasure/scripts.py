"""Lua scripts of erasures. Each does a bounded amount of work, so none blocks the store."""

from __future__ import annotations

from cacheserver.batches import job_scripts

# ARGV: P, id, the row of the next pass or '', passes so far, life of that (s). A replica that has
# this has all that the pass removed: it gets the changes of its primary in their order.
PASSED = """
local P, id = ARGV[1], ARGV[2]
redis.call('SET', P .. 'er:passed:' .. id, ARGV[4], 'EX', ARGV[5])
if ARGV[3] == '' then redis.call('HDEL', P .. 'er:todo', id)
else redis.call('HSET', P .. 'er:todo', id, ARGV[3]) end
return 1
"""

# ARGV: P, id, row, passes before that one or '', at (s), marker's life (s), purge groups... Records
# a pass, anew unless it was carried out; returns 0 if it was. From that moment on answers that were
# asked for before are refused: a pass that comes late takes only what was stored until then.
PUT = """
local P, id = ARGV[1], ARGV[2]
local passed = tonumber(redis.call('GET', P .. 'er:passed:' .. id) or '0')
if ARGV[4] ~= '' and passed > tonumber(ARGV[4]) then return 0 end
for each = 7, #ARGV do
  local mark = P .. 'p:' .. ARGV[each]
  local before = redis.call('GET', mark)
  if not before or tonumber(before) < tonumber(ARGV[5]) then
    redis.call('SET', mark, ARGV[5], 'EX', ARGV[6])
  end
end
redis.call('HSET', P .. 'er:todo', id, ARGV[3])
return 1
"""

# ARGV: P, T, scope, then ids of labels, or none for all of them. Returns how many there were. The
# sizes stay what the windows hold (`labelscripts`).
UNLABEL = """
local P, T, scope = ARGV[1], ARGV[2], ARGV[3]
local stream, sizes = P .. 'labels:' .. T .. ':' .. scope, P .. 'sizes:' .. T
local gone = 0
if #ARGV == 3 then
  gone = redis.call('XLEN', stream)
  redis.call('UNLINK', stream)
end
for at = 4, #ARGV do gone = gone + redis.call('XDEL', stream, ARGV[at]) end
local before, now = redis.call('HGET', sizes, 's:' .. scope), redis.call('XLEN', stream)
if before then
  redis.call('HINCRBY', sizes, 'total', now - tonumber(before))
  redis.call('HSET', sizes, 's:' .. scope, now)
end
if now == 0 then
  redis.call('DEL', stream)
  redis.call('HDEL', sizes, 's:' .. scope)
  redis.call('ZREM', P .. 'windows:' .. T, scope)
end
return gone
"""

# ARGV: hash, then field, old value, new value of each. What changed since it was read stays.
# Returns how many were replaced.
REPLACE = """
local done = 0
for at = 2, #ARGV, 3 do
  if redis.call('HGET', ARGV[1], ARGV[at]) == ARGV[at + 1] then
    redis.call('HSET', ARGV[1], ARGV[at], ARGV[at + 2])
    done = done + 1
  end
end
return done
"""

# ARGV: hash of packed sums, then field and the field for what has no name of each. The numbers stay
# in the sum of all. Returns how many names are gone.
FOLD = """
local gone = 0
for at = 2, #ARGV, 2 do
  local packed = redis.call('HGET', ARGV[1], ARGV[at])
  if packed then
    local into = redis.call('HGET', ARGV[1], ARGV[at + 1]) or ''
    local size = math.max(#packed, #into)
    packed = packed .. string.rep('\\0', size - #packed)
    into = into .. string.rep('\\0', size - #into)
    local sums = {}
    for from = 1, size, 8 do
      sums[#sums + 1] = struct.pack('<i8',
        struct.unpack('<i8', packed, from) + struct.unpack('<i8', into, from))
    end
    redis.call('HSET', ARGV[1], ARGV[at + 1], table.concat(sums))
    redis.call('HDEL', ARGV[1], ARGV[at])
    gone = gone + 1
  end
end
return gone
"""

# ARGV: P, '', now (s), job, item, what stands in its results, what stands for its request. Returns
# 1 where there was something of it, 0 where nothing was left.
#
# Others who wait for the same ask asked the same, and it stays for them. One that was sent and that
# nobody else asked stays too, without its text: its answer is still to be paid for. What comes of
# it is replaced as it comes (`answer`), and who waits for something like it is asked for anew.
ITEM = (
    job_scripts.PRELUDE
    + """
local now, id, item, line, blank = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local job, out, gone = P .. 'bt:job:' .. id, P .. 'bt:out:' .. id, P .. 'bt:gone:' .. id
local there = redis.call('HGET', out, item)
if there then
  if there == line then return 0 end
  redis.call('HSET', out, item, line)
  return 1
end
if redis.call('HEXISTS', job, 'total') == 0 or redis.call('HEXISTS', gone, item) == 1 then
  return 0
end
local key = redis.call('HGET', P .. 'bt:asks:' .. id, item)
if key then
  local ask, wait = P .. 'bt:ask:' .. key, P .. 'bt:wait:' .. key
  local others = 0
  for _, who in ipairs(redis.call('LRANGE', wait, 0, -1)) do
    if who:sub(-5) == ':same' and who ~= id .. ':' .. item .. ':same' then others = others + 1 end
  end
  if redis.call('HEXISTS', ask, 'ship') == 1 and others == 0 then
    redis.call('HSET', gone, item, line)
    redis.call('PEXPIRE', gone, math.max(1, redis.call('PTTL', job)))
    redis.call('HDEL', ask, 'body')
    redis.call('HSET', ask, 'kind', 'bypass', 'reason', 'erased')
    redis.call('HSET', P .. 'bt:in:' .. id, item, blank)
    return 1
  end
  for _, kind in ipairs({'same', 'near'}) do
    redis.call('LREM', wait, 0, id .. ':' .. item .. ':' .. kind)
  end
  if redis.call('LLEN', wait) == 0 then forget(key) end
end
return answer(id, item, 'canceled', line, '', '', now)
"""
)

# ARGV: P, id, controls, erasure. Replaces the controls of a job, removes its conversation, and
# notes by which erasure it is covered.
UNNAME = """
local job = ARGV[1] .. 'bt:job:' .. ARGV[2]
if redis.call('EXISTS', job) == 0 then return 0 end
redis.call('HSET', job, 'controls', ARGV[3], 'erased_by', ARGV[4])
redis.call('HDEL', job, 'conversation')
return 1
"""

# ARGV: P, '', id, owner. A job that has ended leaves nothing.
JOB = (
    job_scripts.PRELUDE
    + """
local id = ARGV[3]
if redis.call('HGET', P .. 'bt:job:' .. id, 'status') ~= 'ended' then return 0 end
for _, kind in ipairs({'job', 'in', 'out', 'asks', 'gone'}) do
  redis.call('DEL', P .. 'bt:' .. kind .. ':' .. id)
end
redis.call('ZREM', P .. 'bt:mine:' .. ARGV[4], id)
redis.call('ZREM', P .. 'bt:hooks', id)
redis.call('ZREM', P .. 'bt:open', id)
redis.call('SREM', P .. 'bt:cancel', id)
return 1
"""
)
