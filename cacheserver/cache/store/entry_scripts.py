"""The Lua scripts of `entries`. Each is one atomic step: no crash leaves half.

Keys, all under one prefix P:

    P e:<fingerprint>      string  the entry; dies by itself
    P v:<fingerprint>      string  its vectors, by embedder; the same life
    P a:<fingerprint>      string  its answer's vectors, once it was compared; the same life
    P s:<fingerprint>      string  its group and marks (`stored`); the same life
    P ids                  hash    entry id -> [fingerprint, bytes, cost, tenant, groups]
    P deadlines            zset    entry id by when Redis drops it (ms)
    P worth                zset    entry id by GDSF's H: what it saves per byte
    P hits                 hash    entry id -> "decayed time hits saved", of entries hit since: the
                                   first two for GDSF, the others for people
    P state                hash    bytes in use; inflation, GDSF's L
    P many                 string  there are several servers (`peers`)
    P g:<group>            set     entry ids of a tenant, a namespace, a tag, an actor, a
                                   conversation
    P p:<group>            string  when the group was last purged, `*` for all, and a space once all
                                   of it is gone; for two days

`ids`, `deadlines`, `worth`, `hits`, `state` and `g:` change together, through `drop` and `PUT`, and
outlive an expired entry until a sweep, so the accounts always balance. The keys of a script are
built inside it, which a cluster would not allow.
"""

from __future__ import annotations

from typing import Final

from cacheserver.peers.scripts import TELL
from cacheserver.storage.change_order import ORDER

# Every script starts with it. A stored id is compared before a value is deleted: what an old
# id's drop finds under its fingerprint may belong to a newer entry by now. GETRANGE reads the id
# that `codec` puts after the version byte.
_PRELUDE = """
local P = ARGV[1]
local IDS, DEADLINES, WORTH = P .. 'ids', P .. 'deadlines', P .. 'worth'
local HITS, STATE = P .. 'hits', P .. 'state'

local function exact(number) return string.format('%.17g', number) end

local function drop(id)
  local raw = redis.call('HGET', IDS, id)
  if not raw then return false end
  local meta = cjson.decode(raw)
  for _, key in ipairs({P .. 'e:' .. meta[1], P .. 'v:' .. meta[1], P .. 'a:' .. meta[1]}) do
    if redis.call('GETRANGE', key, 1, 32) == id then redis.call('DEL', key) end
  end
  local said = P .. 's:' .. meta[1]
  if redis.call('GETRANGE', said, 0, 31) == id then redis.call('DEL', said) end
  redis.call('HDEL', IDS, id)
  redis.call('HDEL', HITS, id)
  redis.call('ZREM', DEADLINES, id)
  redis.call('ZREM', WORTH, id)
  for _, group in ipairs(meta[5]) do redis.call('SREM', P .. 'g:' .. group, id) end
  redis.call('HINCRBY', STATE, 'bytes', -meta[2])
  return true
end

local function sweep(now_ms, limit, dropped)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_ms, 'LIMIT', 0, limit)) do
    drop(id)
    dropped[#dropped + 1] = id
  end
end

-- Evict the least worth first until all fits under `max`; false if `limit` was too few.
local function make_room(max, limit, dropped)
  local function fits() return tonumber(redis.call('HGET', STATE, 'bytes') or '0') <= max end
  for _ = 1, limit do
    if fits() then return true end
    local worst = redis.call('ZRANGE', WORTH, 0, 0, 'WITHSCORES')
    if not worst[1] then return true end
    redis.call('HSET', STATE, 'inflation', worst[2])
    drop(worst[1])
    dropped[#dropped + 1] = worst[1]
  end
  return fits()
end
"""

NONE: Final = "-"  # as the id that an entry replaces: there must be none

# For the scripts that change entries; the last argument is the name of the server that runs it.
# Servers keep entries in memory, and index what others store: they are told, if there are any.
_TELLING = (
    TELL
    + """
local function tell_gone(ids)
  if ids[1] and redis.call('EXISTS', P .. 'many') == 1 then
    tell('gone', table.concat(ids), ARGV[#ARGV])
  end
end
"""
)

# ARGV: P, id, entry, vector or '', meta, the id's own group, now ms, life ms, asked at,
# max bytes or 0, limit, inflation or '' to look it up, the id that it replaces, '-' for none or ''
# for any, 1 to pin it, server. Returns {0 refused | 1 stored | 2 call again | 3 stored in the place
# of another, inflation, dropped ids...}. A purge at the very moment of asking covers the answer:
# doubt is a miss. Every command here is one of each miss: there are no more than it takes.
PUT = (
    _PRELUDE
    + TELL
    + """
local id, meta, now, life = ARGV[2], cjson.decode(ARGV[5]), ARGV[7], ARGV[8]
local max, limit, inflation = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local entry_key, vector_key = P .. 'e:' .. meta[1], P .. 'v:' .. meta[1]
local keys = {P .. 'many', entry_key, P .. 'p:*', P .. 'p:' .. ARGV[6]}
for _, group in ipairs(meta[5]) do keys[#keys + 1] = P .. 'p:' .. group end
local found = redis.call('MGET', unpack(keys))
for at = 3, #keys do
  if found[at] and tonumber(found[at]) >= tonumber(ARGV[9]) then return {0, ARGV[12]} end
end

local status, dropped = 1, {}
local old = (found[2] or ''):sub(2, 33)
if ARGV[13] ~= '' then
  if old ~= (ARGV[13] == 'NONE' and '' or ARGV[13]) then return {0, ARGV[12]} end
elseif old ~= '' then
  -- What people wrote stands until its deadline, whatever was asked before or instead of it; but
  -- not for another tenant, to whose digest a forged export has brought it.
  local raw = redis.call('HGET', IDS, old)
  local there = raw and cjson.decode(raw)
  if there and there[4] == meta[4] and (there[6] or 0) > tonumber(now) then
    return {0, ARGV[12]}
  end
end
local replaced = old ~= '' and drop(old) and old ~= id
if replaced then dropped[1] = old end
local bytes = redis.call('HINCRBY', STATE, 'bytes', meta[2])
if max > 0 and bytes > max then
  sweep(now, limit, dropped)  -- what has expired makes room first
  inflation = nil
  if not make_room(max, limit, dropped) then
    redis.call('HINCRBY', STATE, 'bytes', -meta[2])
    status = 2
  end
end
inflation = inflation or tonumber(redis.call('HGET', STATE, 'inflation') or '0')

if status == 1 then
  redis.call('SET', entry_key, ARGV[3], 'PX', life)
  if ARGV[4] ~= '' then
    redis.call('SET', vector_key, ARGV[4], 'PX', life)
  elseif found[2] then
    redis.call('DEL', vector_key)
  end
  if ARGV[14] == '1' then redis.call('SET', P .. 's:' .. meta[1], id .. ' p ', 'PX', life) end
  redis.call('HSET', IDS, id, ARGV[5])
  redis.call('ZADD', DEADLINES, now + life, id)
  redis.call('ZADD', WORTH, exact(inflation + meta[3] / meta[2]), id)
  for _, group in ipairs(meta[5]) do redis.call('SADD', P .. 'g:' .. group, id) end
  if replaced then status = 3 end
  if found[1] then tell('stored', id .. meta[1], ARGV[15]) end
end
if found[1] and dropped[1] then tell('gone', table.concat(dropped), ARGV[15]) end
return {status, exact(inflation), unpack(dropped)}
""".replace("NONE", NONE)
)

# ARGV: P, id, fingerprint, meta as read, meta to write, vectors as read or '', vectors to write,
# bytes that they take more. Returns 0 where the entry is gone, or anything was changed since.
VECTORS = (
    _PRELUDE
    + TELL
    + """
local id, vector_key = ARGV[2], P .. 'v:' .. ARGV[3]
local entry_key = P .. 'e:' .. ARGV[3]
if redis.call('HGET', IDS, id) ~= ARGV[4] then return 0 end
if redis.call('GETRANGE', entry_key, 1, 32) ~= id then return 0 end
if (redis.call('GET', vector_key) or '') ~= ARGV[6] then return 0 end
local life = redis.call('PTTL', entry_key)
if life <= 0 then return 0 end
redis.call('SET', vector_key, ARGV[7], 'PX', life)
redis.call('HSET', IDS, id, ARGV[5])
redis.call('HINCRBY', STATE, 'bytes', ARGV[8])
if redis.call('EXISTS', P .. 'many') == 1 then tell('stored', id .. ARGV[3], '') end
return 1
"""
)

# ARGV: P, id, fingerprint, meta as read, meta to write, entry as read, entry to write, vectors as
# read or '', vectors to write, when Redis drops it (ms), life (ms), bytes that it takes more,
# version ('' a new one, '?' none), server. Returns the version, 0 where the entry is gone or
# anything was changed since; nothing is changed where a newer version is known.
DEADLINE = (
    _PRELUDE
    + _TELLING
    + ORDER
    + """
local id, name, version = ARGV[2], ARGV[3], ARGV[13]
local again, order = tonumber(version), 'deadline:' .. id
if again and version_of(order) >= again then return version end
if version == '?' and version_of(order) > 0 then return version end
local entry_key, vector_key = P .. 'e:' .. name, P .. 'v:' .. name
if redis.call('HGET', IDS, id) ~= ARGV[4] then return 0 end
if redis.call('GET', entry_key) ~= ARGV[6] then return 0 end
if (redis.call('GET', vector_key) or '') ~= ARGV[8] then return 0 end
redis.call('SET', entry_key, ARGV[7], 'PX', ARGV[11])
if ARGV[9] ~= '' then redis.call('SET', vector_key, ARGV[9], 'PX', ARGV[11]) end
for _, key in ipairs({P .. 'a:' .. name, P .. 's:' .. name}) do
  redis.call('PEXPIRE', key, ARGV[11])
end
redis.call('HSET', IDS, id, ARGV[5])
redis.call('ZADD', DEADLINES, ARGV[10], id)
redis.call('HINCRBY', STATE, 'bytes', ARGV[12])
tell_gone({id})
if ARGV[9] ~= '' and redis.call('EXISTS', P .. 'many') == 1 then tell('stored', id .. name, '') end
if version == '' then version = version_after(version_of(order)) end
if version ~= '?' then set_version(order, version) end
return version
"""
)

# ARGV: P, id, fingerprint, the answer's vectors. Returns 0 where the entry is gone or replaced.
ANSWER = """
local P = ARGV[1]
local entry = P .. 'e:' .. ARGV[3]
if redis.call('GETRANGE', entry, 1, 32) ~= ARGV[2] then return 0 end
local life = redis.call('PTTL', entry)
if life <= 0 then return 0 end
redis.call('SET', P .. 'a:' .. ARGV[3], ARGV[4], 'PX', life)
return 1
"""

# ARGV: P, now (s), half life (s), then id, hits, saved, id, hits, saved... An entry that was never
# hit counts as one for GDSF: the question that made it.
TOUCH = (
    _PRELUDE
    + """
local now, half_life = tonumber(ARGV[2]), tonumber(ARGV[3])
local inflation = tonumber(redis.call('HGET', STATE, 'inflation') or '0')
local ids, counts, ranks = {}, {}, {}
for at = 4, #ARGV, 3 do ids[#ids + 1] = ARGV[at] end
local metas = redis.call('HMGET', IDS, unpack(ids))
local befores = redis.call('HMGET', HITS, unpack(ids))
for place, id in ipairs(ids) do
  if metas[place] then
    local at, before = 3 * place + 1, befores[place]
    local meta, hits, total, saved = cjson.decode(metas[place]), 1, 0, 0
    if before then
      local count, when, all, worth = before:match('^(%S+) (%S+) ?(%S*) ?(%S*)$')
      hits = tonumber(count) * 0.5 ^ (math.max(0, now - tonumber(when)) / half_life)
      total, saved = tonumber(all) or 0, tonumber(worth) or 0
    end
    hits = hits + tonumber(ARGV[at + 1])
    local sums = string.format('%.0f %.0f', total + ARGV[at + 1], saved + ARGV[at + 2])
    counts[#counts + 1] = id
    counts[#counts + 1] = exact(hits) .. ' ' .. ARGV[2] .. ' ' .. sums
    ranks[#ranks + 1] = exact(inflation + hits * meta[3] / meta[2])
    ranks[#ranks + 1] = id
  end
end
if ranks[1] then
  redis.call('HSET', HITS, unpack(counts))
  redis.call('ZADD', WORTH, unpack(ranks))
end
return 1
"""
)

# ARGV: P, now ms, max bytes or 0, limit, server. Returns the dropped ids; as many as the limit:
# call again.
SWEEP = (
    _PRELUDE
    + _TELLING
    + """
local dropped, limit = {}, tonumber(ARGV[4])
sweep(ARGV[2], limit, dropped)
if tonumber(ARGV[3]) > 0 then make_room(tonumber(ARGV[3]), limit - #dropped, dropped) end
tell_gone(dropped)
return dropped
"""
)

# ARGV: P, group, when it began (s, as written by the caller or returned), marker's life (s), 1 if
# it is made again after a failover, cursor, limit, server. The marker comes with the first step, so
# no answer asked for before can slip in between two; it is higher than that of the purge before,
# though the caller's clock is behind. The last step ends it with a space, which is no part of the
# number: a replica that has the marker of this purge or of a newer one, and the space, has the
# whole purge, and what was stored after it stays. Of a newer one that was only begun, the server
# may be gone. Returns the cursor to go on from ('0': all were met), when it began, and the dropped
# ids. SSCAN meets every member there was at the start; SRANDMEMBER takes seconds in a large set
# that has become sparse. The group `*` is all that is stored.
PURGE = (
    _PRELUDE
    + _TELLING
    + """
local mark, group = P .. 'p:' .. ARGV[2], P .. 'g:' .. ARGV[2]
local before, began, again = redis.call('GET', mark), ARGV[3], ARGV[5] == '1'
local passed = before and tonumber(before) >= tonumber(began)
if again and passed and before:sub(-1) == ' ' then return {'0', began} end
if not again and ARGV[6] == '0' and passed then began = exact(tonumber(before) + 0.000001) end
if not before or tonumber(before) < tonumber(began) then
  redis.call('SET', mark, began, 'EX', ARGV[4])
  before = began
end
local all = ARGV[2] == '*'
local step = redis.call(all and 'HSCAN' or 'SSCAN', all and IDS or group, ARGV[6], 'COUNT', ARGV[7])
local reply, dropped = {step[1], began}, {}
for at = 1, #step[2], all and 2 or 1 do
  local id = step[2][at]
  if drop(id) then reply[#reply + 1], dropped[#dropped + 1] = id, id end
end
if step[1] == '0' and before == began then
  redis.call('SET', mark, began .. ' ', 'EX', ARGV[4])
end
tell_gone(dropped)
return reply
"""
)

# ARGV: P, ids..., server. Returns the dropped ids. An id that is stored was put whole, so no answer
# under way has it.
PURGE_IDS = (
    _PRELUDE
    + _TELLING
    + """
local dropped = {}
for at = 2, #ARGV - 1 do
  if drop(ARGV[at]) then dropped[#dropped + 1] = ARGV[at] end
end
tell_gone(dropped)
return dropped
"""
)

# ARGV: P, tenant, id, the id's own group, now (s), marker's life (s), server. Returns 1 if it was
# there.
PURGE_ID = (
    _PRELUDE
    + _TELLING
    + """
redis.call('SET', P .. 'p:' .. ARGV[4], ARGV[5], 'EX', ARGV[6])
local raw = redis.call('HGET', IDS, ARGV[3])
if not raw or cjson.decode(raw)[4] ~= ARGV[2] then return 0 end
drop(ARGV[3])
tell_gone({ARGV[3]})
return 1
"""
)
