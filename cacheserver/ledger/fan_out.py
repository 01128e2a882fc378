"""A ledger whose rows are told to others too: every request, and every call behind it, has one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cacheserver.cache.ports import Ledger
from cacheserver.core import request_context
from cacheserver.core.ledger_row import Row


class LedgerFanOut:
    """Tells `listeners` of each row before it is written. They raise nothing and never block."""

    def __init__(self, ledger: Ledger, listeners: Sequence[Callable[[Row], None]] = ()) -> None:
        self._ledger = ledger
        self._listeners = listeners

    def put(self, row: Row) -> asyncio.Event:
        seen = request_context.current()
        # Not of work that a request left behind: that has rows of its own.
        if seen is not None and seen.decision_id == row.id:
            seen.row = row
        for listener in self._listeners:
            listener(row)
        return self._ledger.put(row)

    async def written(self, done: asyncio.Event) -> None:
        await self._ledger.written(done)
