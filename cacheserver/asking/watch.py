"""The watch, built from what it looks at and by what it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cacheserver.asking.alerting import Alerting, Sources
from cacheserver.asking.delivery import Delivery, Secret
from cacheserver.asking.mail import Mailer, MailServer
from cacheserver.asking.posting import Poster
from cacheserver.asking.spending import Spending
from cacheserver.metrics import Metrics
from cacheserver.stores.alerts import AlertStore
from cacheserver.stores.budgets import BudgetStore
from cacheserver.stores.connection import Connection
from cacheserver.stores.ledger import Ledger
from cacheserver.stores.ledgersums import LedgerSums
from cacheserver.stores.tenants import Tenants
from cacheserver.types import Nanodollars


@asynccontextmanager
async def watch(
    *,
    redis: Connection,
    prefix: str,
    budgets: BudgetStore,
    ledger: Ledger,
    sums: LedgerSums,
    tenants: Tenants,
    secret: Secret,
    poster: Poster,
    mail: MailServer | None,
    sources: Sources,
    wrong_price: Nanodollars,
    metrics: Metrics,
    clock: Callable[[], float],
) -> AsyncIterator[Alerting]:
    """The watch, at work until the block ends."""
    delivery = Delivery(
        AlertStore(redis, prefix=prefix),
        poster=poster,
        mailer=None if mail is None else Mailer(mail),
        tenants=tenants,
        secret=secret,
        metrics=metrics,
        clock=clock,
    )
    alerting = Alerting(
        delivery=delivery,
        spending=Spending(sums),
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
