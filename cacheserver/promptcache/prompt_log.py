"""Log of prompts: families that share a skeleton, and versions by namespace.

Hashes, counts and positions, never words. Written in the background, many sightings together: two
servers that record the same family at once may lose some. Raises `StoreError` when the store fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from cacheserver.promptcache.drift_costs import Family, Version
from cacheserver.promptcache.planner import Gaps
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import decode_object, encode_object, tenant_key

_LIFE_S = 30 * 86_400
_MOST_FAMILIES = 200  # of a tenant; the least recently seen are dropped
_MOST_VERSIONS = 100  # of a namespace
_MOST_NAMESPACES = 1_000
_MOST_SCOPES = 50  # of a version
_MOST_BYTES = 16_384  # of a family
_STEP = 500

_PLACE = """
local function place(index, name, at, life, most)
  redis.call('ZADD', index, at, name)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', at - life)
  redis.call('ZREMRANGEBYRANK', index, 0, -most - 1)
  redis.call('EXPIRE', index, life)
end
"""

# ARGV: the family's key, its row, its tenant's index, skeleton, last seen, lifetime (s), most.
_KEEP_FAMILY = (
    _PLACE
    + """
redis.call('SET', ARGV[1], ARGV[2], 'EX', ARGV[6])
place(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
return 1
"""
)

# ARGV: key, fingerprint, lifetime (s) of each request. Returns the fingerprints before.
_REPEATED = """
local before = {}
for at = 1, #ARGV, 3 do
  before[#before + 1] = redis.call('SET', ARGV[at], ARGV[at + 1], 'EX', ARGV[at + 2], 'GET')
end
return before
"""

# ARGV: the version's key, first and last seen, characters, requests, lifetime (s), most scopes;
# index, name and most of versions, then of namespaces; then rest and scope of each kind of request.
_NOTE_VERSION = (
    _PLACE
    + """
local key, last, life, most = ARGV[1], ARGV[3], ARGV[6], tonumber(ARGV[7])
redis.call('HSETNX', key, 'first_at', ARGV[2])
redis.call('HSET', key, 'last_at', last, 'chars', ARGV[4])
redis.call('HINCRBY', key, 'requests', ARGV[5])
for at = 14, #ARGV, 2 do
  local field = 's:' .. ARGV[at]
  if redis.call('HLEN', key) < most + 4 or redis.call('HEXISTS', key, field) == 1 then
    redis.call('HSET', key, field, ARGV[at + 1])
  end
end
redis.call('EXPIRE', key, life)
place(ARGV[8], ARGV[9], last, life, ARGV[10])
place(ARGV[11], ARGV[12], last, life, ARGV[13])
return 1
"""
)


@dataclass(slots=True)
class VersionUse:
    """Requests under a version, as they are added to it."""

    first_at: float
    last_at: float
    chars: int = 0
    requests: int = 0
    scopes: dict[str, str] = field(default_factory=dict)  # rest of the request -> its scope

    def add(self, now: float, *, chars: int, scope: tuple[str, str] | None) -> None:
        self.first_at, self.last_at = min(self.first_at, now), max(self.last_at, now)
        self.chars, self.requests = chars, self.requests + 1
        if scope is not None and (scope[0] in self.scopes or len(self.scopes) < _MOST_SCOPES):
            self.scopes[scope[0]] = scope[1]


class PromptLog:
    """Families and versions of the prompts of each tenant."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._keep_family = redis.register_script(_KEEP_FAMILY)
        self._repeated = redis.register_script(_REPEATED)
        self._note_version = redis.register_script(_NOTE_VERSION)

    async def family(self, tenant: str, skeleton: str) -> Family:
        """Return the family with that skeleton, or a new one."""
        found = await command(self._redis, "GET", self._key("fam", tenant, skeleton))
        return Family(skeleton) if found is None else _family(decode_object("a family", found))

    async def keep_family(self, tenant: str, family: Family) -> None:
        """Store a family, and drop those beyond the limit."""
        row = {**asdict(family), "varied": {str(k): v for k, v in family.varied.items()}}
        value = encode_object("a family", row, most=_MOST_BYTES)
        keys = self._key("fam", tenant, family.skeleton), self._key("fams", tenant)
        last_at = repr(family.last_at)
        words = (keys[0], value, keys[1], family.skeleton, last_at, _LIFE_S, _MOST_FAMILIES)
        await run_script(self._keep_family, *words)

    async def families(self, tenant: str) -> list[Family]:
        """Return all families of a tenant, latest first."""
        names = await command(self._redis, "ZREVRANGE", self._key("fams", tenant), 0, -1)
        if not names:
            return []
        keys = [self._key("fam", tenant, name.decode()) for name in names]
        rows = await command(self._redis, "MGET", *keys)
        return [_family(decode_object("a family", row)) for row in rows if row is not None]

    async def repeated(self, requests: Sequence[tuple[str, str, str, int]]) -> list[bool]:
        """Return of each request whether one that differs only in its fragments was answered.

        A request is its tenant, its digest without fragments, its fingerprint, and for how long (s)
        it is recorded in place of the one before.
        """
        words = [
            word
            for tenant, request, fingerprint, life_s in requests
            for word in (self._key("famq", tenant, request), fingerprint, life_s)
        ]
        found = await run_script(self._repeated, *words) if words else []
        return [
            before is not None and before.decode() != fingerprint
            for before, (_, _, fingerprint, _) in zip(found, requests, strict=True)
        ]

    async def note_version(self, tenant: str, namespace: str, digest: str, use: VersionUse) -> None:
        """Add requests to a version."""
        await run_script(
            self._note_version,
            self._key("ver", tenant, f"{namespace}:{digest}"),
            *(repr(use.first_at), repr(use.last_at), use.chars, use.requests),
            *(_LIFE_S, _MOST_SCOPES),
            *(self._key("vers", tenant, namespace), digest, _MOST_VERSIONS),
            *(self._key("verns", tenant), namespace, _MOST_NAMESPACES),
            *(word for pair in use.scopes.items() for word in pair),
        )

    async def versions(self, tenant: str, namespace: str) -> list[Version]:
        """Return the versions of a namespace, latest first."""
        key = self._key("vers", tenant, namespace)
        found = []
        for name in await command(self._redis, "ZREVRANGE", key, 0, -1):
            digest = name.decode()
            row = await command(
                self._redis, "HGETALL", self._key("ver", tenant, f"{namespace}:{digest}")
            )
            if row:
                found.append(_version(digest, row))
        return found

    async def namespaces(self, tenant: str) -> list[str]:
        names = await command(self._redis, "ZREVRANGE", self._key("verns", tenant), 0, -1)
        return [name.decode() for name in names]

    async def refs(self, tenant: str, namespace: str) -> AsyncIterator[list[tuple[str, str]]]:
        """Yield the (fingerprint, entry id) of a namespace's entries, some hundreds at a time."""
        group, cursor = f"{self._prefix}g:n:{tenant_key(tenant)}:{namespace}", b"0"
        while True:
            cursor, ids = await command(self._redis, "SSCAN", group, cursor, "COUNT", _STEP)
            if ids:
                rows = await command(self._redis, "HMGET", f"{self._prefix}ids", *ids)
                yield [
                    (str(orjson.loads(row)[0]), entry_id.decode())
                    for entry_id, row in zip(ids, rows, strict=True)
                    if row is not None
                ]
            if int(cursor) == 0:
                return

    def _key(self, kind: str, tenant: str, *rest: str) -> str:
        return ":".join((f"{self._prefix}{kind}", tenant_key(tenant), *rest))


def _family(row: Mapping[str, Any]) -> Family:
    fields: dict[str, Any] = {
        **row,
        "gaps": Gaps(**row["gaps"]),
        "spans": _rows(row["spans"]),
        "digests": tuple(row["digests"]),
        "varied": {int(at): count for at, count in row["varied"].items()},
    }
    return Family(**fields)


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in rows)


def _version(digest: str, row: Mapping[bytes, bytes]) -> Version:
    return Version(
        digest=digest,
        first_at=float(row[b"first_at"]),
        last_at=float(row[b"last_at"]),
        requests=int(row[b"requests"]),
        chars=int(row[b"chars"]),
        scopes={
            name[2:].decode(): scope.decode()
            for name, scope in row.items()
            if name.startswith(b"s:")
        },
    )
