"""Bars set by operators, with a log of every change: who, when, before, after.

The caller checks that a bar is valid; here it is any small JSON object.

Every method raises `StoreError` when the store fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cacheserver.calibration import label_scripts
from cacheserver.core import names
from cacheserver.core.errors import BadRequest
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import decode_object, encode_object, tenant_key

Level: TypeAlias = Literal["tenant", "namespace", "scope"]

MAX_BARS = 1_000  # of a tenant, some 100 kB

_CHANGES = 10_000  # kept of a tenant, some 3 MB; the oldest beyond it are dropped
_MAX_BAR = 4_096  # bytes
_MAX_NAME = 200

_LEVELS: tuple[Level, ...] = ("tenant", "namespace", "scope")


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
    """Bars by tenant, and the log of their changes. Bars in force are in the tenant's settings."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        most: int = MAX_BARS,
        changes: int = _CHANGES,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._most = most
        self._changes = changes
        self._set = redis.register_script(label_scripts.SET_BAR)

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
        """Set a bar, or remove it with `None`; return the change, recorded in the same step.

        Raises `BadRequest` for an invalid level or name, and if the tenant has too many bars.
        """
        field = _field(level, name)
        who = names.read("who", who, most=_MAX_NAME, least=0)
        text = b"" if bar is None else encode_object("a bar", bar, most=_MAX_BAR)
        words = (field, text, self._most, self._changes, who, repr(now), level, name)
        reply = await run_script(self._set, self._prefix, tenant_key(tenant), *words)
        if reply is None:
            raise BadRequest("name", f"the tenant has {self._most} bars; remove one first")
        change_id, before = reply
        return BarChange(change_id.decode(), now, who, level, name, _bar(before), _bar(text))

    async def history(self, tenant: str, limit: int = 100) -> list[BarChange]:
        """Return the tenant's last changes, newest first."""
        key = f"{self._prefix}barlog:{tenant_key(tenant)}"
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


def _bar(text: bytes | None) -> Mapping[str, Any] | None:
    return decode_object("a bar", text) if text else None


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
