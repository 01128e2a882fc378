"""The decision log and the statistics.

Decisions come with the rows of the ledger (`storage.stored_row`). Here they are read, and bounded
by the bytes that they take; and here is counted what is no request. `count` only buffers: a task
writes the buffer every few milliseconds, in one command, and a script adds it to the statistics a
second later or before anybody reads. A write of unknown outcome is repeated, and counts once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import orjson

from cacheserver.cache.ports import Records
from cacheserver.cache.store import decision_record
from cacheserver.cache.store.decision_scripts import DECISION_S, FOLD_DECISIONS, LISTED
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.storage import stored_row
from cacheserver.storage.connection import PREFIX, Connection, command, run_script, store_errors
from cacheserver.storage.delayed_task import DelayedTask, wait_for_event
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.sealer import MARK, UNDECODABLE, PlainSealer, Sealer

KIND = "decisions"  # kind of sealed values
_COUNTS_S = 3_600  # how long the name of counts is remembered: far longer than its retries
_FOLDED = 200  # records of one script: some 300 kB as an earlier version wrote them, 2 ms
_FOLD_S = 1.0
_GATHER_S = 0.005
_AT_ONCE = 200  # decisions read by one command, some 300 kB
_DECODED = 10  # at once on the event loop: half a millisecond; more of them in a thread
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0  # between attempts while the store is away

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Batch:
    """Counts by tenant that are written together."""

    name: str = field(default_factory=lambda: secrets.token_hex(12))
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.counts or self.waiters)


class DecisionLog:
    """Reader of decisions and statistics; `limit` bounds the counts while the store is away.

    `records` writes decisions. They take `max_bytes` in the store; beyond it the oldest go before
    their day is over. What cannot be read is absent, and counted.
    """

    def __init__(
        self,
        redis: Connection,
        records: Records,
        *,
        prefix: str = PREFIX,
        limit: int = 10_000,
        max_bytes: int | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self.overflowed = 0  # tenants' counts that were given up
        self.crowded_out = 0  # decisions that made room for newer ones
        self.failures = 0  # attempts to write that failed
        self._prefix = prefix
        self._limit = limit
        self.max_bytes = max_bytes
        self._redis = redis
        self._records = records
        self._sealer = sealer or PlainSealer()
        self._fold = redis.register_script(FOLD_DECISIONS)
        self._folding = DelayedTask(
            self.fold, delay_s=_FOLD_S, name="store:journal-fold", failed=self._note_failure
        )
        self._next = _Batch()
        self._sending: _Batch | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._closed = False

    def count(self, tenant: str, deltas: Mapping[str, int]) -> None:
        """Add to the statistics. Never blocks and never fails: what does not fit is counted."""
        if self._closed:
            self.overflowed += 1
            return
        self._add(tenant, deltas)
        self._start()

    async def decision(self, tenant: str, decision_id: str) -> dict[str, Any] | None:
        """Return the decision `tenant` got under that id, within the last day at most.

        Raises `StoreError`.
        """
        if (queued := self._records.queued(decision_id)) is not None:
            row, details = queued
            if row.tenant != tenant or details is None:
                return None
            return decision_record.decode(row, details.plain)
        key = self._decision_key(tenant, decision_id)
        stored = await command(self._redis, "GET", key)
        if stored is None:  # perhaps recorded a moment ago
            waits = await command(self._redis, "HGET", f"{self._prefix}lp", decision_id)
            if waits is not None and stored_row.parted(waits).details is not None:
                stored = waits
        if stored is None:  # or folded meanwhile
            stored = await command(self._redis, "GET", key)
        if stored is None and await command(self._redis, "EXISTS", f"{self._prefix}dp"):
            await self.fold()
            stored = await command(self._redis, "GET", key)
        (found,) = await decode(self._sealer, tenant, [(decision_id, stored)])
        return found

    async def near(self, tenant: str) -> list[dict[str, Any]]:
        """The tenant's last `LISTED` decisions that turned on a similarity, the newest first.

        Raises `StoreError`.
        """
        records = await self.decoded(tenant, await self.near_stored(tenant))
        return [record for record in records if record is not None]

    async def near_stored(self, tenant: str) -> list[tuple[str, bytes]]:
        """Return the same by id, as they are stored: `decoded` reads them. Raises `StoreError`."""
        await self.flush()
        listed = await command(self._redis, "LRANGE", self._near_key(tenant), 0, LISTED - 1)
        keys = list(dict.fromkeys(listed))  # one that was recorded twice stands there twice
        ids_at = len(self._decision_key(tenant, "").encode())
        found: list[tuple[str, bytes]] = []
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            values = await command(self._redis, "MGET", *some)
            found += [
                (key[ids_at:].decode(), value)
                for key, value in zip(some, values, strict=True)
                if value is not None
            ]
        return found

    async def decoded(
        self, tenant: str, named: Sequence[tuple[str, bytes]]
    ) -> list[dict[str, Any] | None]:
        """Return decisions by ids and stored values, None for what cannot be read."""
        found: list[dict[str, Any] | None] = []
        for start in range(0, len(named), _AT_ONCE):
            found += await decode(self._sealer, tenant, named[start : start + _AT_ONCE])
        return found

    async def near_counts(self, tenants: Sequence[str]) -> list[int]:
        """Return how many decisions `near` has of each tenant at most. Raises `StoreError`."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for tenant in tenants:
                    pipe.llen(self._near_key(tenant))
                return [min(LISTED, int(count)) for count in await pipe.execute()]

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
        await self._records.flush()
        await self.fold()

    async def fold(self) -> None:
        """Add all counts in the store, also those of a server that was killed, and drop decisions.

        Raises `StoreError`.
        """
        more = 1
        while more:
            more, dropped = await run_script(
                self._fold, self._prefix, _FOLDED, self.max_bytes or 0, _COUNTS_S
            )
            self.crowded_out += dropped

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
        lost = sum(len(batch.counts) for batch in left if batch is not None)
        await self._folding.close(patience_s=patience_s)
        if lost:
            self.overflowed += lost
            log.error("the counts of %d tenants could not be written", lost)

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
                if self._sending.counts:
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
        key = f"{self._prefix}dp"
        records = [
            orjson.dumps([f"+{batch.name}.{number}", tenant, False, deltas]) + b"\n"
            for number, (tenant, deltas) in enumerate(batch.counts.items())
        ]
        for start in range(0, len(records), _AT_ONCE):
            await command(self._redis, "RPUSH", key, *records[start : start + _AT_ONCE])
        await command(self._redis, "EXPIRE", key, DECISION_S)
        self._folding.start()

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


async def read(
    redis: Connection, sealer: Sealer, tenant: str, named: Sequence[tuple[bytes, str]]
) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Return a tenant's decisions by keys and ids; None for one that cannot be read.

    Those that are gone are left out. Raises `StoreError`.
    """
    found: list[tuple[bytes, dict[str, Any] | None]] = []
    for start in range(0, len(named), _AT_ONCE):
        some = named[start : start + _AT_ONCE]
        values = await command(redis, "MGET", *(key for key, _ in some))
        by_id = [(id, value) for (_, id), value in zip(some, values, strict=True)]
        records = await decode(sealer, tenant, by_id)
        for (key, _), value, record in zip(some, values, records, strict=True):
            if value is not None:
                found.append((key, record))
    return found


async def decode(
    sealer: Sealer, tenant: str, named: Sequence[tuple[str, bytes | None]]
) -> list[dict[str, Any] | None]:
    """Return decisions by ids and stored values, None for what is absent or cannot be read."""
    run = _at_once if len(named) <= _DECODED else asyncio.to_thread
    rows, sealed = await run(_rows, tenant, named)
    for row in rows:
        if row is _TORN:
            sealer.unreadable("torn")
    await sealer.know(sealed)
    # Opened here, since the keys in memory change on the event loop only.
    plain = [
        sealer.opened(KIND, tenant, id, value) for (id, _), value in zip(named, sealed, strict=True)
    ]
    found = await run(_records, rows, plain)
    records: list[dict[str, Any] | None] = []
    for record in found:
        if record is _TORN:
            sealer.unreadable("torn")
        records.append(None if record is _TORN else record)
    return records


async def _at_once(work: Callable[..., T], *given: Any) -> T:
    return work(*given)


def _rows(
    tenant: str, named: Sequence[tuple[str, bytes | None]]
) -> tuple[list[Any], list[bytes | None]]:
    """Return the ledger's row of each value, None where it has none, and what is sealed of it."""
    rows: list[Any] = []
    sealed: list[bytes | None] = []
    for id, value in named:
        row = None
        if value is not None and not value.startswith(_EARLIER):
            packed, value, *_ = stored_row.parted(value)
            row = _decoded(partial(stored_row.decode, id, packed))
            if row is None or row is _TORN or row.tenant != tenant:
                value = None
        rows.append(row)
        sealed.append(value)
    return rows, sealed


def _records(rows: Sequence[Any], plain: Sequence[bytes | None]) -> list[Any]:
    found: list[Any] = []
    for row, value in zip(rows, plain, strict=True):
        how = partial(decision_record.decode, row) if row else decision_record.earlier
        found.append(None if value is None else _decoded(partial(how, value)))
    return found


def _decoded(how: Callable[[], Any]) -> Any:
    """Return a decoded value; `_TORN` for one that is malformed."""
    try:
        return how()
    except UNDECODABLE:
        return _TORN


_TORN: Final = object()
_EARLIER = (MARK, b"{")  # begins a record that is sealed whole, or JSON
