"""Order of the changes of one thing, which outlives a failover.

Rule: each change has a version, higher than that of the change before it, and the store has it from
the same step. What a failover has lost is made again only if nothing newer has been: so the newest
change wins, in whatever order the servers make theirs again.

    P changed:<name>  string  version of the last change of a thing; for two minutes
"""

from __future__ import annotations

from typing import Final

_KEPT_MS: Final = 120_000  # changes of one minute are made again (`recent_changes`)
FINAL: Final = 2**53 - 1  # higher than all others; Lua counts in floats

# In the place of a version: a change is made for the first time; it was sent, and no reply came, so
# it is made again only where nothing was changed since; it was not sent, or refused.
NEW, UNKNOWN, NEVER = b"", b"?", b"0"

# Part of scripts; `P` is the prefix. A version is the store's clock in microseconds.
ORDER: Final = """
local function version_of(name)
  return tonumber(redis.call('GET', P .. 'changed:' .. name) or '0')
end
local function version_after(last)
  local time = redis.call('TIME')
  return string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1))
end
local function set_version(name, version)
  redis.call('SET', P .. 'changed:' .. name, version, 'PX', KEPT_MS)
end
""".replace("KEPT_MS", str(_KEPT_MS))
