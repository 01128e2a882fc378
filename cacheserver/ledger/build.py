"""Builds the ledger: the record of every request, and of every call behind one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cacheserver.config.settings import Settings
from cacheserver.core.ledger_row import Row
from cacheserver.core.single_flight import end
from cacheserver.ledger import retention
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.fan_out import LedgerFanOut
from cacheserver.ledger.past_sums import PastSums
from cacheserver.ledger.prompt_cache_warmth import PromptCacheWarmth
from cacheserver.ledger.recorder import LedgerRecorder, SpendRecorder
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.retention import LedgerRetention
from cacheserver.ledger.writer import Ledger
from cacheserver.live.settings import LiveSettings
from cacheserver.observability.metrics import Metrics
from cacheserver.peers.work_lease import WorkLeases
from cacheserver.pricing.prices import Pricer
from cacheserver.storage.build import Store


@dataclass(frozen=True, slots=True)
class LedgerParts:
    """The ledger's writer, its readers, and the two ways in."""

    writer: Ledger
    reports: LedgerReports
    past: PastSums
    export: LedgerExport
    recorder: LedgerRecorder
    rows: LedgerFanOut  # requests and background calls; their costs are booked in budgets
    batch_rows: LedgerFanOut  # items of batches, whose budgets are settled as the batch ends
    spend: SpendRecorder

    def listen(self, listeners: Sequence[Callable[[Row], None]]) -> None:
        """Have `listeners` called with every row. They raise nothing and never block."""
        for listener in listeners:
            self.rows.listen(listener)
            self.batch_rows.listen(listener)


@asynccontextmanager
async def build(
    store: Store,
    leases: WorkLeases,
    live: LiveSettings,
    pricer: Pricer,
    metrics: Metrics,
    clock: Callable[[], float],
) -> AsyncIterator[LedgerParts]:
    """Yield the ledger; rows that wait are written on the way out."""
    async with AsyncExitStack() as stack:
        writer = Ledger(store.redis, prefix=store.prefix, sealer=store.sealer)
        stack.push_async_callback(writer.close)
        metrics.gauges.watch_ledger(lambda: writer.waiting)
        rows = LedgerFanOut(writer, [metrics.rows.booked])
        folder = live.base.data_dir / "ledger"
        retained = LedgerRetention(
            store.redis,
            prefix=store.prefix,
            folder=folder,
            file_days=live.base.ledger_file_days,
            damaged=metrics.swallowed,
            lease=leases.of("ledger"),
        )

        def use(settings: Settings) -> None:
            retained.max_bytes = settings.max_ledger_bytes

        live.listen(use)
        store.watch.unspilled = lambda: retained.failing
        upkeep = asyncio.create_task(
            retention.run_retention(retained, writer, metrics, clock), name="ledger:keep"
        )
        stack.push_async_callback(end, upkeep)
        reports = LedgerReports(store.redis, prefix=store.prefix)
        yield LedgerParts(
            writer=writer,
            reports=reports,
            past=PastSums(store.redis, reports, prefix=store.prefix),
            export=LedgerExport(
                store.redis, prefix=store.prefix, folder=folder, damaged=metrics.swallowed
            ),
            recorder=LedgerRecorder(pricer, PromptCacheWarmth()),
            rows=rows,
            batch_rows=LedgerFanOut(writer, [metrics.rows.booked]),
            spend=SpendRecorder(rows, pricer),
        )
