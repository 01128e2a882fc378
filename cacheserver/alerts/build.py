"""Factory of the alert monitor with its outbox and channels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cacheserver.alerts.alert_state import AlertStateStore
from cacheserver.alerts.delivery import Delivery
from cacheserver.alerts.monitor import AlertMonitor, Sources
from cacheserver.alerts.outbox import AlertOutbox
from cacheserver.alerts.smtp import Mailer, MailServer
from cacheserver.alerts.spend_history import SpendHistory
from cacheserver.budgets.store import BudgetStore
from cacheserver.calibration.build import CalibrationParts
from cacheserver.config.settings import Settings
from cacheserver.conversations.build import Conversations
from cacheserver.core.errors import SettingsError
from cacheserver.host import Host
from cacheserver.routing.build import Routing
from cacheserver.verification.build import VerificationParts
from cacheserver.webhooks.build import WebhookParts


def mail_server(settings: Settings) -> MailServer | None:
    """Return the operator's mail server. Raises `SettingsError` if it has no sender's address."""
    if settings.smtp_host is None:
        return None
    if settings.smtp_from is None:
        raise SettingsError("`CACHESERVER_SMTP_FROM`: mail needs an address to come from")
    password = settings.smtp_password
    return MailServer(
        settings.smtp_host,
        settings.smtp_from,
        settings.smtp_port,
        settings.smtp_user,
        None if password is None else password.get_secret_value(),
        settings.smtp_security,
    )


@asynccontextmanager
async def build(
    host: Host,
    hooks: WebhookParts,
    mail: MailServer | None,
    spending: SpendHistory,
    calibration: CalibrationParts | None,
    routing: Routing | None,
    conversations: Conversations | None,
    verification: VerificationParts | None,
) -> AsyncIterator[AlertMonitor]:
    """Run the alert monitor until the block ends."""
    trials = None if routing is None else routing.trials
    store, tenants, metrics, clock = host.store, host.tenants, host.metrics, host.clock
    delivery = Delivery(
        AlertOutbox(store.redis, prefix=store.prefix),
        states=AlertStateStore(store.redis, prefix=store.prefix),
        poster=hooks.poster,
        mailer=None if mail is None else Mailer(mail),
        tenants=tenants,
        secret=hooks.secrets.secret,
        metrics=metrics,
        clock=clock,
    )
    monitor = AlertMonitor(
        delivery=delivery,
        spending=spending,
        budgets=BudgetStore(store.redis, prefix=store.prefix),
        tenants=tenants,
        metrics=metrics,
        clock=clock,
        sources=Sources(
            None if calibration is None else calibration.wrong_hits,
            None if trials is None else trials.live.store,
            None if conversations is None else conversations.turns,
            None if verification is None else verification.audited,
            opening=lambda: host.claude.breaker.opening,
            failing=lambda: not host.claude.breaker.closed,
            store=store.watch,
        ),
        flush=host.ledger.writer.flush,
        lease=host.leases.of("alerts"),
    )

    def use(settings: Settings) -> None:
        monitor.wrong_price = round(settings.wrong_hit_usd * 1_000_000_000)

    host.live.settings.listen(use)
    monitor.start()
    try:
        yield monitor
    finally:
        await monitor.close()
