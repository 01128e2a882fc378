"""Batches at Claude, from the pool of asks to the results.

Rule: a batch is stored before it is sent. Claude's API has no idempotency key for batches, so each
carries a nonce in its custom ids: after a call of unknown outcome (a crash, a lost connection) the
account's batches are searched for it before anything is sent again.
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
from cacheserver.batches.work_queue import UpstreamBatch, pool_of
from cacheserver.claude.upstream import Call, Reply
from cacheserver.core import json_text
from cacheserver.core.errors import UpstreamError

logger = logging.getLogger(__name__)

_MOST = 10_000  # asks of one batch: packing them blocks the store for some 50 ms
_MAX_BYTES = 128 * 1024 * 1024  # half of Claude's limit; all of it is in memory while it is sent
_READ = 200  # asks read in one round trip
_SKEW_S = 300  # between Claude's clock and ours
_PAGES = 20  # of the account's batches, a hundred each, that are searched for a lost one
_RETRY_S, _LONGEST_RETRY_S = 10.0, 600.0  # after a refusal

_REFUSED = frozenset({401, 402, 403, 429, 529})  # nothing was created; later it may be
_UNKNOWN = 500  # from this status on the batch may have been created


class Claude(Protocol):
    async def create_batch(self, call: Call) -> Reply: ...
    async def forward(self, method: str, path: str, query: str, call: Call) -> Reply: ...
    def batch_lines(self, batch_id: str, call: Call) -> AsyncGenerator[bytes, None]: ...


class Submitter:
    """Packs, sends, finds, polls and reads batches."""

    def __init__(self, context: BatchContext, claude: Claude, collector: Collector) -> None:
        self._context = context
        self._claude = claude
        self._collector = collector

    async def pack(self) -> None:
        """Make batches of the asks in pools that are due."""
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
        """Do the next step of each batch that is due."""
        for nonce in await self._context.work.batches_due(self._context.clock()):
            batch = await self._context.work.batch(nonce)
            if batch is None:
                continue
            await self._context.attempt("batch-tend", self._step(batch))

    async def _step(self, batch: UpstreamBatch) -> None:
        try:
            await self._advance(batch)
        except UpstreamError:
            due = self._context.clock() + self._pause_s(batch)
            await self._context.work.move(batch, due=due, polls=batch.polls + 1)
            raise

    async def _advance(self, batch: UpstreamBatch) -> None:
        match batch.state:
            case "packed":
                await self._send(batch)
            case "sending":
                await self._seek(batch)
            case "sent":
                await self._poll(batch)

    async def cancel(self, batch: UpstreamBatch) -> None:
        """Cancel a batch at Claude, once."""
        if batch.state != "sent" or batch.cancelled:
            return
        path = f"/v1/messages/batches/{batch.upstream}/cancel"
        reply = await self._claude.forward("POST", path, "", _call(batch))
        if reply.status < _UNKNOWN:  # a 400: it has just ended, and its results follow
            await self._context.work.move(batch, due=self._context.clock(), cancelled=1)

    async def _send(self, batch: UpstreamBatch) -> None:
        context = self._context
        body = await self._body(batch)
        context.check_lease()
        now = context.clock()
        if not await context.work.move(
            batch,
            due=now + context.pace.settle_s,
            state="sending",
            at=repr(now),
            tries=batch.tries + 1,
        ):
            return
        sending = await context.work.batch(batch.nonce)
        context.check_lease()  # a delay may have cost the lease
        if sending is None:
            return
        try:
            reply = await self._claude.create_batch(_call(batch, body))
        except UpstreamError as error:
            await self._creation_failed(sending, error)
            return
        made = results.object_of(reply.body).get("id")
        if isinstance(made, str):
            due = now + context.pace.poll_first_s
            await context.work.move(sending, due=due, state="sent", upstream=made, polls=0)

    async def _creation_failed(self, batch: UpstreamBatch, error: UpstreamError) -> None:
        context, now = self._context, self._context.clock()
        if error.status in _REFUSED or error.reason is not None:
            wait_s = min(_RETRY_S * 2 ** (batch.tries - 1), _LONGEST_RETRY_S)
            await context.work.move(batch, due=now + wait_s, state="packed")
        elif error.status < _UNKNOWN:
            result = results.as_result(error.body)
            for key in await context.work.load(batch.nonce):
                await self._collector.take_failure(key, "errored", result)
        else:
            logger.warning("creating a batch failed with %d; searching for it", error.status)
            context.metrics.swallowed("batch-create")

    async def _body(self, batch: UpstreamBatch) -> bytes:
        """Encode a batch as the body of Claude's API."""
        context, requests = self._context, []
        keys = await context.work.load(batch.nonce)
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
                    name = _custom_id(batch.nonce, place).encode()
                    requests.append(b'{"custom_id":"' + name + b'","params":' + raw + b"}")
        return b'{"requests":[' + b",".join(requests) + b"]}"

    async def _seek(self, batch: UpstreamBatch) -> None:
        """Search for a batch that may or may not have been created."""
        context, now = self._context, self._context.clock()
        undecided = False
        async for listed in self._listed(batch):
            if listed.get("processing_status") != "ended":
                undecided = True  # its custom ids are visible in its results only
            elif await self._carries(str(listed["id"]), batch):
                await context.work.move(
                    batch, due=now, state="sent", upstream=str(listed["id"]), polls=0
                )
                return
        if not undecided and now - batch.at >= context.pace.settle_s:
            await context.work.move(batch, due=now, state="packed")
        else:
            await context.work.move(batch, due=now + self._pause_s(batch), polls=batch.polls + 1)

    async def _listed(self, batch: UpstreamBatch) -> AsyncIterator[Mapping[str, Any]]:
        """The account's batches of this age and size that are not known as others of ours."""
        others = {one.upstream for one in await self._others()}
        after = ""
        for _ in range(_PAGES):
            reply = await self._claude.forward(
                "GET", "/v1/messages/batches", f"limit=100{after}", _call(batch)
            )
            if reply.status != 200:
                raise UpstreamError(reply.status, reply.body)
            page = results.object_of(reply.body)
            listed = [b for b in page.get("data") or () if isinstance(b, dict) and b.get("id")]
            for one in listed:
                if _created(one) < batch.at - _SKEW_S:
                    return
                counts = one.get("request_counts") or {}
                if one["id"] not in others and sum(counts.values()) == batch.size:
                    yield one
            if not page.get("has_more") or not listed:
                return
            after = f"&after_id={listed[-1]['id']}"

    async def _others(self) -> list[UpstreamBatch]:
        batches = [
            await self._context.work.batch(nonce) for nonce in await self._context.work.batches()
        ]
        return [batch for batch in batches if batch is not None and batch.upstream is not None]

    async def _carries(self, batch_id: str, batch: UpstreamBatch) -> bool:
        """Return whether an ended batch has this nonce, by its first result."""
        async with aclosing(self._lines(batch_id, batch)) as found:
            async for line in found:
                name = line.get("custom_id")
                return isinstance(name, str) and name.startswith(_custom_id(batch.nonce, 0)[:-1])
        return False

    async def _poll(self, batch: UpstreamBatch) -> None:
        context, now = self._context, self._context.clock()
        path = f"/v1/messages/batches/{batch.upstream}"
        reply = await self._claude.forward("GET", path, "", _call(batch))
        if reply.status == 404:
            await self._vanished(batch)
        elif (
            reply.status == 200
            and results.object_of(reply.body).get("processing_status") == "ended"
        ):
            try:
                await self._unload(batch)
            except UpstreamError as error:
                if error.status != 404:
                    raise
                await self._vanished(batch)  # Claude deletes results after a time
        else:
            await context.work.move(batch, due=now + self._pause_s(batch), polls=batch.polls + 1)

    async def _unload(self, batch: UpstreamBatch) -> None:
        """Take every result, one line in memory at a time."""
        context = self._context
        keys = await context.work.load(batch.nonce)
        mine = _custom_id(batch.nonce, 0)[:-1]
        async with aclosing(self._lines(batch.upstream or "", batch)) as found:
            async for line in found:
                name = str(line.get("custom_id"))
                place = name.removeprefix(mine)
                if name.startswith(mine) and place.isdecimal() and int(place) < len(keys):
                    context.check_lease()
                    await self._take_result(keys[int(place)], line.get("result"), batch)
        left = results.errored("api_error", "the batch's results have no result for this request")
        await self._lost(batch, keys, left)

    async def _vanished(self, batch: UpstreamBatch) -> None:
        logger.warning("Claude no longer has a batch; its items end as errored")
        self._context.metrics.swallowed("batch-vanished")
        gone = results.errored(
            "not_found_error", "Claude no longer has the batch; send this request again"
        )
        await self._lost(batch, await self._context.work.load(batch.nonce), gone)

    async def _lost(self, batch: UpstreamBatch, keys: Sequence[str], result: bytes) -> None:
        """End the asks whose results are missing; Claude may have billed them."""
        left = await self._context.work.asks(keys, "ship")
        for key, row in zip(keys, left, strict=True):
            if row.get("ship") == batch.nonce.encode():
                await self._collector.take_failure(key, "errored", result, billed=True)

    async def _take_result(self, key: str, result: Any, batch: UpstreamBatch) -> None:
        match result:
            case {"type": "succeeded", "message": dict(message)}:
                await self._collector.take_message(key, message, batch.at)
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
        """End the items of cancelled jobs; ask again for the others."""
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

    async def _lines(
        self, batch_id: str, batch: UpstreamBatch
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        async with aclosing(self._claude.batch_lines(batch_id, _call(batch))) as found:
            async for line in found:
                if line.strip():
                    yield results.object_of(line)

    def _pause_s(self, batch: UpstreamBatch) -> float:
        pace = self._context.pace
        return schedule.next_poll_s(
            batch.polls,
            random.random(),
            first_s=pace.poll_first_s,
            longest_s=pace.poll_longest_s,
        )


def _custom_id(nonce: str, place: int) -> str:
    return f"cs{nonce}-{place}"


def _call(batch: UpstreamBatch, body: bytes = b"") -> Call:
    return Call(body, batch.share["headers"], tenant=batch.share["tenant"], background=True)


def _created(batch: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(str(batch.get("created_at"))).timestamp()
    except ValueError:
        return float("inf")
