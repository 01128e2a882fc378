"""Store of labels, calibration states, entry records and background spending.

Labels hold features and hashes, never a prompt; pairs waiting for review are in `review_store`.
Everything is bounded: by number within a tenant, and by a time to live renewed with each write.

Every method raises `StoreError` when the store fails or a value is too large. A failed write may
have succeeded; calls that take `once` may then be repeated.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cacheserver.cache.ports import NOTHING_READ, Read
from cacheserver.calibration import label_scripts
from cacheserver.calibration.recent_reads import RecentReads
from cacheserver.calibration.tombstones import Tombstones
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Nanodollars
from cacheserver.matching.shrinkage import EntryRecord
from cacheserver.storage.connection import PREFIX, Connection, command, read_values, run_script
from cacheserver.storage.json_values import decode_object, encode_object, tenant_key

WINDOW = (
    3_000  # labels of a scope: 2,000 of a fit and 1,000 until the next (matching/calibration.py)
)
LIFE_S = 90 * 86_400  # of a scope's labels and state: after a quiet quarter the prior is as good
ONCE_S = 86_400  # as long as a decision can be looked up, and so reported
SHADOW = "shadow"  # name of the window of shadow mode; it is no scope
RETRACTS = "retracts"  # field of a row that removes the label with this id
MAX_SPEND = 2**53  # nanodollars, 9 million USD: whole numbers in Lua end there

_MAX_LABEL = 4_096  # bytes; features, hashes and ids are some 400
_MAX_STATE = 131_072  # bytes
_REMEMBERED = 1_000  # states kept in memory: a few MB at some kB each
_NO_VERSION = 0

_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class Labels:
    """Labels, states and spending in Redis. `now` is Unix time; `clock` is for the cache.

    A tenant has at most `scopes` states and as many windows, and `labels` labels in all of these;
    beyond that the scopes written longest ago start again with the prior. So do they if those of
    all tenants take more than `max_bytes`.
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        window: int = WINDOW,
        labels: int = 100_000,
        scopes: int = 5_000,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._bounds = (window, labels, scopes)
        self.max_bytes = max_bytes
        self._now = now
        self.tombstones = Tombstones(redis, prefix=prefix, now=now)
        self._states = RecentReads[tuple[bytes | None, int]](clock, most=_REMEMBERED)
        self._add = redis.register_script(label_scripts.ADD)
        self._save = redis.register_script(label_scripts.SAVE)
        self._forget = redis.register_script(label_scripts.FORGET)
        self._adjust = redis.register_script(label_scripts.ADJUST)
        self._spend = redis.register_script(label_scripts.SPEND)
        self._refund = redis.register_script(label_scripts.REFUND)

    async def state(self, tenant: str, scope: str) -> tuple[bytes | None, int]:
        """Return the scope's calibration state and its version, or `None` and 0.

        At most `FRESH_S` old, except for what this process saved. A version identifies one state
        and grows with each, so a state can be saved with the version it was derived from.
        """
        key = f"{self._prefix}calib:{tenant_key(tenant)}:{scope}"

        async def ask() -> tuple[bytes | None, int]:
            (value,) = await read_values(self._redis, (key,))
            return (None, _NO_VERSION) if value is None else (value[16:], int(value[:16]))

        return await self._states.get((tenant, scope), ask)

    async def save_state(self, tenant: str, scope: str, state: bytes, *, version: int) -> bool:
        """Save a state derived from that version, unless another server saved one first.

        False: one did, or the state has been dropped; `state` then returns the current one.
        """
        if len(state) > _MAX_STATE:
            raise StoreError(f"a state of {len(state)} bytes is too large; {_MAX_STATE} are kept")
        words = (tenant_key(tenant), scope, f"{version:016d}", state, self._bounds[2], LIFE_S)
        try:
            return bool(
                await run_script(self._save, self._prefix, *words, self._ms(), self.max_bytes or 0)
            )
        finally:  # whatever came of it, what is remembered may be old
            self._states.forget((tenant, scope))

    def forget_read(self, tenant: str, scope: str) -> None:
        """Have `state` read a scope's state anew."""
        self._states.forget((tenant, scope))

    async def add(
        self, tenant: str, scope: str, label: Mapping[str, Any], *, once: str | None = None
    ) -> str:
        """Append a label to the scope's window, dropping the oldest if it is full; return its id.

        With the same `once` in this scope it is added once within `ONCE_S`, and its id is returned
        again.
        """
        marker = self._once("label", tenant, scope, once)
        words = (
            tenant_key(tenant),
            scope,
            encode_object("a label", label, most=_MAX_LABEL),
            marker,
            ONCE_S,
        )
        bounds = (*self._bounds, LIFE_S, self._ms(), self.max_bytes or 0)
        added = await run_script(self._add, self._prefix, *words, *bounds)
        return str(added.decode())

    async def retract(self, tenant: str, scope: str, label_id: str) -> None:
        """Remove a label. A row says so to servers that have read it already."""
        if _ID.fullmatch(label_id) is None:
            raise StoreError(f"{label_id[:64]!r} is not the id of a label")
        key = f"{self._prefix}labels:{tenant_key(tenant)}:{scope}"
        await command(self._redis, "XDEL", key, label_id)
        await self.add(tenant, scope, {RETRACTS: label_id}, once=f"retract:{label_id}")

    async def window(
        self, tenant: str, scope: str, *, after: str | None = None, limit: int = WINDOW
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return up to `limit` labels of the scope with their ids, oldest first; some retract one.

        With `after`, those added since that id. Labels that have left the window meanwhile are
        missing, so a reader sees from the first id whether it has all.
        """
        if after is not None and _ID.fullmatch(after) is None:
            raise StoreError(f"{after[:64]!r} is not the id of a label")
        start = "-" if after is None else f"({after}"
        key = f"{self._prefix}labels:{tenant_key(tenant)}:{scope}"
        found = await command(self._redis, "XRANGE", key, start, "+", "COUNT", limit)
        return [(label_id.decode(), decode_object("a label", row[b"l"])) for label_id, row in found]

    async def scopes(self, tenant: str) -> list[str]:
        """Return the tenant's scopes that have labels or a state."""
        found: set[bytes] = set()
        for kind in ("windows", "calibs"):
            key = f"{self._prefix}{kind}:{tenant_key(tenant)}"
            since = f"({self._ms() - LIFE_S * 1000}"
            found.update(await command(self._redis, "ZRANGEBYSCORE", key, since, "+inf"))
        return sorted(scope.decode() for scope in found)

    async def forget_states(self, tenant: str) -> None:
        """Delete the calibration states of a tenant."""
        await run_script(self._forget, self._prefix, tenant_key(tenant), "")

    async def outlive(self, tenant: str, entry_id: str, until: float) -> None:
        """Keep an entry's record until then at least, Unix seconds: its deadline was moved.

        What it was found wrong for must not be served once its old deadline is over.
        """
        life_ms = round((until - self._now()) * 1000)
        key = self._evidence(tenant, entry_id, entry=True)
        if 0 <= await command(self._redis, "PTTL", key) < life_ms:
            await command(self._redis, "PEXPIRE", key, life_ms)
        await self.tombstones.outlive(tenant, entry_id, life_ms)

    async def adjust(
        self,
        tenant: str,
        name: str,
        *,
        wrong: float,
        right: float,
        life_s: int | None = None,
        once: str | None = None,
    ) -> bool:
        """Add to the record of an entry, which expires with it. False: there is no such entry.

        With `life_s` the name is a group's, for example, and the record lives that long. With the
        same `once` for this name it counts once within `ONCE_S`.
        """
        if not (math.isfinite(wrong) and math.isfinite(right)):
            raise StoreError(f"evidence must be finite, not {wrong} and {right}")
        marker = self._once("evidence", tenant, name, once)
        entry_id, life_ms = (name, 0) if life_s is None else ("", life_s * 1000)
        key = self._evidence(tenant, name, entry=life_s is None)
        words = (tenant, key, entry_id, life_ms, repr(wrong), repr(right), marker, ONCE_S)
        return bool(await run_script(self._adjust, self._prefix, *words))

    def keys(self, tenant: str, question_key: str, entry_id: str) -> Sequence[str]:
        """Return the keys of an entry's record: tombstone, its own counts, those of its group.

        The group is the entry's own, named by its id: nobody has compared it yet.
        """
        return (
            self.tombstones.key(tenant, question_key, entry_id),
            self._evidence(tenant, entry_id, entry=True),
            self._evidence(tenant, entry_id, entry=False),
        )

    async def past(
        self,
        tenant: str,
        question_key: str,
        refs: Sequence[tuple[str, str]],
        read: Read = NOTHING_READ,
    ) -> Mapping[str, EntryRecord]:
        """Return the record of each (entry id, group), by entry id, in one round trip at most.

        `read`: what was read of `keys`, by entry id.
        """
        own = {entry_id: read[entry_id] for entry_id, _ in refs if entry_id in read}
        lacking = [entry_id for entry_id, _ in refs if entry_id not in own]
        of_group = {entry_id: counts for entry_id, (*_, counts) in own.items()}
        groups = list(dict.fromkeys(group for _, group in refs if group not in of_group))
        keys = [key for id in lacking for key in self.keys(tenant, question_key, id)[:2]]
        keys += [self._evidence(tenant, group, entry=False) for group in groups]
        found = await read_values(self._redis, keys)
        own |= {id: found[2 * at : 2 * at + 2] for at, id in enumerate(lacking)}
        of_group |= dict(zip(groups, found[2 * len(lacking) :], strict=True))
        return {
            id: EntryRecord(
                own[id][0] is not None, _evidence(own[id][1]), _evidence(of_group[group])
            )
            for id, group in refs
        }

    async def condemned(self, tenant: str, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Return of each (question key, entry id) whether the answer is never served to it."""
        keys = [self.tombstones.key(tenant, question, entry_id) for question, entry_id in pairs]
        return [value is not None for value in await read_values(self._redis, keys)]

    async def spend(
        self,
        tenant: str,
        purpose: str,
        nanodollars: Nanodollars,
        *,
        cap: Nanodollars,
        period_s: int,
        now: float,
    ) -> bool:
        """Reserve the greatest cost of a call. False: the cap would be exceeded.

        A period begins at each multiple of `period_s`. A call that fails may have reserved: a cap
        is never exceeded, at worst not used up.
        """
        if not 0 <= nanodollars <= MAX_SPEND:
            raise StoreError(f"{nanodollars} nanodollars cannot be reserved")
        key = self._spent(tenant, purpose, period_s, now)
        # a reservation made at the end of a period is refunded in the next
        words = (nanodollars, min(cap, MAX_SPEND), 2 * period_s)
        return bool(await run_script(self._spend, key, *words))

    async def refund(
        self, tenant: str, purpose: str, nanodollars: Nanodollars, *, period_s: int, now: float
    ) -> None:
        """Return the part of a reservation that a call did not cost; `now` is that of its `spend`.

        Not to be repeated after it failed: refunded twice, it would exceed the cap.
        """
        if not 0 <= nanodollars <= MAX_SPEND:
            raise StoreError(f"{nanodollars} nanodollars cannot be given back")
        await run_script(self._refund, self._spent(tenant, purpose, period_s, now), nanodollars)

    async def spent(self, tenant: str, purpose: str, *, period_s: int, now: float) -> Nanodollars:
        """Return the amount spent or reserved in the period of `now`."""
        return int(
            await command(self._redis, "GET", self._spent(tenant, purpose, period_s, now)) or 0
        )

    def _ms(self) -> int:
        return round(self._now() * 1000)

    def _once(self, kind: str, tenant: str, name: str, once: str | None) -> str:
        if once is None:
            return ""
        digest = hashlib.sha256(f"{kind}:{len(name)}:{name}:{once}".encode()).hexdigest()[:32]
        return f"{self._prefix}once:{tenant_key(tenant)}:{digest}"

    def _evidence(self, tenant: str, name: str, *, entry: bool) -> str:
        return f"{self._prefix}{'evid' if entry else 'gevid'}:{tenant_key(tenant)}:{name}"

    def _spent(self, tenant: str, purpose: str, period_s: int, now: float) -> str:
        period = f"{len(purpose)}:{purpose}:{period_s}:{int(now // period_s)}"
        return f"{self._prefix}spend:{tenant_key(tenant)}:{period}"


def _evidence(value: bytes | None) -> tuple[float, float]:
    if value is None:
        return (0.0, 0.0)
    wrong, right = value.split()
    return (float(wrong), float(right))
