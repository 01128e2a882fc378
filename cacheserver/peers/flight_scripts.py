"""The Lua scripts of calls under way. Each is one atomic step.

Keys, all under one prefix P:

    P fl:<key>     string   the lease of a call: who makes it, and a number of that call
    P fq:<name>    string   the note of a call, sealed; it lives as long as the lease
"""

from __future__ import annotations

from typing import Final

from cacheserver.peers import scripts

# ARGV: P, key, fence, lease (ms), then name, value and topic of the note (a name of "": none), and
# the name of the server. Returns whether the lease was taken, and else how long another has it
# (ms).
TAKE: Final = (
    "local P = ARGV[1]\n"
    + scripts.TELL
    + """
local lease = P .. 'fl:' .. ARGV[2]
if not redis.call('SET', lease, ARGV[3], 'NX', 'PX', ARGV[4]) then
  return {0, redis.call('PTTL', lease)}
end
if ARGV[5] ~= '' then
  redis.call('SET', P .. 'fq:' .. ARGV[5], ARGV[6], 'PX', ARGV[4])
  tell('asking', ARGV[7] .. ' ' .. ARGV[5], ARGV[8])
end
return {1, 0}
"""
)

# ARGV: P, lease (ms), then key, fence and name of the note of each. Returns the places, from 1, of
# those that another holds by now, or nobody.
RENEW: Final = """
local lost = {}
for at = 3, #ARGV, 3 do
  local lease = ARGV[1] .. 'fl:' .. ARGV[at]
  if redis.call('GET', lease) == ARGV[at + 1] then
    redis.call('PEXPIRE', lease, ARGV[2])
    if ARGV[at + 2] ~= '' then redis.call('PEXPIRE', ARGV[1] .. 'fq:' .. ARGV[at + 2], ARGV[2]) end
  else
    table.insert(lost, at / 3)
  end
end
return lost
"""

# ARGV: P, key, fence, name of the server, name of the note. Tells the other servers, if the lease
# still was the holder's.
RELEASE: Final = (
    "local P = ARGV[1]\n"
    + scripts.TELL
    + """
local lease = P .. 'fl:' .. ARGV[2]
if redis.call('GET', lease) ~= ARGV[3] then return 0 end
redis.call('DEL', lease)
if ARGV[5] ~= '' then redis.call('DEL', P .. 'fq:' .. ARGV[5]) end
tell('landed', ARGV[2] .. ' ' .. ARGV[5], ARGV[4])
return 1
"""
)
