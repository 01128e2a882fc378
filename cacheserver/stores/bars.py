"""The bars an operator set, and every change of them: who, when, before, after.

What a bar may be is checked by whoever sets it; here it is any small JSON object.

Every method raises `StoreError` when the store fails. On the request path that is a miss: what an
operator forbade cannot be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

from cacheserver.errors import BadRequest
from cacheserver.policy import names
from cacheserver.stores import labelscripts
from cacheserver.stores.connection import PREFIX, Connection, command, run
from cacheserver.stores.recent import Recent
from cacheserver.stores.values import dumped, loaded, owner

Level: TypeAlias = Literal["tenant", "namespace", "scope"]

MAX_BARS = 1_000  # of a tenant; all are read at once, some 100 kB

_CHANGES = 10_000  # kept of a tenant, some 3 MB; the oldest beyond it are dropped
_MAX_BAR = 4_096  # bytes
_MAX_NAME = 200
_REMEMBERED = 1_000  # tenants whose bars are kept in memory

_LEVELS: tuple[Level, ...] = ("tenant", "namespace", "scope")


class TenantBars(TypedDict):
    """All bars of a tenant. Not to be changed: it is shared."""

    tenant: Mapping[str, Any] | None
    namespaces: Mapping[str, Mapping[str, Any]]
    scopes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BarChange:
    id: str
    at: float
    who: str
    level: Level
    name: str  # of the namespace or scope; empty for the tenant
    before: Mapping[str, Any] | None  # None: there was none
    after: Mapping[str, Any] | None  # None: it was removed


class Bars:
    """Bars by tenant. A change holds here at once, in other processes within `FRESH_S`."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        most: int = MAX_BARS,
        changes: int = _CHANGES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._most = most
        self._changes = changes
        self._recent = Recent[TenantBars](clock, most=_REMEMBERED)
        self._set = redis.register_script(labelscripts.SET_BAR)

    async def get(self, tenant: str) -> TenantBars:
        """The bars that were set for a tenant."""

        async def ask() -> TenantBars:
            key = f"{self._prefix}bars:{owner(tenant)}"
            return _read(await command(self._redis, "HGETALL", key))

        return await self._recent.get(tenant, ask)

    async def set(
        self,
        tenant: str,
        level: Level,
        name: str,
        bar: Mapping[str, Any] | None,
        *,
        who: str,
        now: float,
    ) -> BarChange:
        """Set a bar, or remove it with `None`; returns the change, which is recorded with it.

        Raises `BadRequest` for a level or name that will not do, and where there are too many.
        """
        field = _field(level, name)
        who = names.read("who", who, most=_MAX_NAME, least=0)
        text = b"" if bar is None else dumped("a bar", bar, most=_MAX_BAR)
        words = (field, text, self._most, self._changes, who, repr(now), level, name)
        try:
            reply = await run(self._set, self._prefix, owner(tenant), *words)
        finally:  # it may have been set, even where it failed
            self._recent.forget(tenant)
        if reply is None:
            raise BadRequest("name", f"the tenant has {self._most} bars; remove one first")
        change_id, before = reply
        return BarChange(change_id.decode(), now, who, level, name, _bar(before), _bar(text))

    async def history(self, tenant: str, limit: int = 100) -> list[BarChange]:
        """The tenant's last changes, the newest first."""
        key = f"{self._prefix}barlog:{owner(tenant)}"
        found = await command(self._redis, "XREVRANGE", key, "+", "-", "COUNT", limit)
        return [_change(change_id, row) for change_id, row in found]


def _field(level: Level, name: str) -> str:
    if level not in _LEVELS:
        raise BadRequest("level", f"must be one of {', '.join(_LEVELS)}")
    if level == "tenant":
        if name:
            raise BadRequest("name", "must be empty for the tenant's own bar")
        return level
    return f"{level[0]}:{names.read('name', name, most=_MAX_NAME)}"


def _read(fields: Mapping[bytes, bytes]) -> TenantBars:
    bars = {name.decode(): loaded("a bar", text) for name, text in fields.items()}
    return TenantBars(
        tenant=bars.get("tenant"),
        namespaces={name[2:]: bar for name, bar in bars.items() if name.startswith("n:")},
        scopes={name[2:]: bar for name, bar in bars.items() if name.startswith("s:")},
    )


def _bar(text: bytes | None) -> Mapping[str, Any] | None:
    return loaded("a bar", text) if text else None


def _change(change_id: bytes, row: Mapping[bytes, bytes]) -> BarChange:
    level = next(one for one in _LEVELS if one == row[b"level"].decode())
    return BarChange(
        id=change_id.decode(),
        at=float(row[b"at"]),
        who=row[b"who"].decode(),
        level=level,
        name=row[b"name"].decode(),
        before=_bar(row[b"before"]),
        after=_bar(row[b"after"]),
    )
