"""Build the queued work: batches, jobs, and questions that may wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cacheserver.batches.context import BatchContext, Intervals
from cacheserver.batches.eligibility import Series
from cacheserver.batches.jobs import Jobs
from cacheserver.batches.pending_rows import PendingRows
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.batches.work_queue import WorkQueue
from cacheserver.budgets.build import SpendLimits
from cacheserver.cache.absent import NoBudgets
from cacheserver.cache.build import Cache
from cacheserver.config.settings import Settings
from cacheserver.core.request_context import ItemEnd
from cacheserver.host import Host
from cacheserver.webhooks.build import WebhookParts


@asynccontextmanager
async def build(
    host: Host,
    cache: Cache,
    limits: SpendLimits | None,
    hooks: WebhookParts,
    pace: Intervals,
    observe: Callable[[ItemEnd], None] | None,
) -> AsyncIterator[BatchScheduler]:
    """Run the queued work until the block ends; what is left continues after the next start."""
    store, ledger, metrics = host.store, host.ledger, host.metrics
    work = WorkQueue(store.redis, prefix=store.prefix, sealer=store.sealer)
    jobs = Jobs(store.redis, prefix=store.prefix, sealer=store.sealer)

    def use(settings: Settings) -> None:
        jobs.max_bytes = settings.max_job_bytes

    host.live.settings.listen(use)
    context = BatchContext(
        jobs=jobs,
        work=work,
        service=cache.service,
        stored=cache.stored,
        learner=host.plugins.learner,
        tenants=host.tenants,
        settler=cache.settler(ledger=ledger.batch_rows),
        rows=PendingRows(
            work,
            ledger.batch_rows,
            flush=ledger.writer.flush,
            given_up=lambda: ledger.writer.overflowed,
            metrics=metrics,
        ),
        budgets=limits.budgets if limits else NoBudgets(),
        pricer=host.pricer,
        decision_log=host.answers.decision_log,
        metrics=metrics,
        headroom=host.claude.headroom,
        clock=host.clock,
        upstream=host.claude.identity,
        scale=host.answers.prior.scale,
        language=host.plugins.language,
        pace=pace,
        observe=observe,
    )
    series = Series()
    host.plugins.listeners.append(series.note)
    scheduler = BatchScheduler(
        context,
        decider=cache.decider,
        call_planner=cache.call_planner,
        answer_store=cache.service.answer_store,
        claude=host.claude,
        ready=host.answers.entries.restored.wait,
        poster=hooks.poster,
        series=series,
    )
    scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.close()
