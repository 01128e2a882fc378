"""Log of prompts: families that share a skeleton, and versions by namespace.

Hashes, counts and positions, never words. Written in the background: two servers that record the
same family at once may lose one of two sightings. Raises `StoreError` when the store fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from cacheserver.promptcache.drift_costs import Family, Version
from cacheserver.promptcache.planner import Gaps
from cacheserver.storage.connection import PREFIX, Connection, command, store_errors
from cacheserver.storage.json_values import decode_object, encode_object, tenant_key

_LIFE_S = 30 * 86_400
_MOST_FAMILIES = 200  # of a tenant; the least recently seen are dropped
_MOST_VERSIONS = 100  # of a namespace
_MOST_NAMESPACES = 1_000
_MOST_SCOPES = 50  # of a version
_MOST_BYTES = 16_384  # of a family
_STEP = 500


class PromptLog:
    """Families and versions of the prompts of each tenant."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix

    async def family(self, tenant: str, skeleton: str) -> Family:
        """Return the family with that skeleton, or a new one."""
        found = await command(self._redis, "GET", self._key("fam", tenant, skeleton))
        return Family(skeleton) if found is None else _family(decode_object("a family", found))

    async def keep_family(self, tenant: str, family: Family) -> None:
        """Store a family, and drop those beyond the limit."""
        row = {**asdict(family), "varied": {str(k): v for k, v in family.varied.items()}}
        value = encode_object("a family", row, most=_MOST_BYTES)
        key = self._key("fam", tenant, family.skeleton)
        await command(self._redis, "SET", key, value, "EX", _LIFE_S)
        index = self._key("fams", tenant)
        await self._place(index, family.skeleton, family.last_at, _MOST_FAMILIES)

    async def families(self, tenant: str) -> list[Family]:
        """Return all families of a tenant, latest first."""
        names = await command(self._redis, "ZREVRANGE", self._key("fams", tenant), 0, -1)
        if not names:
            return []
        keys = [self._key("fam", tenant, name.decode()) for name in names]
        rows = await command(self._redis, "MGET", *keys)
        return [_family(decode_object("a family", row)) for row in rows if row is not None]

    async def repeated(self, tenant: str, request: str, fingerprint: str, life_s: int) -> bool:
        """Return whether a request that differs only in its fragments was answered within `life_s`.

        Records this request in its place.
        """
        if life_s <= 0:
            return False
        key = self._key("famq", tenant, request)
        before = await command(self._redis, "GET", key)
        await command(self._redis, "SET", key, fingerprint, "EX", life_s)
        return before is not None and before.decode() != fingerprint

    async def note_version(
        self,
        tenant: str,
        namespace: str,
        digest: str,
        *,
        chars: int,
        scope: tuple[str, str] | None,
        now: float,
    ) -> None:
        """Count a request under a version; `scope` is the rest of the request and its scope."""
        key = self._key("ver", tenant, f"{namespace}:{digest}")
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hsetnx(key, "first_at", repr(now))
                pipe.hset(key, mapping={"last_at": repr(now), "chars": chars})
                pipe.hincrby(key, "requests", 1)
                if scope is not None:
                    pipe.hset(key, f"s:{scope[0]}", scope[1])
                pipe.hlen(key)
                pipe.expire(key, _LIFE_S)
                *_, size, _ = await pipe.execute()
        if scope is not None and size > _MOST_SCOPES + 4:
            await command(self._redis, "HDEL", key, f"s:{scope[0]}")
        await self._place(self._key("vers", tenant, namespace), digest, now, _MOST_VERSIONS)
        await self._place(self._key("verns", tenant), namespace, now, _MOST_NAMESPACES)

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

    async def _place(self, index: str, name: str, now: float, most: int) -> None:
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(index, {name: now})
                pipe.zremrangebyscore(index, "-inf", now - _LIFE_S)
                pipe.zremrangebyrank(index, 0, -most - 1)
                pipe.expire(index, _LIFE_S)
                await pipe.execute()

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
