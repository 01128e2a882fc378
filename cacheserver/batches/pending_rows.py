"""Rows of items that have ended, until they are in the ledger: none is lost with a server.

Rule: a row is kept in the step that ends its item, and forgotten once the ledger has it. What a
killed server left is entered by the next one; a row counts once, however often it is entered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cacheserver.batches.work_queue import WorkQueue
from cacheserver.cache.ports import Ledger, Metrics
from cacheserver.core.errors import StoreError
from cacheserver.ledger import row_codec

_AT_ONCE = 500


class PendingRows:
    """Keeps count of rows that are on their way.

    `flush` writes them, or raises `StoreError`; `given_up`: how many the ledger had no room for.
    """

    def __init__(
        self,
        work: WorkQueue,
        ledger: Ledger,
        *,
        flush: Callable[[], Awaitable[None]],
        given_up: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._work = work
        self._ledger = ledger
        self._flush = flush
        self._given_up = given_up
        self._metrics = metrics
        self._gone = given_up()
        self._put: dict[str, None] = {}  # ids given to the ledger, in their order
        self._looked = ""  # the lease under which it was looked what others left

    def add(self, id: str) -> None:
        """A row was given to the ledger."""
        self._put[id] = None

    async def confirm(self) -> None:
        """Forget what the ledger has by now. Raises `StoreError`: then it is tried again."""
        if self._looked != self._work.token:
            await self._enter_all()
            self._looked = self._work.token
        if not self._put:
            return
        ids = list(self._put)
        await self._flush()
        if self._given_up() != self._gone:  # rows of ours may be among them: all are entered anew
            self._gone, self._looked = self._given_up(), ""
            self._put.clear()
            return
        for start in range(0, len(ids), _AT_ONCE):
            await self._forget(ids[start : start + _AT_ONCE])

    async def _enter_all(self) -> None:
        """Enter what a server before this one may have left, all of it."""
        while rows := await self._work.rows(_AT_ONCE):
            before = self._given_up()
            for id, kept in rows.items():
                row = row_codec.decode(id, kept)
                if row is None:  # of a layout that this version does not know
                    self._metrics.dropped("batch-rows")
                elif id not in self._put:
                    self._ledger.put(row)
            await self._flush()
            if self._given_up() != before:
                raise StoreError("rows of batches found no room in the ledger")
            await self._forget(list(rows))

    async def _forget(self, ids: list[str]) -> None:
        await self._work.entered(ids)
        for id in ids:
            self._put.pop(id, None)
