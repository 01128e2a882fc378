"""A ledger that also passes each row to listeners, such as metrics and telemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cacheserver.cache.ports import Ledger
from cacheserver.core import request_context
from cacheserver.core.ledger_row import Row
from cacheserver.storage.stored_row import Details


class LedgerFanOut:
    """Ledger that passes each row to `listeners` first. They raise nothing and never block."""

    def __init__(self, ledger: Ledger, listeners: Sequence[Callable[[Row], None]] = ()) -> None:
        self._ledger = ledger
        self._listeners = list(listeners)

    def listen(self, listener: Callable[[Row], None]) -> None:
        """Have `listener` called with each row from now on. It raises nothing and never blocks."""
        self._listeners.append(listener)

    def append(self, row: Row, details: Details | None = None) -> asyncio.Event:
        context = request_context.current()
        # Background work started by a request has rows of its own.
        if context is not None and context.decision_id == row.id:
            context.row = row
        for listener in self._listeners:
            listener(row)
        return self._ledger.append(row, details)

    def replace(self, row: Row, details: Details) -> asyncio.Event:
        return self._ledger.replace(row, details)  # the listeners have had the row

    async def written(self, done: asyncio.Event) -> None:
        await self._ledger.written(done)
