"""The index of decisions as it is stored: rows by tenant and hour, remembered between reads.

A value only grows while its key exists. So what was read once is read again from its last row on,
and is dropped if that row is not there any more: nothing that was erased is found.

Rule: what is remembered holds ids, numbers and digests, and no text (`decision_index`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cacheserver.cache.store.decision_filters import ROW, Rows
from cacheserver.cache.store.decision_index import ROW_BYTES
from cacheserver.cache.store.lru_bytes import LruBytes
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import tenant_key

HOUR_S: Final = 3_600
_SCANNED: Final = 2_000  # names of hours read by one round trip: 1 ms of the event loop
_LOADED: Final = 200  # hours of tenants read by one round trip; all of a day take some 20 MB
_KEPT_BYTES: Final = 32 * 2**20  # 300,000 decisions

# ARGV: key and offset, again and again. Returns what each value has from there on.
_TAILS = """
local tails = {}
for i = 1, #ARGV, 2 do
  tails[#tails + 1] = redis.call('GETRANGE', ARGV[i], ARGV[i + 1], -1)
end
return tails
"""


@dataclass(frozen=True, slots=True)
class Hours:
    """Rows of some tenants."""

    rows: Rows
    owners: NDArray[np.int64]  # place in `tenants` of each row's
    tenants: Sequence[str]


class DecisionHours:
    """Reader of the index. Every method raises `StoreError`."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, max_bytes: int = _KEPT_BYTES
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._script = redis.register_script(_TAILS)
        self._kept = LruBytes[str, bytes](max_bytes)  # values by key

    async def names(self, tenant: str | None) -> dict[int, list[str]]:
        """Return the hours that have decisions, with the tenants that have them."""
        words = [] if tenant is None else ["MATCH", f"{tenant_key(tenant)}:*"]
        members, cursor = set[bytes](), 0
        while True:
            key = f"{self._prefix}dis"
            cursor, some = await command(
                self._redis, "ZSCAN", key, cursor, *words, "COUNT", _SCANNED
            )
            members.update(member for member, _ in some)
            if int(cursor) == 0:
                break
        found: dict[int, list[str]] = {}
        for member in sorted(members):
            owner, _, hour = member.decode().rpartition(":")
            name = owner.partition(":")[2]
            if tenant is None or name == tenant:
                found.setdefault(int(hour), []).append(name)
        return found

    async def load(self, hours: Mapping[int, Sequence[str]]) -> Hours | None:
        """Return the rows of some hours of tenants; None if there are none any more."""
        named = [(hour, name) for hour, names in hours.items() for name in names]
        parts: list[tuple[str, Rows]] = []
        for start in range(0, len(named), _LOADED):
            some = named[start : start + _LOADED]
            keys = [f"{self._prefix}di:{tenant_key(name)}:{hour}" for hour, name in some]
            for (_, name), packed in zip(some, await self._values(keys), strict=True):
                if packed:
                    parts.append((name, np.frombuffer(packed, ROW, len(packed) // ROW_BYTES)))
        return await asyncio.to_thread(_joined, parts) if parts else None

    async def _values(self, keys: Sequence[str]) -> list[bytes]:
        """Return the values of keys, empty for one that is gone."""
        known = [self._kept.get(key) or b"" for key in keys]
        tails = await self._tails(keys, [max(0, len(one) - ROW_BYTES) for one in known])
        values: list[bytes] = []
        for key, before, tail in zip(keys, known, tails, strict=True):
            value = tail
            if before and tail.startswith(before[-ROW_BYTES:]):
                value = before + tail[ROW_BYTES:] if len(tail) > ROW_BYTES else before
            elif before:  # erased since, and perhaps written anew
                (value,) = await self._tails([key], [0])
            if value is not before:
                self._kept.put(key, value, len(value))
            values.append(value)
        return values

    async def _tails(self, keys: Sequence[str], offsets: Sequence[int]) -> list[bytes]:
        words = [word for pair in zip(keys, offsets, strict=True) for word in pair]
        found: list[bytes] = await run_script(self._script, *words)
        return found


def _joined(parts: Sequence[tuple[str, Rows]]) -> Hours:
    tenants: dict[str, int] = {}
    places = [tenants.setdefault(name, len(tenants)) for name, _ in parts]
    owners = np.repeat(np.array(places), [len(rows) for _, rows in parts])
    return Hours(np.concatenate([rows for _, rows in parts]), owners, list(tenants))
