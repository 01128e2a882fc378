"""The Lua scripts of decisions and statistics. Each is one atomic step.

    P d:<tenant>:<id>      string  a decision; dies by itself
    P near:<tenant>        list    keys of the last ones that depended on a similarity
    P dq                   list    of times, sizes and keys: every decision, the oldest first
    P db                   string  bytes of the decisions in it
    P di:<tenant>:<hour>   string  rows of the tenant's decisions of an hour (`decision_index`)
    P dis                  sorted set  tenants and hours that have such rows, by when they began
    P dp                   list    counts as they were recorded, for a second; and decisions, as
                                   earlier versions wrote them
    P b:<name>             string  counts that were added; for an hour
    P stats                hash    sums of all tenants
    P stats:<tenant>       hash    of one

Decisions come with the rows of the ledger, whose fold stores them (`KEEP_DECISIONS`).
"""

from __future__ import annotations

from typing import Final

from cacheserver.cache.store.decision_index import ROW_BYTES

DECISION_S: Final = 86_400  # a decision can be looked up for a day
LISTED: Final = 1_000  # last decisions that depended on a similarity: a what-if replays them

# What a decision takes beside its key and itself: 90 bytes measured, and its key once more in `dq`.
# And its row in the index.
_DECISION_BYTES = 100 + ROW_BYTES
_INDEX_S = DECISION_S + 7_200  # from an hour's first decision: its last begins an hour later
_MOST_DROPPED = 1_000  # in one step: a millisecond or two

# Part of a script that has `P`. `keep` stores a decision under its key, in place of an earlier one;
# `near` is the tenant as in keys if it depended on a similarity, else false. `list` adds a row to
# the index. `keep_all` follows the last of them. An entry of `dq` is the time and, for each
# decision, a line with its size and key.
KEEP_DECISIONS = (
    """
local kept, kept_bytes, lists, indexed = {redis.call('TIME')[1]}, 0, {}, {}

local function keep(key, decision, near)
  redis.call('SET', key, decision, 'EX', DECISION_S)
  local size = 2 * #key + #decision + DECISION_BYTES
  kept[#kept + 1] = size .. ' ' .. key
  kept_bytes = kept_bytes + size
  if near then
    lists[near] = lists[near] or {P .. 'near:' .. near}
    table.insert(lists[near], key)
  end
end

local function list(tenant, minute, row)
  if row == '' then return end
  local hour = tenant .. ':' .. string.format('%.0f', math.floor(minute / 60))
  indexed[hour] = indexed[hour] or {}
  table.insert(indexed[hour], row)
end

local function keep_all()
  for hour, rows in pairs(indexed) do
    local key, packed = P .. 'di:' .. hour, table.concat(rows)
    if redis.call('APPEND', key, packed) == #packed then
      redis.call('EXPIRE', key, INDEX_S)
      redis.call('ZADD', P .. 'dis', math.floor(kept[1] / 3600), hour)
    end
  end
  for _, words in pairs(lists) do
    redis.call('LPUSH', unpack(words))
    redis.call('LTRIM', words[1], 0, MOST_LISTED)
    redis.call('EXPIRE', words[1], DECISION_S)
  end
  if kept[2] then
    redis.call('RPUSH', P .. 'dq', table.concat(kept, '\\n'))
    redis.call('INCRBY', P .. 'db', kept_bytes)
  end
end
""".replace("DECISION_S", str(DECISION_S))
    .replace("INDEX_S", str(_INDEX_S))
    .replace("DECISION_BYTES", str(_DECISION_BYTES))
    .replace("MOST_LISTED", str(LISTED - 1))
)

# ARGV: P, how many records, most bytes of decisions or 0, how long the name of counts is remembered
# (s). Takes the oldest records of `dp`, which are a header, a newline and, as earlier versions
# wrote them, the decision. The header is JSON: name, tenant, the tenant as in keys if the list of
# recent ones is to have it, else false, and what it adds to the statistics. The name of a decision
# is the end of its key; counts alone have a name that begins with "+". A record whose write was
# repeated counts once. Then the oldest decisions go that are over a day old or too many, and the
# index of the hours before the oldest that is left (an hour has decisions that are recorded in the
# next). Returns whether there is more to do, and how many decisions were dropped before their time.
#
# Entries of `dq` of an earlier version have one decision, on the line of the time.
FOLD_DECISIONS = (
    (
        """
local P, most = ARGV[1], tonumber(ARGV[3])
"""
        + KEEP_DECISIONS
        + """
local records, sums = redis.call('LPOP', P .. 'dp', ARGV[2]) or {}, {}

local function add(key, name, delta)
  sums[key] = sums[key] or {}
  sums[key][name] = (sums[key][name] or 0) + delta
end

for _, record in ipairs(records) do
  local ends = record:find('\\n', 1, true)
  local readable, header = pcall(cjson.decode, record:sub(1, (ends or 1) - 1))
  if readable and type(header) == 'table' and header[4] then
    local name, tenant = header[1], header[2]
    local first
    if name:sub(1, 1) == '+' then
      first = redis.call('SET', P .. 'b:' .. name:sub(2), 1, 'NX', 'EX', ARGV[4])
    else
      first = redis.call('EXISTS', P .. 'd:' .. name) == 0
      keep(P .. 'd:' .. name, record:sub(ends + 1), header[3])
    end
    if first then
      for delta, amount in pairs(header[4]) do
        add(P .. 'stats', delta, amount)
        add(P .. 'stats:' .. tenant, delta, amount)
      end
    end
  end
end
keep_all()

for key, deltas in pairs(sums) do
  for name, delta in pairs(deltas) do
    redis.call('HINCRBY', key, name, string.format('%.0f', delta))
  end
end

local queue, total = P .. 'dq', P .. 'db'
local now, bytes = tonumber(kept[1]), tonumber(redis.call('GET', total) or '0')
local dropped, left = 0, MOST_DROPPED
while left > 0 do
  local entry = redis.call('LINDEX', queue, 0)
  if not entry then
    bytes = 0
    break
  end
  local since, rest = entry:match('^(%d+)%s(.*)$')
  local old = now - since >= DECISION_S
  if not old and not (most > 0 and bytes > most) then break end
  redis.call('LPOP', queue)
  local gone, still = {}, {since}
  for line in rest:gmatch('[^\\n]+') do
    local size, key = line:match('^(%d+) (.*)$')
    left = left - 1
    if old or bytes > most then
      bytes = bytes - size
      if not old then gone[#gone + 1] = key end
    else
      still[#still + 1] = line
    end
  end
  if gone[1] then dropped = dropped + redis.call('UNLINK', unpack(gone)) end
  if still[2] then redis.call('LPUSH', queue, table.concat(still, '\\n')) end
end
redis.call('SET', total, string.format('%.0f', math.max(0, bytes)))
local oldest = (redis.call('LINDEX', queue, 0) or kept[1]):match('^%d+')
local before = string.format('(%.0f', math.floor(oldest / 3600) - 1)
local hours = redis.call('ZRANGEBYSCORE', P .. 'dis', '-inf', before, 'LIMIT', 0, MOST_DROPPED)
if hours[1] then
  redis.call('ZREM', P .. 'dis', unpack(hours))
  for place, hour in ipairs(hours) do hours[place] = P .. 'di:' .. hour end
  redis.call('UNLINK', unpack(hours))
end
local more = left <= 0 or #records >= tonumber(ARGV[2])
return {more and 1 or 0, dropped}
"""
    )
    .replace("DECISION_S", str(DECISION_S))
    .replace("MOST_DROPPED", str(_MOST_DROPPED))
)
