"""Pending erasures, and the log of finished ones.

    P er:todo        hash    id -> an erasure: tenant, selector, time, whether the first pass ran
    P er:ids:<id>    set     ids of the entries it erased
    P er:passed:<id> string  how many of its passes were carried out; for ten minutes
    P er:count       string  incremented by each, so that every server updates its own index
    P er:log:T       stream  who erased which kind of content, when, and how much; never its name

An erasure is recorded before anything is erased, so that one of a killed server is finished. Every
method raises `StoreError`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson

from cacheserver.cache.store.entries import MARKER_S
from cacheserver.core.errors import NotReplicated, StoreError
from cacheserver.erasure import scripts
from cacheserver.erasure.cover import ErasureCover
from cacheserver.erasure.purge_groups import groups
from cacheserver.erasure.selectors import Selector
from cacheserver.peers.work_lease import WorkLease
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.replication import run_replicated

_LEASE_S: Final = 60  # renewed at every page of keys
_IDS_S: Final = 7_200  # as long as a second pass may be late
_PASSED_S: Final = 600  # a pass is made again within a minute of it (`storage.recent_changes`)
_LOGGED: Final = 1_000  # of a tenant, some 500 kB
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erasure for one tenant. It covers what was received until `at`."""

    tenant: str
    selector: Selector
    at: float
    who: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    due: float = 0.0  # when the next pass is
    again: bool = False  # once done: only what was under way then is looked for


class Erasures:
    """Store of pending erasures and of the log."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        self._name = secrets.token_hex(8)
        self._leases: dict[str, WorkLease] = {}  # by the id of an erasure that was met here
        self._began: dict[str, int] = {}  # by id, the takeovers before the pass that is under way
        self._passed = redis.register_script(scripts.PASSED)
        self._put = redis.register_script(scripts.PUT)

    def note(self, erasure: Erasure) -> None:
        """Have a pass made once more if a replica takes over that does not have all it removed."""
        words = self._words(erasure, str(int(erasure.again)))
        self._redis.recent.note(partial(run_script, self._put, *words))

    async def put(self, erasure: Erasure) -> None:
        """Record a pass that is due, for this or another server.

        What was asked for before the erasure is not stored any more.
        """
        await run_script(self._put, *self._words(erasure))

    def _words(self, erasure: Erasure, passed: str = "") -> tuple[str, ...]:
        found = groups(erasure.tenant, erasure.selector)
        marker = (repr(erasure.at), str(MARKER_S), *found)
        return self._prefix, erasure.id, _row(erasure), passed, *marker

    async def passed(self, erasure: Erasure, *, again_at: float | None) -> None:
        """Record that a pass is over, and the next one, if there is one at `again_at`.

        Returns once the replicas have that. Raises `StoreError` also if one of them took over
        before: this counts as no pass then.
        """
        of, life = (self._prefix, erasure.id), str(_PASSED_S)
        after = "" if again_at is None else _row(replace(erasure, again=True, due=again_at))
        failure = None
        try:
            words = (*of, after, str(int(erasure.again) + 1), life)
            await run_replicated(self._redis, self._passed, *words)
        except NotReplicated as error:
            failure = error
        if self._redis.recent.takeovers != self._began.get(erasure.id):
            await run_script(self._passed, *of, _row(erasure), int(erasure.again), life)
            raise StoreError("a replica has taken over during an erasure")
        if failure is not None:
            raise failure
        if again_at is None:
            await command(self._redis, "DEL", self._ids(erasure))

    async def due(self, now: float) -> list[Erasure]:
        """Return the erasures that are due."""
        found = await command(self._redis, "HGETALL", f"{self._prefix}er:todo")
        read = [_read(id.decode(), orjson.loads(value)) for id, value in found.items()]
        return [erasure for erasure in read if erasure.due <= now]

    async def stands(self, erasure: Erasure) -> bool:
        """Return whether a pass is still to be made as it was read."""
        found = await command(self._redis, "HGET", f"{self._prefix}er:todo", erasure.id)
        return found is not None and _read(erasure.id, orjson.loads(found)) == erasure

    async def take(self, erasure: Erasure) -> bool:
        """Take the lease of an erasure for a minute. False: it is under way, here or elsewhere."""
        return not self._lease(erasure).held and await self._lease(erasure).take()

    async def hold(self, erasure: Erasure) -> None:
        """Renew the lease for a minute.

        Raises `StoreError` also if another server has it now, or a replica has taken over since the
        first call: what was removed before may be back.
        """
        takeovers = self._redis.recent.takeovers
        if not await self._lease(erasure).take():
            raise StoreError("another server has taken the erasure over")
        began = self._began.setdefault(erasure.id, takeovers)
        if self._redis.recent.takeovers != began:
            raise StoreError("a replica has taken over during an erasure")

    async def let_go(self, erasure: Erasure) -> None:
        self._began.pop(erasure.id, None)
        lease = self._lease(erasure)
        del self._leases[erasure.id]
        await lease.give_back()

    async def keep(self, erasure: Erasure, covered: ErasureCover) -> None:
        """Store for later passes what is known of the erased entries, before they are gone."""
        names, key = covered.kept(), self._ids(erasure)

        async def add() -> None:
            for start in range(0, len(names), _AT_ONCE):
                await command(self._redis, "SADD", key, *names[start : start + _AT_ONCE])
            if names:
                await command(self._redis, "EXPIRE", key, _IDS_S)

        if covered.answers:  # of few entries: their removal may be made again before the pass is
            self._redis.recent.note(add)
        await add()

    async def recall(self, erasure: Erasure, covered: ErasureCover) -> None:
        """Add what earlier passes have stored."""
        members = await command(self._redis, "SMEMBERS", self._ids(erasure))
        covered.learn(one.decode() for one in members)

    async def count(self) -> int:
        """Return the number of erasures so far."""
        return int(await command(self._redis, "GET", f"{self._prefix}er:count") or 0)

    async def counted(self) -> None:
        await command(self._redis, "INCR", f"{self._prefix}er:count")

    async def log(self, erasure: Erasure, removed: Mapping[str, int]) -> None:
        words = ("who", erasure.who, "at", repr(erasure.at), "kind", erasure.selector.kind)
        totals = ("again", int(erasure.again), "removed", orjson.dumps(dict(removed)))
        key = f"{self._prefix}er:log:{tenant_key(erasure.tenant)}"
        await command(self._redis, "XADD", key, "MAXLEN", "=", _LOGGED, "*", *words, *totals)

    async def logged(self, tenant: str) -> list[dict[str, Any]]:
        """Return a tenant's erasures, latest first."""
        key = f"{self._prefix}er:log:{tenant_key(tenant)}"
        found = await command(self._redis, "XREVRANGE", key, "+", "-", "COUNT", _LOGGED)
        return [
            {
                "at": float(row[b"at"]),
                "who": row[b"who"].decode(),
                "kind": row[b"kind"].decode(),
                "again": row[b"again"] == b"1",
                "removed": orjson.loads(row[b"removed"]),
            }
            for _, row in found
        ]

    def _lease(self, erasure: Erasure) -> WorkLease:
        if erasure.id not in self._leases:
            self._leases[erasure.id] = WorkLease(
                self._redis,
                f"erasure:{erasure.id}",
                server=self._name,
                prefix=self._prefix,
                length_s=_LEASE_S,
            )
        return self._leases[erasure.id]

    def _ids(self, erasure: Erasure) -> str:
        return f"{self._prefix}er:ids:{erasure.id}"


def _row(erasure: Erasure) -> str:
    picked = erasure.selector
    fields = {
        "tenant": erasure.tenant,
        "kind": picked.kind,
        "values": picked.values,
        "namespace": picked.namespace,
        "at": erasure.at,
        "who": erasure.who,
        "due": erasure.due,
        "again": erasure.again,
    }
    return orjson.dumps(fields).decode()


def _read(id: str, row: Mapping[str, Any]) -> Erasure:
    return Erasure(
        tenant=row["tenant"],
        selector=Selector(row["kind"], tuple(row["values"]), row["namespace"]),
        at=row["at"],
        who=row["who"],
        id=id,
        due=row["due"],
        again=row["again"],
    )
