"""The Lua scripts of calls under way. Each is one atomic step.

Keys, all under one prefix P:

    P fl:<key>   string   the lease of a call: who makes it, and a number of that call
"""

from __future__ import annotations

from typing import Final

from cacheserver.peers import scripts

# ARGV: P, key, fence, lease (ms). Returns whether the lease was taken, and else how long another
# has it (ms).
TAKE: Final = """
local lease = ARGV[1] .. 'fl:' .. ARGV[2]
if redis.call('SET', lease, ARGV[3], 'NX', 'PX', ARGV[4]) then return {1, 0} end
return {0, redis.call('PTTL', lease)}
"""

# ARGV: P, lease (ms), then key and fence of each. Returns the places, from 1, of those that another
# holds by now, or nobody.
RENEW: Final = """
local lost = {}
for at = 3, #ARGV, 2 do
  local lease = ARGV[1] .. 'fl:' .. ARGV[at]
  if redis.call('GET', lease) == ARGV[at + 1] then
    redis.call('PEXPIRE', lease, ARGV[2])
  else
    table.insert(lost, (at - 1) / 2)
  end
end
return lost
"""

# ARGV: P, key, fence, name of the server. Tells the other servers, if it still was the holder's.
RELEASE: Final = (
    "local P = ARGV[1]\n"
    + scripts.TELL
    + """
local lease = P .. 'fl:' .. ARGV[2]
if redis.call('GET', lease) ~= ARGV[3] then return 0 end
redis.call('DEL', lease)
tell('landed', ARGV[2], ARGV[4])
return 1
"""
)
