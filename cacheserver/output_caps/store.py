"""Store of answer lengths by tenant, task and model: histograms in Redis, shared by all servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from cacheserver.output_caps.rules import LengthHistogram, bucket
from cacheserver.storage.connection import PREFIX, Connection, command, run_script

_LIFE_S = 30 * 86_400  # a task nobody asks for a month is learned anew
_MOST = 2_000  # beyond it all counts are halved, so that recent answers weigh most

_RAISED = b"raised"

# An answer: its (tenant, task, model), its tokens, and the new cap if the old one cut it, else 0.
Length: TypeAlias = tuple[tuple[str, str, str], int, int]

# KEYS-less like our other scripts: ARGV = key, answers, raised, kept seconds, most, then bucket and
# answers of each.
_ADD = """
local total = redis.call('HINCRBY', ARGV[1], 'total', ARGV[2])
for at = 6, #ARGV, 2 do redis.call('HINCRBY', ARGV[1], ARGV[at], ARGV[at + 1]) end
local raised = tonumber(ARGV[3])
if raised > tonumber(redis.call('HGET', ARGV[1], 'raised') or '0') then
  redis.call('HSET', ARGV[1], 'raised', raised)
end
if total > tonumber(ARGV[5]) then
  local kept = 0
  local all = redis.call('HGETALL', ARGV[1])
  for i = 1, #all, 2 do
    if all[i] ~= 'total' and all[i] ~= 'raised' then
      local half = math.floor(tonumber(all[i + 1]) / 2)
      kept = kept + half
      if half == 0 then redis.call('HDEL', ARGV[1], all[i])
      else redis.call('HSET', ARGV[1], all[i], half) end
    end
  end
  redis.call('HSET', ARGV[1], 'total', kept)
end
redis.call('EXPIRE', ARGV[1], ARGV[4])
return total
"""


class LengthStore:
    """Reads and adds to histograms. Every method raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._add = redis.register_script(_ADD)

    async def seen(self, tenant: str, task: str, model: str) -> LengthHistogram:
        """Return the lengths of earlier answers."""
        stored = await command(self._redis, "HGETALL", self._key(tenant, task, model))
        counts = {int(place): int(n) for place, n in stored.items() if place.isdigit()}
        return LengthHistogram(counts, int(stored.get(_RAISED, 0)))

    async def add(self, answers: Iterable[Length]) -> None:
        """Count answers, those of one histogram in one step."""
        counts: dict[tuple[str, str, str], Counter[int]] = {}
        caps: dict[tuple[str, str, str], int] = {}
        for name, tokens, raised in answers:
            counts.setdefault(name, Counter())[bucket(tokens)] += 1
            caps[name] = max(caps.get(name, 0), raised)
        for name, buckets in counts.items():
            words = [word for pair in buckets.items() for word in pair]
            of_all = (self._key(*name), buckets.total(), caps[name], _LIFE_S, _MOST)
            await run_script(self._add, *of_all, *words)

    def _key(self, tenant: str, task: str, model: str) -> str:
        # lengths in front: no tenant can spell another one's key in a task's or a model's name
        return f"{self._prefix}len:{len(tenant)}:{tenant}:{len(task)}:{task}:{model}"
