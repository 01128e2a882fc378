"""The watch, built from what it looks at and by what it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cacheserver.alerts.delivery import Delivery, Secret
from cacheserver.alerts.monitor import AlertMonitor, Sources
from cacheserver.alerts.outbox import AlertOutbox
from cacheserver.alerts.smtp import Mailer, MailServer
from cacheserver.alerts.spend_history import SpendHistory
from cacheserver.budgets.store import BudgetStore
from cacheserver.core.types import Nanodollars
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.writer import Ledger
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import Connection
from cacheserver.tenants.store import Tenants
from cacheserver.webhooks.safe_post import Poster


@asynccontextmanager
async def watch(
    *,
    redis: Connection,
    prefix: str,
    budgets: BudgetStore,
    ledger: Ledger,
    sums: LedgerReports,
    tenants: Tenants,
    secret: Secret,
    poster: Poster,
    mail: MailServer | None,
    sources: Sources,
    wrong_price: Nanodollars,
    metrics: Metrics,
    clock: Callable[[], float],
) -> AsyncIterator[AlertMonitor]:
    """The watch, at work until the block ends."""
    delivery = Delivery(
        AlertOutbox(redis, prefix=prefix),
        poster=poster,
        mailer=None if mail is None else Mailer(mail),
        tenants=tenants,
        secret=secret,
        metrics=metrics,
        clock=clock,
    )
    alerting = AlertMonitor(
        delivery=delivery,
        spending=SpendHistory(sums),
        budgets=budgets,
        tenants=tenants,
        metrics=metrics,
        clock=clock,
        sources=sources,
        wrong_price=wrong_price,
        flush=ledger.flush,
    )
    alerting.start()
    try:
        yield alerting
    finally:
        await alerting.close()
