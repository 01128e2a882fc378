"""The work queue in the store: asks, the batches sent to Claude, webhooks, and the lease.

Rule: one server works at a time. It holds a lease, and each step of it names the lease's token: a
server that was held up and lost it changes nothing more (`StoreError`, code FENCED).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from cacheserver.batches import job_scripts
from cacheserver.batches.jobs import RESULTS, place_name
from cacheserver.budgets.store import account_arguments
from cacheserver.cache.budget_verdict import NOTHING, Account, Amount
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.core.times import WORK_MS
from cacheserver.storage.connection import PREFIX, Connection, command, run_script, store_errors
from cacheserver.storage.sealer import PlainSealer, Sealer, as_object

DIRECT = "direct"  # the pool of direct calls, at full price

_ASKS, _SHARES = "asks", "ask_pools"  # kinds of sealed values
_SEALED = frozenset({"asked", "body"})  # of an ask's fields

WaitKind: TypeAlias = Literal["same", "near"]  # asks the same, or something similar
State: TypeAlias = Literal["packed", "sending", "sent"]


@dataclass(frozen=True, slots=True)
class Waiter:
    """An item that waits for an ask."""

    job: str
    item: int
    kind: WaitKind

    @property
    def hold(self) -> str:
        """The id of its budget reservation: the same however often it is tried."""
        return f"{self.job}:{self.item}"

    def __str__(self) -> str:
        return f"{self.job}:{self.item}:{self.kind}"


@dataclass(frozen=True, slots=True)
class UpstreamBatch:
    """A batch at Claude, from before it is sent."""

    nonce: str
    state: State
    size: int
    share: Mapping[str, Any]  # tenant and headers of all its asks
    upstream: str | None  # its id at Claude
    at: float  # when it was about to be sent
    polls: int
    tries: int  # times it was sent, or was about to be
    cancelled: bool


@dataclass(frozen=True, slots=True)
class FinishedItem:
    """The end of an item, and its line of the results."""

    waiter: Waiter
    end: str  # of `jobs.ENDS`
    line: bytes
    tenant: str
    row_id: str = ""  # of its row; "": the ledger has it already
    row: bytes = b""


class WorkQueue:
    """The state of the queued work, and the lease to work on it."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, sealer: Sealer | None = None
    ) -> None:
        self.token = ""
        self._redis = redis
        self._sealer = sealer or PlainSealer()
        self._prefix = prefix
        script = redis.register_script
        self._lease, self._renew = script(job_scripts.LEASE), script(job_scripts.RENEW)
        self._answer, self._join = script(job_scripts.ANSWER), script(job_scripts.JOIN)
        self._sorted, self._pack = script(job_scripts.SORTED), script(job_scripts.PACK)
        self._move, self._tell = script(job_scripts.MOVE), script(job_scripts.TELL)
        self._requeue, self._leave = script(job_scripts.REQUEUE), script(job_scripts.LEAVE)

    @property
    def fence(self) -> str:
        """The token of the lease. Raises `StoreError` without one: a script asks no lease of ""."""
        if not self.token:
            raise StoreError("the lease of the batch work is lost")
        return self.token

    async def take(self, life_s: float) -> bool:
        """Take or renew the lease. False if another server has it."""
        life_ms = round(life_s * 1000)
        if self.token:
            try:
                await run_script(self._renew, self._prefix, self.token, life_ms)
                return True
            except StoreError as error:
                if "FENCED" in str(error):  # else the store is away, and the lease may be ours yet
                    self.token = ""
                raise
        # At random: a store that lost its data would give a number twice.
        token = secrets.token_hex(8)
        if await run_script(self._lease, self._prefix, "", life_ms, token):
            self.token = token
        return bool(self.token)

    async def give_back(self) -> None:
        """Release the lease."""
        token, self.token = self.token, ""
        if token:
            await run_script(self._renew, self._prefix, token, 0)

    async def open_jobs(self) -> list[str]:
        """Jobs with items that have not been looked up, oldest first."""
        return await self._texts("ZRANGE", "bt:open", 0, -1)

    async def cancelling(self) -> list[str]:
        return await self._texts("SMEMBERS", "bt:cancel")

    async def drop_open(self, id: str) -> None:
        """Remove a job from the queue: every item was looked up, or the job was deleted."""
        await run_script(self._sorted, self._prefix, self.fence, id)

    async def drop_cancelling(self, id: str) -> None:
        await command(self._redis, "SREM", f"{self._prefix}bt:cancel", id)

    async def finish_item(
        self, finished: FinishedItem, now: float, *, cursor: int | None = None
    ) -> bool:
        """End an item that waits for no ask. False if it has ended."""
        waiter, after = finished.waiter, "" if cursor is None else cursor
        line = await self._line(finished)
        words = (repr(now), waiter.job, waiter.item, after, finished.end, line)
        row = (finished.row_id, finished.row)
        return bool(await run_script(self._answer, self._prefix, self.fence, *words, *row))

    async def join(
        self,
        waiter: Waiter,
        key: str,
        *,
        pool: str,
        share: Mapping[str, Any],
        due: float,
        late: float,
        ask: Mapping[str, str | bytes | int],
        verified: bytes = b"",
        cursor: int | None = None,
    ) -> bool:
        """Have an item wait for an ask; it is created from `ask` if there is none.

        False: it is not there, and `ask` is empty. `due` and `late`: Unix seconds at which it is
        sent, and no longer waited for. `verified`: what came of asking a model about the item. What
        the item reserved (`Waiter.hold`) is the ask's from now on where this made it, and free
        where it did not.
        """
        words: list[str | bytes | int] = [
            WORK_MS,
            waiter.job,
            waiter.item,
            "" if cursor is None else cursor,
            key,
            waiter.kind,
            pool,
            round(due * 1000),
            round(late * 1000),
            await self._share(share),
            verified,
        ]
        for name, value in ask.items():
            if name in _SEALED and isinstance(value, bytes):
                value = self._sealer.seal(_ASKS, share["tenant"], f"{key}:{name}", value)
            words += (name, value)
        return int(await run_script(self._join, self._prefix, self.fence, *words)) >= 0

    async def pools(self) -> list[str]:
        return [pool for pool in await self._texts("HKEYS", "bt:pools") if pool != DIRECT]

    async def pooled(self, pool: str) -> int:
        return int(await command(self._redis, "ZCARD", f"{self._prefix}bt:pool:{pool}"))

    async def first(self, pool: str, most: int) -> list[tuple[str, float]]:
        """The asks of a pool that are due first, with their due time (Unix seconds)."""
        found = await command(
            self._redis, "ZRANGE", f"{self._prefix}bt:pool:{pool}", 0, most - 1, "WITHSCORES"
        )
        return [(key.decode(), float(due) / 1000) for key, due in _pairs(found)]

    async def forget_pool(self, pool: str) -> None:
        await command(self._redis, "HDEL", f"{self._prefix}bt:pools", pool)

    async def late(self, now: float) -> list[str]:
        """The keys of asks that are too late."""
        return await self._texts("ZRANGEBYSCORE", "bt:late", "-inf", round(now * 1000))

    async def in_time(self, key: str) -> None:
        """Stop watching an ask for lateness."""
        await command(self._redis, "ZREM", f"{self._prefix}bt:late", key)

    async def asks(self, keys: Sequence[str], *fields: str) -> list[dict[str, bytes]]:
        """Fields of asks, read in one round trip; absent ones are left out."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hmget(f"{self._prefix}bt:ask:{key}", list(fields))
                rows = await pipe.execute()
        await self._sealer.know(sealed for row in rows for sealed in row)
        return [
            {
                name: value
                for name, sealed in zip(fields, row, strict=True)
                if (value := self._sealer.opened(_ASKS, None, f"{key}:{name}", sealed)) is not None
            }
            for key, row in zip(keys, rows, strict=True)
        ]

    async def waiters(self, keys: Sequence[str]) -> list[list[Waiter]]:
        """The waiters of each of these asks, oldest first."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.lrange(f"{self._prefix}bt:wait:{key}", 0, -1)
                rows = await pipe.execute()
        return [[_waiter(each) for each in row] for row in rows]

    async def asks_of(self, id: str) -> dict[int, str]:
        """The keys of the asks that a job's items wait for, by item."""
        found = await command(self._redis, "HGETALL", f"{self._prefix}bt:asks:{id}")
        return {int(item): key.decode() for item, key in found.items()}

    async def pack(self, pool: str, nonce: str, keys: Sequence[str], now: float) -> int:
        """Make one batch of asks; return the number of asks in it."""
        words: list[str | int] = [WORK_MS, round(now * 1000), pool, nonce, *keys]
        return int(await run_script(self._pack, self._prefix, self.fence, *words))

    async def batches_due(self, now: float) -> list[str]:
        return await self._texts("ZRANGEBYSCORE", "bt:ships", "-inf", round(now * 1000))

    async def batches(self) -> list[str]:
        """The nonces of all batches under way."""
        return await self._texts("ZRANGE", "bt:ships", 0, -1)

    async def batch(self, nonce: str) -> UpstreamBatch | None:
        fields = await command(self._redis, "HGETALL", f"{self._prefix}bt:ship:{nonce}")
        if b"state" not in fields:
            return None
        await self._sealer.know([fields[b"share"]])
        share = self._sealer.read(_SHARES, None, "", fields.pop(b"share"), as_object)
        if share is None:
            return None
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return UpstreamBatch(
            nonce=nonce,
            state=_state(text["state"]),
            size=int(text["size"]),
            share=share,
            upstream=text.get("upstream"),
            at=float(text.get("at", 0)),
            polls=int(text["polls"]),
            tries=int(text["tries"]),
            cancelled="cancelled" in text,
        )

    async def load(self, nonce: str) -> list[str]:
        """The keys of a batch's asks, in the order of their custom ids."""
        return await self._texts("LRANGE", f"bt:load:{nonce}", 0, -1)

    async def move(self, batch: UpstreamBatch, *, due: float, **fields: str | int | float) -> bool:
        """Change a batch if it is still in the state it was read in. False if not."""
        words: list[str | float] = [word for pair in fields.items() for word in pair]
        due_ms = round(due * 1000)
        return bool(
            await run_script(
                self._move, self._prefix, self.fence, batch.nonce, batch.state, due_ms, *words
            )
        )

    async def finish(
        self,
        key: str,
        waiting: int,
        finished: Sequence[FinishedItem],
        now: float,
        *,
        spent: Amount = NOTHING,
        accounts: Sequence[Account] = (),
    ) -> int:
        """End the items of an ask. 0: more items joined; 1: done; 2: it was done before.

        In the same step what it held of a budget is freed, and `spent` booked there; where it held
        nothing, in `accounts`.
        """
        words: list[str | bytes | int] = [repr(now), key, waiting, spent.nano, spent.tokens]
        words += [len(accounts), *account_arguments(accounts)]
        for each in finished:
            words += (each.waiter.job, each.waiter.item, each.end, await self._line(each))
            words += (each.row_id, each.row)
        return int(await run_script(self._tell, self._prefix, self.fence, *words))

    async def requeue(self, key: str, pool: str, due: float, share: Mapping[str, Any]) -> None:
        """Put an ask back into a pool."""
        words = (key, pool, round(due * 1000), await self._share(share))
        await run_script(self._requeue, self._prefix, self.fence, *words)

    async def leave(self, finished: FinishedItem, key: str, now: float) -> bool:
        """End an item whose ask has not been sent. False if it was sent."""
        waiter = finished.waiter
        line = await self._line(finished)
        words = (repr(now), key, str(waiter), waiter.job, waiter.item, line)
        row = (finished.row_id, finished.row)
        return bool(await run_script(self._leave, self._prefix, self.fence, *words, *row))

    async def rows(self, most: int = 500) -> dict[str, bytes]:
        """Some rows that may not be in the ledger yet, by id."""
        rows = f"{self._prefix}bt:rows"
        found = await command(self._redis, "HRANDFIELD", rows, most, "WITHVALUES")
        return {id.decode(): row for id, row in _pairs(found or ())}

    async def entered(self, ids: Sequence[str]) -> None:
        """Delete rows that the ledger has."""
        if ids:
            await command(self._redis, "HDEL", f"{self._prefix}bt:rows", *ids)

    async def hooks_due(self, now: float) -> list[str]:
        return await self._texts("ZRANGEBYSCORE", "bt:hooks", "-inf", round(now * 1000))

    async def note_webhook(
        self, id: str, *, attempts: int, state: str | None, again: float | None
    ) -> None:
        """Record an attempt of a webhook; `again` is the next one's time, None: no more."""
        job, hooks = f"{self._prefix}bt:job:{id}", f"{self._prefix}bt:hooks"
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                if await self._redis.exists(job):
                    pipe.hset(job, "attempts", str(attempts))
                    if state is not None:
                        pipe.hset(job, "told", state)
                if again is None:
                    pipe.zrem(hooks, id)
                else:
                    pipe.zadd(hooks, {id: round(again * 1000)})
                await pipe.execute()

    async def _line(self, finished: FinishedItem) -> bytes:
        await self._sealer.ready(finished.tenant)
        name = place_name(finished.waiter.job, finished.waiter.item)
        return self._sealer.seal(RESULTS, finished.tenant, name, finished.line)

    async def _share(self, share: Mapping[str, Any]) -> bytes:
        """Seal the share of asks; it is copied unchanged from their pool to their batch."""
        if not share:
            return b"{}"
        await self._sealer.ready(share["tenant"])
        return self._sealer.seal(_SHARES, share["tenant"], "", orjson.dumps(share))

    async def _texts(self, verb: str, key: str, *words: str | float) -> list[str]:
        found = await command(self._redis, verb, f"{self._prefix}{key}", *words)
        return [each.decode() for each in found]


def _waiter(text: bytes) -> Waiter:
    job, item, kind = text.decode().split(":")
    return Waiter(job, int(item), "near" if kind == "near" else "same")


def _pairs(flat: Sequence[Any]) -> Sequence[tuple[bytes, Any]]:
    if flat and isinstance(flat[0], list | tuple):
        return [(key, score) for key, score in flat]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _state(text: str) -> State:
    match text:
        case "sending":
            return "sending"
        case "sent":
            return "sent"
    return "packed"


def pool_of(share: Mapping[str, Any]) -> str:
    """The name of the pool of calls that may go out in one batch."""
    return hashlib.sha256(json_text.dumps(share, sort_keys=True)).hexdigest()[:24]
