"""Lua scripts of the ledger, and its keys.

    P lp                       hash: id -> record (`storage.stored_row`) until it is folded
    P lr:{minute}              hash: id -> row
    P lr                       sorted set of the minutes that have rows
    P lrn                      how many rows there are
    P lrz                      hash: minute -> bytes of its rows, as counted here
    P lrb                      the sum of those
    P ls:{grain}:{block}:{tenant}   hash: slot, key, model -> sums    grain d, h, m
    P lt:{block}               set: tenants with sums in that block of days
    P lk|lg|lc:{day}:{tenant}  hash: task | tag | conversation -> short sums
    P lj:{day}:{tenant}        hash: hour, task -> short sums
    P lpast                    string: mark under which readers remember sums of the past

A request waits for one `HSET` of its record in `lp`, whose repetition changes nothing. A fold moves
rows to `lr:{minute}`, decisions to `d:` and adds them to the sums and statistics, a second later or
before they are read: for some 20 commands a fold, and one a decision. A row is some 150 bytes and
its id 28.

Times are whole minutes, hours and days since 1970, UTC. A block is 30 days for grain d, a day for h
and an hour for m, so that a query over a range reads few keys. Sums are 64-bit integers, packed one
after the other; Lua counts in doubles, which are exact to 9 million dollars in one cell.
"""

from __future__ import annotations

from typing import Final

from cacheserver.cache.store.decision_scripts import KEEP_DECISIONS
from cacheserver.peers.work_lease import IS_OURS
from cacheserver.storage.stored_row import EARLIER_NEAR, NEAR

# Overhead of a row beside its id and value: 51 bytes measured, and spare room in a growing hash.
_ROW_BYTES = 60
# Bytes of a row written by an earlier version, which did not count them (measured).
_UNCOUNTED_BYTES = 250

# A row of an hour before the last one is late: sums that were remembered are forgotten for it
# (`past_sums`). Hardly a request takes that long.
LATE_HOURS: Final = 1

# Rows have no TTL: they are deleted once a file has them (`FORGET`).
#
# ARGV: P, n; then n of minute, id, row as read from `lp`, tenant as in keys of decisions ('' where
# the record has none), row of the index of decisions (or ''); then m, and m of tenant, name, what
# to add to the statistics; then for each cell its key, TTL (s), most fields, field, overflow field,
# and the numbers to add as (place 1 byte, amount 8). A row counts once: one that has left `lp` or
# changed there since, and one that `lr` has already, because it was sent again, is left out; what
# was sent with it is the decision from then on. If there are any of these, their positions are
# returned and nothing else is done, so that the rest can be sent again without them. Otherwise an
# empty list is returned.
FOLD = (
    """
local P, n = ARGV[1], tonumber(ARGV[2])
"""
    + KEEP_DECISIONS
    + """
local waiting = P .. 'lp'
local ids, by_minute, out, again = {}, {}, {}, {}
for i = 1, n do ids[i] = ARGV[5 * i - 1] end
local records = redis.call('HMGET', waiting, unpack(ids))

local function keep_decision(i)
  local tenant, row, record = ARGV[5 * i + 1], ARGV[5 * i], records[i]
  if tenant == '' then return end
  local mark = record:byte(#row + 2)
  local near = mark == NEAR or mark == EARLIER_MARK
  keep(P .. 'd:' .. tenant .. ':' .. ids[i], record, near and tenant)
  list(tenant, ARGV[5 * i - 2], ARGV[5 * i + 2])
end

for i = 1, n do
  local minute, row, record = ARGV[5 * i - 2], ARGV[5 * i], records[i]
  if not record or record:sub(1, #row) ~= row then
    out[#out + 1] = i
  else
    by_minute[minute] = by_minute[minute] or {}
    table.insert(by_minute[minute], i)
  end
end
for minute, places in pairs(by_minute) do
  local names = {}
  for _, i in ipairs(places) do names[#names + 1] = ids[i] end
  for at, row in ipairs(redis.call('HMGET', P .. 'lr:' .. minute, unpack(names))) do
    if row then
      out[#out + 1] = places[at]
      again[#again + 1] = names[at]
      keep_decision(places[at])
    end
  end
end
if again[1] then redis.call('HDEL', waiting, unpack(again)) end
if out[1] then
  keep_all()
  return out
end
for i = 1, n do keep_decision(i) end
keep_all()
local new, sizes, size = {}, {}, 0
local open, late = math.floor(kept[1] / 3600) - LATE_HOURS, false
for minute, places in pairs(by_minute) do
  late = late or minute / 60 < open
  local key, words = P .. 'lr:' .. minute, {}
  sizes[minute] = 0
  if redis.call('EXISTS', key) == 0 then new[#new + 1] = minute end
  for _, i in ipairs(places) do
    local id, row = ids[i], ARGV[5 * i]
    words[#words + 1] = id
    words[#words + 1] = row
    sizes[minute] = sizes[minute] + #id + #row + ROW_BYTES
  end
  redis.call('HSET', key, unpack(words))
  size = size + sizes[minute]
end
if late then redis.call('DEL', P .. 'lpast') end
redis.call('HDEL', waiting, unpack(ids))
for _, minute in ipairs(new) do redis.call('ZADD', P .. 'lr', minute, minute) end
if new[1] and redis.call('EXISTS', P .. 'lrb') == 0 then
  redis.call('SET', P .. 'lrb', (redis.call('GET', P .. 'lrn') or 0) * UNCOUNTED_BYTES)
end
redis.call('INCRBY', P .. 'lrn', n)
redis.call('INCRBY', P .. 'lrb', size)
for minute, bytes in pairs(sizes) do redis.call('HINCRBY', P .. 'lrz', minute, bytes) end
local at = 5 * n + 4
for _ = 1, tonumber(ARGV[at - 1]) do
  redis.call('HINCRBY', P .. 'stats', ARGV[at + 1], ARGV[at + 2])
  redis.call('HINCRBY', P .. 'stats:' .. ARGV[at], ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end
while at < #ARGV do
  local key, field, packed = P .. ARGV[at], ARGV[at + 3], ARGV[at + 5]
  local old = redis.call('HGET', key, field)
  if not old and redis.call('HLEN', key) >= tonumber(ARGV[at + 2]) then
    field = ARGV[at + 4]
    old = redis.call('HGET', key, field)
  end
  local value, from = old or '', 1
  while from <= #packed do
    local place, amount
    place, amount, from = struct.unpack('<I1i8', packed, from)
    place = place * 8
    if #value < place + 8 then value = value .. string.rep('\\0', place + 8 - #value) end
    amount = amount + struct.unpack('<i8', value, place + 1)
    value = value:sub(1, place) .. struct.pack('<i8', amount) .. value:sub(place + 9)
  end
  redis.call('HSET', key, field, value)
  if not old and redis.call('HLEN', key) == 1 then
    redis.call('EXPIRE', key, ARGV[at + 1])
    local block, tenant = ARGV[at]:match('^ls:d:(%d+):(.*)$')
    if block then
      redis.call('SADD', P .. 'lt:' .. block, tenant)
      redis.call('EXPIRE', P .. 'lt:' .. block, ARGV[at + 1])
    end
  end
  at = at + 6
end
return {}
"""
)
for _name, _number in {
    "UNCOUNTED_BYTES": _UNCOUNTED_BYTES,
    "ROW_BYTES": _ROW_BYTES,
    "EARLIER_MARK": EARLIER_NEAR[0],
    "NEAR": NEAR[0],
    "LATE_HOURS": LATE_HOURS,
}.items():
    FOLD = FOLD.replace(_name, str(_number))

# ARGV: P, minute, number of rows written to a file, token of the lease of this work. A minute that
# got another row meanwhile is kept for the next pass. Returns 1 if the minute was deleted, -1 if
# another server has the lease by now.
FORGET = (
    IS_OURS
    + """
local P = ARGV[1]
if not is_ours('ledger', ARGV[4]) then return -1 end
local key = P .. 'lr:' .. ARGV[2]
local held = redis.call('HLEN', key)
if held > tonumber(ARGV[3]) then return 0 end
local size = tonumber(redis.call('HGET', P .. 'lrz', ARGV[2]) or held * UNCOUNTED_BYTES)
redis.call('DEL', key)
redis.call('ZREM', P .. 'lr', ARGV[2])
redis.call('HDEL', P .. 'lrz', ARGV[2])
if held > 0 then redis.call('DECRBY', P .. 'lrn', held) end
if redis.call('EXISTS', P .. 'lr') == 0 or redis.call('DECRBY', P .. 'lrb', size) < 0 then
  redis.call('SET', P .. 'lrb', 0)
end
return 1
""".replace("UNCOUNTED_BYTES", str(_UNCOUNTED_BYTES))
)

# ARGV: P, minutes... Returns the bytes of each minute's rows.
WEIGH = """
local P, sizes = ARGV[1], {}
for i = 2, #ARGV do
  local size = redis.call('HGET', P .. 'lrz', ARGV[i])
  sizes[#sizes + 1] = tonumber(size or redis.call('HLEN', P .. 'lr:' .. ARGV[i]) * UNCOUNTED_BYTES)
end
return sizes
""".replace("UNCOUNTED_BYTES", str(_UNCOUNTED_BYTES))
