"""Store of trials' results by tenant, task and two models, of alerts and of gold sets.

Keys, all under one prefix P; T is a tenant with its length, `4:acme`:

    P trial:T:<n>:<task>:<n>:<dear>:<cheap>  hash  what a pair has shown
    P trials:T        zset  the pairs, by their last change (ms)
    P trialalerts:T   list  the last roll-backs, newest first
    P gold:T          hash  task -> the set, as JSON; an operator's own data, kept till removed
    P goldrun:T:<task>:<slot>  string  a server has taken a scheduled run

No request's text is in any of them but the gold sets', which an operator wrote. Every method raises
`StoreError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import orjson

from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Nanodollars
from cacheserver.routing.trials import gold_rules
from cacheserver.routing.trials.gold_rules import Item
from cacheserver.routing.trials.rules import GoldScore, Pair, PairRecord, Standing
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.sealer import PlainSealer, Sealer

# What nobody has tried for a month is unproven again: models and questions have changed.
LIFE_S: Final = 30 * 86_400
_ALERTS: Final = 100
_MAX_SET: Final = 4_000_000  # bytes of a gold set: 500 questions of two pages
_MAX_SETS: Final = 50
_TRIES: Final = 2  # of a scheduled run: the first may have ended with its server

# ARGV: hash, list of pairs, pair, outcome, window, calls, cost, now (ms), life (s), gold or ''.
_ADD = """
if ARGV[4] == '?' then redis.call('HINCRBY', ARGV[1], 'undecided', 1)
elseif ARGV[4] ~= '' then
  local window = (redis.call('HGET', ARGV[1], 'window') or '') .. ARGV[4]
  redis.call('HSET', ARGV[1], 'window', string.sub(window, -tonumber(ARGV[5])), 'at', ARGV[8])
end
if ARGV[10] ~= '' then redis.call('HSET', ARGV[1], 'gold', ARGV[10]) end
redis.call('HINCRBY', ARGV[1], 'calls', ARGV[6])
redis.call('HINCRBY', ARGV[1], 'cost', ARGV[7])
redis.call('EXPIRE', ARGV[1], ARGV[9])
redis.call('ZADD', ARGV[2], ARGV[8], ARGV[3])
redis.call('ZREMRANGEBYSCORE', ARGV[2], '-inf', ARGV[8] - ARGV[9] * 1000)
redis.call('EXPIRE', ARGV[2], ARGV[9])
"""

# Only from the standing that was read: of two servers that saw the same drop one tells of it.
# ARGV: hash, old standing, new one, least, now (ms), list of alerts, alert or '', most, life (s).
_CHANGE = """
local held = redis.call('HGET', ARGV[1], 'standing') or 'unproven'
if held ~= ARGV[2] or redis.call('EXISTS', ARGV[1]) == 0 then return 0 end
redis.call('HSET', ARGV[1], 'standing', ARGV[3], 'least', ARGV[4], 'changed_at', ARGV[5])
if ARGV[7] ~= '' then
  redis.call('HDEL', ARGV[1], 'window', 'undecided')
  redis.call('LPUSH', ARGV[6], ARGV[7])
  redis.call('LTRIM', ARGV[6], 0, ARGV[8] - 1)
  redis.call('EXPIRE', ARGV[6], ARGV[9])
end
return 1
"""


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Gold set as stored."""

    task: str
    items: tuple[Item, ...]
    at: float  # when it was uploaded


class TrialStore:
    """Store of comparisons and their results."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, sealer: Sealer | None = None
    ) -> None:
        self._redis = redis
        self._sealer = sealer or PlainSealer()
        self._prefix = prefix
        self._add = redis.register_script(_ADD)
        self._change = redis.register_script(_CHANGE)

    async def add(
        self,
        tenant: str,
        pair: Pair,
        agreed: bool | None,
        *,
        cost: Nanodollars,
        window: int,
        now: float,
    ) -> None:
        """Count one comparison; `agreed` None: undecided."""
        outcome = "?" if agreed is None else str(int(agreed))
        await self._write(tenant, pair, outcome, window=window, calls=1, cost=cost, now=now)

    async def score(self, tenant: str, pair: Pair, score: GoldScore, *, cost: Nanodollars) -> None:
        """Store the result of a gold set's run, replacing the last one."""
        await self._write(tenant, pair, "", calls=score.count, cost=cost, now=score.at, score=score)

    async def shown(self, tenant: str, pair: Pair) -> PairRecord:
        """Return the results of a pair; empty if it was not tried for `LIFE_S`."""
        stored = await command(self._redis, "HGETALL", self._key(tenant, pair))
        return _shown({name.decode(): value.decode() for name, value in stored.items()})

    async def change(
        self,
        tenant: str,
        pair: Pair,
        held: Standing,
        now_is: Standing,
        *,
        least: float,
        now: float,
        alert: Mapping[str, Any] | None = None,
    ) -> bool:
        """Change a pair's standing, if it is still `held`. False: another server was first.

        With `alert` it is recorded as a roll-back and the results are deleted: the pair starts
        again.
        """
        words = (held, now_is, repr(least), round(now * 1000), self._of("trialalerts", tenant))
        packed = b"" if alert is None else orjson.dumps(alert)
        key = self._key(tenant, pair)
        return bool(await run_script(self._change, key, *words, packed, _ALERTS, LIFE_S))

    async def pairs(self, tenant: str) -> list[Pair]:
        """Return every pair tried in the last month, latest first."""
        found = await command(self._redis, "ZREVRANGE", self._of("trials", tenant), 0, -1)
        return [Pair(*orjson.loads(one)) for one in found]

    async def alerts(self, tenant: str) -> list[dict[str, Any]]:
        """Return the last roll-backs, newest first."""
        found = await command(self._redis, "LRANGE", self._of("trialalerts", tenant), 0, -1)
        return [orjson.loads(one) for one in found]

    async def put_gold(self, tenant: str, task: str, items: Sequence[Item], now: float) -> None:
        """Store a gold set, replacing the task's last one. Raises `BadRequest` if too large."""
        value = json_text.dumps({"at": now, "items": [gold_rules.as_json(item) for item in items]})
        if len(value) > _MAX_SET:
            raise BadRequest("body", f"is larger than {_MAX_SET} bytes; that much is kept")
        key = self._of("gold", tenant)
        held = await command(self._redis, "HKEYS", key)
        if task.encode() not in held and len(held) >= _MAX_SETS:
            raise BadRequest("task", f"there are {_MAX_SETS} gold sets already; remove one")
        await self._sealer.ready(tenant)
        sealed = self._sealer.seal("gold_sets", tenant, task, value)
        await command(self._redis, "HSET", key, task, sealed)

    async def gold(self, tenant: str, task: str) -> GoldSet | None:
        """Return a task's gold set."""
        sealed = await command(self._redis, "HGET", self._of("gold", tenant), task)
        await self._sealer.know([sealed])
        return self._sealer.read(
            "gold_sets", tenant, task, sealed, lambda plain: _gold(task, plain)
        )

    async def gold_tasks(self, tenant: str) -> list[str]:
        """Return the tasks that have a gold set."""
        found = await command(self._redis, "HKEYS", self._of("gold", tenant))
        return sorted(task.decode() for task in found)

    async def remove_gold(self, tenant: str, task: str) -> bool:
        """Delete a gold set. False: there was none."""
        return bool(await command(self._redis, "HDEL", self._of("gold", tenant), task))

    async def begin_run(self, tenant: str, task: str, slot: int, life_s: int) -> bool:
        """Return whether a gold set is to be run now, in that slot of time.

        Once, or twice where a server was ended in the first run.
        """
        key = self._run(tenant, task, slot)
        await command(self._redis, "SET", key, 0, "NX", "EX", life_s)
        return int(await command(self._redis, "INCR", key)) <= _TRIES

    async def end_run(self, tenant: str, task: str, slot: int) -> None:
        """Note that a gold set was run in that slot of time."""
        key = self._run(tenant, task, slot)
        await command(self._redis, "SET", key, _TRIES, "XX", "KEEPTTL")

    def _run(self, tenant: str, task: str, slot: int) -> str:
        return f"{self._of('goldrun', tenant)}:{task}:{slot}"

    async def _write(
        self,
        tenant: str,
        pair: Pair,
        outcome: str,
        *,
        window: int = 1,
        calls: int,
        cost: Nanodollars,
        now: float,
        score: GoldScore | None = None,
    ) -> None:
        member = orjson.dumps([pair.task, pair.dear, pair.cheap])
        packed = b"" if score is None else orjson.dumps([score.right, score.count, score.at])
        words = (outcome, window, calls, cost, round(now * 1000), LIFE_S, packed)
        key = self._key(tenant, pair)
        await run_script(self._add, key, self._of("trials", tenant), member, *words)

    def _of(self, kind: str, tenant: str) -> str:
        return f"{self._prefix}{kind}:{tenant_key(tenant)}"

    def _key(self, tenant: str, pair: Pair) -> str:
        # lengths in front: no name can spell another one's key
        named = f"{len(pair.task)}:{pair.task}:{len(pair.dear)}:{pair.dear}:{pair.cheap}"
        return f"{self._of('trial', tenant)}:{named}"


def _shown(fields: Mapping[str, str]) -> PairRecord:
    held = fields.get("standing", "unproven")
    score = orjson.loads(fields["gold"]) if "gold" in fields else None
    return PairRecord(
        window=fields.get("window", ""),
        undecided=int(fields.get("undecided", 0)),
        standing=next((one for one in get_args(Standing) if one == held), "unproven"),
        least=float(fields["least"]) if "least" in fields else None,
        gold=None if score is None else GoldScore(*score),
        calls=int(fields.get("calls", 0)),
        cost=int(fields.get("cost", 0)),
        at=int(fields["at"]) / 1000 if "at" in fields else None,
        changed_at=int(fields["changed_at"]) / 1000 if "changed_at" in fields else None,
    )


def _gold(task: str, value: bytes) -> GoldSet:
    document = json_text.loads(value)
    try:
        return GoldSet(
            task, tuple(gold_rules.item_of(one) for one in document["items"]), document["at"]
        )
    except BadRequest:
        raise ValueError("a gold set that was kept makes no sense") from None
