"""Ledger rows of finished items, stored until the ledger has them: no crash loses one.

Rule: a row is stored in the step that ends its item, and deleted once the ledger has it. The rows
that a killed server left are entered by the next one; a row entered twice counts once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cacheserver.batches.work_queue import WorkQueue
from cacheserver.cache.ports import Ledger, Metrics
from cacheserver.core.errors import StoreError
from cacheserver.storage import stored_row

_AT_ONCE = 500


class PendingRows:
    """Tracks rows until the ledger has them.

    `flush` writes them, or raises `StoreError`; `given_up` counts those the ledger dropped.
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
        self._put: dict[str, None] = {}  # ids handed to the ledger, in order
        self._looked = ""  # the lease under which the rows of earlier servers were entered

    def add(self, id: str) -> None:
        """Track a row that was handed to the ledger."""
        self._put[id] = None

    async def confirm(self) -> None:
        """Delete the rows that the ledger has. Raises `StoreError`; the next call tries again."""
        if self._looked != self._work.token:
            await self._enter_all()
            self._looked = self._work.token
        if not self._put:
            return
        ids = list(self._put)
        await self._flush()
        if self._given_up() != self._gone:  # some may be ours: all are entered again
            self._gone, self._looked = self._given_up(), ""
            self._put.clear()
            return
        for start in range(0, len(ids), _AT_ONCE):
            await self._forget(ids[start : start + _AT_ONCE])

    async def _enter_all(self) -> None:
        """Enter all rows that a previous server may have left."""
        while rows := await self._work.rows(_AT_ONCE):
            before = self._given_up()
            for id, packed in rows.items():
                row = stored_row.decode(id, packed)
                if row is None:  # of a layout that this version does not know
                    self._metrics.dropped("batch-rows")
                elif id not in self._put:
                    self._ledger.append(row)
            await self._flush()
            if self._given_up() != before:
                raise StoreError("the ledger has no room for the rows of batches")
            await self._forget(list(rows))

    async def _forget(self, ids: list[str]) -> None:
        await self._work.entered(ids)
        for id in ids:
            self._put.pop(id, None)
