"""Batches of Claude's, from the pool to their results.

Rule: written down first, then sent. Claude knows no idempotency key for a batch, so each carries a
nonce in its custom ids, and after a call whose outcome nobody knows (a crash, a lost connection)
the account's batches are searched for it before anything is sent again.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Protocol

from cacheserver.batches import results, schedule
from cacheserver.batches.collect import Collector
from cacheserver.batches.context import BatchContext
from cacheserver.batches.work_queue import Ship, pool_of
from cacheserver.claude.upstream import Call, Reply
from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError

logger = logging.getLogger(__name__)

_MOST = 10_000  # asks of one batch: packing them holds the store up for some 50 ms
_MAX_BYTES = 128 * 1024 * 1024  # half of what Claude takes; all of it is in memory while it is sent
_READ = 200  # asks read in one round trip
_SKEW_S = 300  # between Claude's clock and ours
_PAGES = 20  # of the account's batches, a hundred each, that are searched for a lost one
_RETRY_S, _LONGEST_RETRY_S = 10.0, 600.0  # after a refusal

_REFUSED = frozenset({401, 402, 403, 429, 529})  # nothing was made, and another time it may be
_UNKNOWN = 500  # from here on the call may have done its work


class Claude(Protocol):
    async def create_batch(self, call: Call) -> Reply: ...
    async def forward(self, method: str, path: str, query: str, call: Call) -> Reply: ...
    def batch_lines(self, batch_id: str, call: Call) -> AsyncGenerator[bytes, None]: ...


class Submitter:
    """Packs, sends, seeks, polls and unloads batches."""

    def __init__(self, context: BatchContext, claude: Claude, collector: Collector) -> None:
        self._context = context
        self._claude = claude
        self._collector = collector

    async def pack(self) -> None:
        """Make batches of the pools that are due."""
        context = self._context
        for pool in await context.work.pools():
            while first := await context.work.first(pool, 1):
                now = context.clock()
                (ask,) = await context.work.waiters([first[0][0]])
                job = await context.jobs.find(ask[0].job) if ask else None
                tenant = await context.tenants.get(job.tenant if job else "")
                full = await context.work.pooled(pool) >= tenant.batching.flush_size
                if first[0][1] > now and not full:
                    break
                keys = [key for key, _ in await context.work.first(pool, _MOST)]
                sizes = [int(row.get("size", 0)) for row in await context.work.asks(keys, "size")]
                count = schedule.parts(sizes, most=_MOST, max_bytes=_MAX_BYTES)
                await context.work.pack(pool, secrets.token_hex(8), keys[:count], now)
            else:
                await context.work.forget_pool(pool)

    async def tend(self) -> None:
        """Take each batch that is due one step further."""
        for nonce in await self._context.work.ships_due(self._context.clock()):
            ship = await self._context.work.ship(nonce)
            if ship is None:
                continue
            await self._context.attempt("batch-tend", self._step(ship))

    async def _step(self, ship: Ship) -> None:
        try:
            await self._take_on(ship)
        except UpstreamError:
            due = self._context.clock() + self._pause_s(ship)
            await self._context.work.move(ship, due=due, polls=ship.polls + 1)
            raise

    async def _take_on(self, ship: Ship) -> None:
        match ship.state:
            case "packed":
                await self._send(ship)
            case "sending":
                await self._seek(ship)
            case "sent":
                await self._poll(ship)

    async def cancel(self, ship: Ship) -> None:
        """Have Claude answer nothing more of a batch that was sent; once."""
        if ship.state != "sent" or ship.cancelled:
            return
        path = f"/v1/messages/batches/{ship.upstream}/cancel"
        reply = await self._claude.forward("POST", path, "", _call(ship))
        if reply.status < _UNKNOWN:  # a 400: it has just ended, and its results say how
            await self._context.work.move(ship, due=self._context.clock(), cancelled=1)

    async def _send(self, ship: Ship) -> None:
        context = self._context
        body = await self._body(ship)
        context.check_lease()
        now = context.clock()
        if not await context.work.move(
            ship,
            due=now + context.pace.settle_s,
            state="sending",
            at=repr(now),
            tries=ship.tries + 1,
        ):
            return
        sending = await context.work.ship(ship.nonce)
        context.check_lease()  # held up in between, we may have company
        if sending is None:
            return
        try:
            reply = await self._claude.create_batch(_call(ship, body))
        except UpstreamError as error:
            await self._not_made(sending, error)
            return
        made = results.object_of(reply.body).get("id")
        if isinstance(made, str):
            due = now + context.pace.poll_first_s
            await context.work.move(sending, due=due, state="sent", upstream=made, polls=0)

    async def _not_made(self, ship: Ship, error: UpstreamError) -> None:
        context, now = self._context, self._context.clock()
        if error.status in _REFUSED or error.reason is not None:
            wait_s = min(_RETRY_S * 2 ** (ship.tries - 1), _LONGEST_RETRY_S)
            await context.work.move(ship, due=now + wait_s, state="packed")
        elif error.status < _UNKNOWN:
            result = results.as_result(error.body)
            for key in await context.work.load(ship.nonce):
                await self._collector.take_failure(key, "errored", result)
        else:
            logger.warning(
                "a batch's creation ended in %d; looking whether it is there", error.status
            )
            context.metrics.swallowed("batch-create")

    async def _body(self, ship: Ship) -> bytes:
        """The batch as Claude takes it."""
        context, requests = self._context, []
        keys = await context.work.load(ship.nonce)
        for start in range(0, len(keys), _READ):
            some = keys[start : start + _READ]
            rows = await context.work.asks(some, "body")
            waiters = await context.work.waiters(some)
            for place, (row, waiting) in enumerate(zip(rows, waiters, strict=True), start):
                raw = row.get("body")
                for waiter in waiting if raw is None else ():
                    (item,) = await context.jobs.items(waiter.job, [waiter.item])
                    if item is not None and waiter.kind == "same":
                        raw = item[1]
                        break
                if raw is not None:
                    name = _custom_id(ship.nonce, place).encode()
                    requests.append(b'{"custom_id":"' + name + b'","params":' + raw + b"}")
        return b'{"requests":[' + b",".join(requests) + b"]}"

    async def _seek(self, ship: Ship) -> None:
        """Look for a batch that may or may not have been made."""
        context, now = self._context, self._context.clock()
        undecided = False
        async for batch in self._listed(ship):
            if batch.get("processing_status") != "ended":
                undecided = True  # its custom ids show in its results only
            elif await self._carries(str(batch["id"]), ship):
                await context.work.move(
                    ship, due=now, state="sent", upstream=str(batch["id"]), polls=0
                )
                return
        if not undecided and now - ship.at >= context.pace.settle_s:
            await context.work.move(ship, due=now, state="packed")
        else:
            await context.work.move(ship, due=now + self._pause_s(ship), polls=ship.polls + 1)

    async def _listed(self, ship: Ship) -> AsyncIterator[Mapping[str, Any]]:
        """The account's batches that could be this one: as old, as large, and no other of ours."""
        known = {one.upstream for one in await self._others()}
        after = ""
        for _ in range(_PAGES):
            reply = await self._claude.forward(
                "GET", "/v1/messages/batches", f"limit=100{after}", _call(ship)
            )
            if reply.status != 200:
                raise UpstreamError(reply.status, reply.body)
            page = results.object_of(reply.body)
            batches = [b for b in page.get("data") or () if isinstance(b, dict) and b.get("id")]
            for batch in batches:
                if _created(batch) < ship.at - _SKEW_S:
                    return
                counts = batch.get("request_counts") or {}
                if batch["id"] not in known and sum(counts.values()) == ship.size:
                    yield batch
            if not page.get("has_more") or not batches:
                return
            after = f"&after_id={batches[-1]['id']}"

    async def _others(self) -> list[Ship]:
        ships = [await self._context.work.ship(nonce) for nonce in await self._context.work.ships()]
        return [ship for ship in ships if ship is not None and ship.upstream is not None]

    async def _carries(self, batch_id: str, ship: Ship) -> bool:
        """Whether an ended batch is the one with this nonce, by its first result."""
        async with aclosing(self._lines(batch_id, ship)) as found:
            async for line in found:
                name = line.get("custom_id")
                return isinstance(name, str) and name.startswith(_custom_id(ship.nonce, 0)[:-1])
        return False

    async def _poll(self, ship: Ship) -> None:
        context, now = self._context, self._context.clock()
        path = f"/v1/messages/batches/{ship.upstream}"
        reply = await self._claude.forward("GET", path, "", _call(ship))
        if reply.status == 404:
            await self._vanished(ship)
        elif (
            reply.status == 200
            and results.object_of(reply.body).get("processing_status") == "ended"
        ):
            try:
                await self._unload(ship)
            except UpstreamError as error:
                if error.status != 404:
                    raise
                await self._vanished(ship)  # Claude keeps results for a time only
        else:
            await context.work.move(ship, due=now + self._pause_s(ship), polls=ship.polls + 1)

    async def _unload(self, ship: Ship) -> None:
        """Tell every result, a line in memory at a time."""
        context = self._context
        keys = await context.work.load(ship.nonce)
        mine = _custom_id(ship.nonce, 0)[:-1]
        async with aclosing(self._lines(ship.upstream or "", ship)) as found:
            async for line in found:
                name = str(line.get("custom_id"))
                place = name.removeprefix(mine)
                if name.startswith(mine) and place.isdecimal() and int(place) < len(keys):
                    context.check_lease()
                    await self._told(keys[int(place)], line.get("result"), ship)
        left = results.errored("api_error", "the batch's results did not have this one")
        await self._lost(ship, keys, left)

    async def _vanished(self, ship: Ship) -> None:
        logger.warning("a batch has vanished at Claude's; its items are reported errored")
        self._context.metrics.swallowed("batch-vanished")
        gone = results.errored(
            "not_found_error", "the batch has vanished upstream; send this request again"
        )
        await self._lost(ship, await self._context.work.load(ship.nonce), gone)

    async def _lost(self, ship: Ship, keys: Sequence[str], result: bytes) -> None:
        """Tell what was answered, perhaps, and never came."""
        left = await self._context.work.asks(keys, "ship")
        for key, row in zip(keys, left, strict=True):
            if row.get("ship") == ship.nonce.encode():
                await self._collector.take_failure(key, "errored", result, billed=True)

    async def _told(self, key: str, result: Any, ship: Ship) -> None:
        match result:
            case {"type": "succeeded", "message": dict(message)}:
                await self._collector.take_message(key, message, ship.at)
            case {"type": "expired"}:
                await self._collector.take_failure(key, "expired", results.EXPIRED)
            case {"type": "canceled"}:
                await self._cancelled(key)
            case {"type": "errored"}:
                await self._collector.take_failure(key, "errored", json_text.dumps(result))
            case _:
                unknown = results.errored("api_error", "Claude sent a result of an unknown kind")
                await self._collector.take_failure(key, "errored", unknown, billed=True)

    async def _cancelled(self, key: str) -> None:
        """Cancelled for those who wanted it so; whoever still waits is asked for anew."""
        context, now = self._context, self._context.clock()
        _, items = await self._collector.items(key)
        left = [item for item in items if item.job.status != "canceling"]
        if not left:
            await self._collector.take_failure(key, "canceled", results.CANCELED)
            return
        job, query = left[0].job, left[0].query
        overdue = job.kind == "query" and (
            now >= schedule.give_up_at(job.created_at, job.deadline, query.tenant.batching)
        )
        share = {"tenant": job.tenant, "headers": dict(query.headers)}
        pool = "direct" if overdue else pool_of(share)
        await context.work.requeue(key, pool, now, share)

    async def _lines(self, batch_id: str, ship: Ship) -> AsyncGenerator[Mapping[str, Any], None]:
        async with aclosing(self._claude.batch_lines(batch_id, _call(ship))) as found:
            async for line in found:
                if line.strip():
                    yield results.object_of(line)

    def _pause_s(self, ship: Ship) -> float:
        pace = self._context.pace
        return schedule.next_poll_s(
            ship.polls,
            random.random(),
            first_s=pace.poll_first_s,
            longest_s=pace.poll_longest_s,
        )


def _custom_id(nonce: str, place: int) -> str:
    return f"cs{nonce}-{place}"


def _call(ship: Ship, body: bytes = b"") -> Call:
    return Call(body, ship.share["headers"], tenant=ship.share["tenant"], background=True)


def _created(batch: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(batch.get("created_at"))).timestamp()
    except ValueError:
        return float("inf")
