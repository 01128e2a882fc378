"""Direct calls for queued work that cannot wait: as for any request, at full price."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace

from cacheserver.batches import results
from cacheserver.batches.collect import Collector
from cacheserver.batches.context import BatchContext
from cacheserver.batches.work_queue import DIRECT
from cacheserver.core.errors import CallerError, StoreError, UpstreamError
from cacheserver.core.money import nanodollars
from cacheserver.core.single_flight import end
from cacheserver.core.types import Miss

logger = logging.getLogger(__name__)

_AT_ONCE = 8  # of the 64 calls that may be in flight: live requests go first
_TRIES = 5
_RETRY_S = 10.0  # doubled each time: some five minutes in all
_LONGEST_RETRY_S = 600.0  # if Claude is not asked: each refusal is a row in the ledger


class Direct:
    """Calls Claude for the asks that are due, each in its own task: none delays another.

    A server that is killed while Claude answers repeats the call after its start: Claude's API
    offers no way to find an ordinary call.
    """

    def __init__(self, context: BatchContext, collector: Collector) -> None:
        self._context = context
        self._collector = collector
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failures: Counter[str] = Counter()
        self._verification: Counter[str] = Counter()  # nanodollars that failed tries spent on it
        self._refused: Counter[str] = Counter()

    async def start(self) -> None:
        """Start the asks that are due and not under way."""
        now = self._context.clock()
        for key, due in await self._context.work.first(DIRECT, _AT_ONCE * 4):
            if due > now or len(self._running) >= _AT_ONCE:
                return
            if key not in self._running:
                task = asyncio.create_task(self._ask(key), name=f"batch:direct:{key[:16]}")
                self._running[key] = task

    async def close(self) -> None:
        for task in list(self._running.values()):
            await end(task)

    async def _ask(self, key: str) -> None:
        context = self._context
        try:
            _, items = await self._collector.items(key)
            first = next((item for item in items if item.waiter.kind == "same"), None)
            if first is None:  # all items have ended meanwhile
                await self._collector.take_failure(key, "canceled", results.CANCELED)
                return
            try:
                answer = await context.service.answer(replace(first.query, background=True))
            except (UpstreamError, CallerError) as error:
                await self._failed(key, error)
            else:
                await self._collector.take_answer(key, answer, verification=self._verification[key])
                self._forget(key)
        except StoreError:
            context.metrics.swallowed("batch-direct")
        except Exception as error:  # the task boundary: the next round tries again
            context.metrics.swallowed("batch-direct")
            logger.error("a direct call of the batch work failed: %s", type(error).__name__)
        finally:
            self._running.pop(key, None)

    async def _failed(self, key: str, error: UpstreamError | CallerError) -> None:
        """Retry later if that may help; else end the items with Claude's error or our refusal."""
        context = self._context
        cost = error.headers.get("x-cost-usd")  # of a failed request: of its verification
        self._verification[key] += 0 if cost is None else nanodollars(cost)
        if isinstance(error, UpstreamError) and error.reason is not None:
            # Claude was not asked, so it does not count as a try: the ask waits while that lasts.
            wait_s = min(_RETRY_S * 2 ** self._refused[key], _LONGEST_RETRY_S)
            self._refused[key] += 1
            await context.work.requeue(key, DIRECT, context.clock() + wait_s, {})
            return
        self._failures[key] += 1
        if refused := isinstance(error, CallerError):  # a budget, which may have room later
            passing = error.headers.get("x-should-retry") == "true"
            result = results.errored(error.type, error.message)
        else:
            passing = error.status >= 500 or error.status == 429
            result = results.as_result(error.body)
        if passing and self._failures[key] < _TRIES:
            wait_s = _RETRY_S * 2 ** (self._failures[key] - 1)
            await context.work.requeue(key, DIRECT, context.clock() + wait_s, {})
            return
        counted: str | None = None
        decision: Miss | None = None
        if (id := error.headers.get("x-cache-decision")) is not None:
            counted = id
            decision = Miss("budget") if refused else None
        await self._collector.take_failure(
            key,
            "errored",
            result,
            counted=counted,
            verification=None if cost is None else self._verification[key],
            decision=decision,
        )
        self._forget(key)

    def _forget(self, key: str) -> None:
        for counts in (self._failures, self._refused, self._verification):
            counts.pop(key, None)
