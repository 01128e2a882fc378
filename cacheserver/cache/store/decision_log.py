"""The decision log and the statistics, written behind the answers.

`record` only buffers. A task writes the buffer every few milliseconds, in one command: a write for
each record would double the cost of a hit. A second later, or before anybody reads, a script stores
each decision under its key and adds to the statistics: some 20 commands and one for each decision.
A write of unknown outcome is repeated, and counts once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from cacheserver.cache.store import entry_scripts
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.storage.connection import PREFIX, Connection, command, run_script, store_errors
from cacheserver.storage.delayed_task import DelayedTask, wait_for_event
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.sealer import PlainSealer, Sealer, as_object

KIND = "decisions"  # kind of sealed values
DECISION_S = 86_400  # a decision can be looked up for a day
NEAR = 1_000  # last decisions of a tenant that depended on a similarity: a what-if replays them
_COUNTS_S = 3_600  # how long the name of counts is remembered: far longer than its retries
_FOLDED = 200  # records of one script: some 300 kB, 2 ms
_FOLD_S, _FOLD_RECORDS = 1.0, 500
# What a killed server loses at most; a single client's hits come 5 to 10 in that time.
_GATHER_S = 0.005
_AT_ONCE = 200  # decisions read by one command, some 300 kB
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0  # between attempts while the store is away

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Recorded:
    """A decision that is not written yet."""

    tenant: str
    id: str
    decision: Mapping[str, Any]
    deltas: Counter[str]


@dataclass(slots=True)
class _Batch:
    """Records that are written together: decisions by key, and counts alone by tenant."""

    name: str = field(default_factory=lambda: secrets.token_hex(12))
    decisions: dict[str, _Recorded] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.decisions or self.counts or self.waiters)


class DecisionLog:
    """Records decisions and statistics; `limit` bounds each of the two while the store is away.

    Decisions take `max_bytes` in the store; beyond it the oldest go before their day is over.
    `read` decodes one; what it raises `ValueError` for is absent, and counted.
    """

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str = PREFIX,
        limit: int = 10_000,
        max_bytes: int | None = None,
        sealer: Sealer | None = None,
        read: Callable[[bytes], dict[str, Any]] = as_object,
    ) -> None:
        self.overflowed = 0  # decisions and tenants' counts that were given up
        self.crowded_out = 0  # decisions that made room for newer ones
        self.failures = 0  # attempts to write that failed
        self._prefix = prefix
        self._limit = limit
        self._max_bytes = max_bytes
        self._redis = redis
        self._sealer = sealer or PlainSealer()
        self._decode = read
        self._fold = redis.register_script(entry_scripts.FOLD_DECISIONS)
        self._to_fold = 0  # records written since the last fold
        self._folding = DelayedTask(
            self.fold, delay_s=_FOLD_S, name="store:journal-fold", failed=self._note_failure
        )
        self._next = _Batch()
        self._sending: _Batch | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._closed = False

    def record(
        self,
        tenant: str,
        decision_id: str,
        decision: Mapping[str, Any],
        deltas: Mapping[str, int],
    ) -> None:
        """Buffer a decision, in place of an earlier one with its id, and add to the statistics.

        A decision that is replaced once it was written is not added again. `decision` must not
        change afterwards. Never blocks and never fails: where the buffer is full, the oldest
        decision is given up, and counted; what it adds to the statistics is not.
        """
        if self._closed:
            self.overflowed += 1
            return
        decisions = self._next.decisions
        key = self._decision_key(tenant, decision_id)
        added = Counter({name: delta for name, delta in deltas.items() if delta})
        if (before := decisions.pop(key, None)) is not None:
            added.update(before.deltas)
        decisions[key] = _Recorded(tenant, decision_id, decision, added)
        if len(decisions) > self._limit:
            oldest = decisions.pop(next(iter(decisions)))
            self.overflowed += 1
            self._add(oldest.tenant, oldest.deltas)
        self._start()

    def count(self, tenant: str, deltas: Mapping[str, int]) -> None:
        """Add to the statistics alone. Never blocks and never fails, as `record`."""
        if self._closed:
            self.overflowed += 1
            return
        self._add(tenant, deltas)
        self._start()

    async def decision(self, tenant: str, decision_id: str) -> dict[str, Any] | None:
        """Return the decision `tenant` got under that id, within the last day at most."""
        key = self._decision_key(tenant, decision_id)
        for batch in (self._next, self._sending):
            if batch is not None and key in batch.decisions:
                return dict(batch.decisions[key].decision)
        stored = await command(self._redis, "GET", key)
        if stored is None:  # perhaps recorded by another server a moment ago
            await self.fold()
            stored = await command(self._redis, "GET", key)
        await self._sealer.know([stored])
        return self._sealer.read(KIND, tenant, decision_id, stored, self._decode)

    async def near(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's last `NEAR` decisions that turned on a similarity, the newest first.

        Raises `StoreError`.
        """
        await self.flush()
        listed = await command(self._redis, "LRANGE", self._near_key(tenant), 0, NEAR - 1)
        keys = list(dict.fromkeys(listed))  # one that was recorded twice stands there twice
        found: list[dict[str, Any]] = []
        ids_at = len(self._decision_key(tenant, "").encode())
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            values = await command(self._redis, "MGET", *some)
            await self._sealer.know(values)
            ids = [key[ids_at:].decode() for key in some]
            read = [
                self._sealer.read(KIND, tenant, id, value, self._decode)
                for id, value in zip(ids, values, strict=True)
            ]
            found += [record for record in read if record is not None]
        return found

    async def stats(self, tenant: str | None) -> dict[str, int]:
        """Return the sums of all deltas so far, of one tenant or of all. Raises `StoreError`."""
        await self.flush()
        sums = await command(self._redis, "HGETALL", self._stats_key(tenant))
        return {name.decode(): int(value) for name, value in sums.items()}

    async def flush(self) -> None:
        """Return once all that was recorded is stored, and counts.

        Raises `StoreError` if an attempt fails.
        """
        if self._next or self._sending is not None:
            waiter = asyncio.get_running_loop().create_future()
            # behind a batch on its way there is always a next one, so its waiters cover both
            self._next.waiters.append(waiter)
            self._hurry.set()
            self._start()
            await waiter
        await self.fold()

    async def fold(self) -> None:
        """Fold all records in the store, also those of a server that was killed.

        Raises `StoreError`.
        """
        most = self._max_bytes or 0
        words = (self._prefix, _FOLDED, DECISION_S, most, NEAR, _COUNTS_S)
        self._to_fold = 0
        while True:
            records, dropped = await run_script(self._fold, *words)
            self.crowded_out += dropped
            if records < _FOLDED:
                return

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Write what is left, for `patience_s` at most. Later records are dropped and counted."""
        self._closed = True
        if self._task is not None:
            self._hurry.set()
            await asyncio.wait({self._task}, timeout=patience_s)
            await end(self._task)
            self._task = None
        self._fail_waiters(StoreError("the decision log is closed"))
        left = [batch for batch in (self._sending, self._next) if batch]
        lost = sum(len(batch.decisions) for batch in left if batch is not None)
        await self._folding.close(patience_s=patience_s)
        if lost:
            self.overflowed += lost
            log.error("%d decisions could not be written", lost)

    def _add(self, tenant: str, deltas: Mapping[str, int]) -> None:
        counts = self._next.counts
        if tenant in counts or len(counts) < self._limit:
            counts.setdefault(tenant, Counter()).update(deltas)
        else:
            self.overflowed += 1

    def _note_failure(self, error: StoreError) -> None:
        self.failures += 1
        log.warning("the journal could not be written: %s", error)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="store:journal")

    async def _write_all(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._next or self._sending is not None:
            if self._sending is None:
                if not self._next.waiters and not self._closed:  # nobody waits for it
                    self._hurry.clear()
                    await wait_for_event(self._hurry, _GATHER_S)
                self._sending, self._next = self._next, _Batch()
            try:
                if self._sending.decisions or self._sending.counts:
                    await self._send(self._sending)
            except StoreError as error:
                self._fail_waiters(error)
                self._note_failure(error)
                self._hurry.clear()
                if self._closed:
                    pause_s = _FIRST_PAUSE_S
                await wait_for_event(self._hurry, pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            for waiter in self._sending.waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._sending = None
            pause_s = _FIRST_PAUSE_S

    async def _send(self, batch: _Batch) -> None:
        await self._sealer.ready(*{one.tenant for one in batch.decisions.values()})
        records = [
            _record(f"+{batch.name}.{number}", tenant, False, deltas)
            for number, (tenant, deltas) in enumerate(batch.counts.items())
        ]
        for one in batch.decisions.values():
            tenant, value = tenant_key(one.tenant), _dumped(one.decision)
            if value is None:
                self.overflowed += 1
                records.append(_record(f"+{batch.name}.{one.id}", one.tenant, False, one.deltas))
                continue
            near = tenant if _came_near(one.decision) else False
            sealed = self._sealer.seal(KIND, one.tenant, one.id, value)
            records.append(_record(f"{tenant}:{one.id}", one.tenant, near, one.deltas) + sealed)
        key = f"{self._prefix}dp"
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for start in range(0, len(records), _AT_ONCE):
                    pipe.rpush(key, *records[start : start + _AT_ONCE])
                if self._to_fold == 0:  # perhaps a new list
                    pipe.expire(key, DECISION_S)
                await pipe.execute()
        self._to_fold += len(records)
        self._folding.start(now=self._to_fold >= _FOLD_RECORDS)

    def _fail_waiters(self, error: StoreError) -> None:
        for batch in (self._sending, self._next):
            if batch is None:
                continue
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_exception(StoreError(*error.args))
            batch.waiters.clear()

    def _decision_key(self, tenant: str, decision_id: str) -> str:
        # the length keeps a tenant from spelling another one's key in the id it asks for
        return f"{self._prefix}d:{tenant_key(tenant)}:{decision_id}"

    def _near_key(self, tenant: str) -> str:
        return f"{self._prefix}near:{tenant_key(tenant)}"

    def _stats_key(self, tenant: str | None) -> str:
        return f"{self._prefix}stats" if tenant is None else f"{self._prefix}stats:{tenant}"


def _came_near(decision: Mapping[str, Any]) -> bool:
    """Return whether a decision depended on the similarity of a stored question."""
    shown = decision.get("decision")
    if not isinstance(shown, Mapping) or shown.get("kind") not in ("semantic", "miss"):
        return False
    return shown.get("similarity") is not None


def _record(name: str, tenant: str, near: str | bool, deltas: Mapping[str, int]) -> bytes:
    return orjson.dumps([name, tenant, near, deltas]) + b"\n"


def _dumped(decision: Mapping[str, Any]) -> bytes | None:
    try:
        return orjson.dumps(decision)
    except TypeError:  # a value JSON does not know: one decision is lost, not the batch with it
        return None


def record_of(plain: bytes) -> dict[str, Any]:
    """Decode a stored decision. Raises `ValueError` if it is none."""
    found = as_object(plain, "id", "at", "scope", "outcome", "decision")
    if not isinstance(found["decision"], dict) or "kind" not in found["decision"]:
        raise ValueError("a record without a decision")
    return found
