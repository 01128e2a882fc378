"""History of a tenant's bars: who changed which one, when, from what, to what.

Rule: `Tenants.put` writes a change in one step with the settings, so that no route can set a bar
without it. A bar that is None is the one of the level above: of a tenant, the server's default.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from redis.asyncio.client import Pipeline

from cacheserver.core import json_text, names
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Bar, Tenant
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.json_values import decode_object, tenant_key

Level: TypeAlias = Literal["tenant", "namespace", "scope"]

MAX_BARS = 1_000  # of a tenant's namespaces and scopes together, some 100 kB
MAX_CHANGES = 10_000  # kept of a tenant, some 3 MB; the oldest beyond it are dropped

_LEVELS: Final[tuple[Level, ...]] = ("tenant", "namespace", "scope")
_MAX_NAME = 200
_PAGE = 500


@dataclass(frozen=True, slots=True)
class BarChange:
    """One bar that was set, or removed."""

    id: str
    at: float
    who: str
    level: Level
    name: str  # of the namespace or scope; empty for the tenant
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    undoes: str | None = None  # id of the change that this one took back


@dataclass(frozen=True, slots=True)
class Place:
    """Tenant, namespace or scope that a bar is of."""

    level: Level
    name: str = ""


class BarHistory:
    """Changes of bars in Redis, by tenant."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, changes: int = MAX_CHANGES
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._changes = changes

    def append(
        self,
        pipe: Pipeline,
        before: Tenant | None,
        after: Tenant,
        default: Bar,
        *,
        who: str,
        now: float,
        undoes: BarChange | None = None,
    ) -> None:
        """Queue the changes between two settings; `before` None: they were unknown.

        Raises `BadRequest` for an invalid `who`, and if the tenant gets too many bars.
        """
        who = names.read("who", who, most=_MAX_NAME, least=0)
        old = {} if before is None else _bars(before, default)
        new = _bars(after, default)
        if len(new) > max(MAX_BARS, len(old)):
            raise BadRequest("name", f"the tenant has {MAX_BARS} bars; remove one first")
        taken_back = None if undoes is None else Place(undoes.level, undoes.name)
        for place in dict.fromkeys([*old, *new, *([taken_back] if taken_back else [])]):
            if old.get(place) == new.get(place) and place != taken_back:
                continue
            row: dict[Any, Any] = {
                "who": who,
                "at": repr(now),
                "level": place.level,
                "name": place.name,
                "before": _encode(old.get(place)),
                "after": _encode(new.get(place)),
                "undoes": undoes.id if undoes is not None and place == taken_back else "",
            }
            pipe.xadd(self.key(after.name), row, maxlen=self._changes, approximate=False)
        # An earlier version kept what was set beside the settings, too.
        pipe.delete(f"{self._prefix}bars:{tenant_key(after.name)}")

    async def changes(
        self, tenant: str, limit: int = 100, *, before: str | None = None
    ) -> list[BarChange]:
        """Return the tenant's changes, newest first, older than the id `before`.

        Raises `StoreError`.
        """
        start = "+" if before is None else f"({before}"
        key = self.key(tenant)
        found = await command(self._redis, "XREVRANGE", key, start, "-", "COUNT", limit)
        return [_change(change_id, row) for change_id, row in found]

    async def last(self, tenant: str, place: Place | None = None) -> BarChange | None:
        """Return the last change, of a place or of all, that has not been undone.

        A change that undid another one is a step back, not a step: it is passed over with it.
        """
        undone: set[str] = set()
        async for change in self._all(tenant):
            if change.undoes is not None:
                undone.add(change.undoes)
            elif change.id not in undone and place in (None, Place(change.level, change.name)):
                return change
        return None

    async def _all(self, tenant: str) -> AsyncIterator[BarChange]:
        before: str | None = None
        while page := await self.changes(tenant, _PAGE, before=before):
            for change in page:
                yield change
            before = page[-1].id

    async def drop(self, tenant: str) -> None:
        """Drop the tenant's changes. Raises `StoreError`."""
        await command(self._redis, "DEL", self.key(tenant))

    def key(self, tenant: str) -> str:
        """Return the key of a tenant's changes."""
        return f"{self._prefix}barlog:{tenant_key(tenant)}"


def _bars(tenant: Tenant, default: Bar) -> dict[Place, Bar]:
    """Return a tenant's own bars: its general one if it is not the server's default."""
    own = {} if tenant.bar == default else {Place("tenant"): tenant.bar}
    return {
        **own,
        **{Place("namespace", name): bar for name, bar in tenant.namespace_bars.items()},
        **{Place("scope", name): bar for name, bar in tenant.scope_bars.items()},
    }


def _encode(bar: Bar | None) -> bytes:
    """Encode a bar as an operator writes one."""
    if bar is None:
        return b""
    plain = asdict(Bar())
    given = {name: value for name, value in asdict(bar).items() if value != plain[name]}
    return json_text.dumps({**given, **({"exact_only": True} if bar.exact_only else {})})


def _change(change_id: bytes, row: Mapping[bytes, bytes]) -> BarChange:
    return BarChange(
        id=change_id.decode(),
        at=float(row[b"at"]),
        who=row[b"who"].decode(),
        level=next(one for one in _LEVELS if one == row[b"level"].decode()),
        name=row[b"name"].decode(),
        before=_decode(row[b"before"]),
        after=_decode(row[b"after"]),
        undoes=row.get(b"undoes", b"").decode() or None,
    )


def _decode(text: bytes) -> Mapping[str, Any] | None:
    return decode_object("a bar", text) if text else None
