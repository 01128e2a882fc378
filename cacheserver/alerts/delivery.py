"""Takes alerts to whom they are for: signed webhook, Slack, mail. Tried again, then given up.

Rule: an alert holds figures and names, never a prompt or an answer, so it may go anywhere that the
operator named. Addresses are those of now, not of when it was raised.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from cacheserver.alerts.outbox import AlertOutbox, Due
from cacheserver.alerts.rules import Alert
from cacheserver.alerts.smtp import Mailer
from cacheserver.cache.ports import Metrics
from cacheserver.core import json_text
from cacheserver.core.errors import Unavailable
from cacheserver.core.rules.alerts import AlertRules
from cacheserver.core.types import Tenant
from cacheserver.webhooks import signing
from cacheserver.webhooks.safe_post import Poster

logger = logging.getLogger(__name__)

# Ten seconds for a hiccup, two hours for somebody's deployment; then a person reads the log.
WAITS_S = (10.0, 60.0, 300.0, 1_800.0, 7_200.0)
_LEASE_S = 120.0  # longer than a round takes: mail has 15 s a step, and a few threads
_AT_ONCE = 20

# A tenant's secret of this epoch, with which its webhooks are signed. Raises `Unavailable`.
Secret = Callable[[str, int], Awaitable[str]]


class Tenants(Protocol):
    async def get(self, tenant: str) -> Tenant: ...


class Delivery:
    """Raises alerts and brings them out."""

    def __init__(
        self,
        store: AlertOutbox,
        *,
        poster: Poster,
        mailer: Mailer | None,
        tenants: Tenants,
        secret: Secret,
        metrics: Metrics,
        clock: Callable[[], float],
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        self.store = store
        self.poster = poster
        self._mailer = mailer
        self._tenants = tenants
        self._secret = secret
        self._metrics = metrics
        self._clock = clock
        self._waits_s = waits_s

    async def tell(self, tenant: Tenant, alert: Alert, now: float) -> bool:
        """Log an alert and queue it, once in its period. Raises `StoreError`."""
        told = shown(alert, now)
        channels = channels_of(tenant.budgets.alerts)
        new = await self.store.raise_once(told, channels, once_s=alert.once_s, now=now)
        if new:
            self._metrics.alerted(alert.kind)
            level = logging.INFO if alert.kind == "digest" else logging.WARNING
            logger.log(level, "alert %s: %s", alert.id, alert.text.replace("\n", " "))
        return new

    async def send_due(self) -> int:
        """Try all that are due, together; how many were tried. Raises `StoreError`."""
        due = await self.store.take(self._clock(), lease_s=_LEASE_S, most=_AT_ONCE)
        tried = await asyncio.gather(*(self._try(one) for one in due), return_exceptions=True)
        for failed in tried:
            if isinstance(failed, BaseException):
                raise failed  # the store's: whatever was not noted comes again, with the same id
        return len(due)

    async def test(self, tenant: Tenant) -> dict[str, str | None]:
        """Send a test alert by every channel of a tenant's, now: None, or why it did not arrive."""
        now = self._clock()
        alert = Alert("test", tenant.name, "", str(int(now)), "A test: alerts arrive here.")
        told = shown(alert, now)
        return {
            one: await self._send(tenant, one, told) for one in channels_of(tenant.budgets.alerts)
        }

    async def _try(self, due: Due) -> None:
        tenant = await self._tenants.get(due.alert["tenant"])
        try:
            why = await self._send(tenant, due.channel, due.alert)
        except Exception as error:  # whatever it is: tried again, then given up, as any failure
            why = type(error).__name__
        if why is None:
            await self.store.delivered(due)
            return
        self._metrics.swallowed("alert-delivery")
        if due.tries < len(self._waits_s):
            await self.store.again(due, self._clock() + self._waits_s[due.tries])
            return
        self._metrics.dropped("alert")
        logger.error("alert %s: not delivered by %s: %s", due.alert["id"], due.channel, why)
        await self.store.delivered(due)

    async def _send(self, tenant: Tenant, channel: str, alert: dict[str, Any]) -> str | None:
        rules = tenant.budgets.alerts
        match channel:
            case "webhook" if rules.webhook is not None:
                return await self._webhook(tenant, rules.webhook, alert)
            case "slack" if rules.slack is not None:
                body = json_text.dumps({"text": _slack(alert["text"])})
                return await self.poster.post(rules.slack, body, {}, tenant.batching)
            case "email" if rules.email and self._mailer is not None:
                subject = f"cacheserver: {alert['kind']} ({alert['tenant']})"
                return await self._mailer.send(rules.email, subject, alert["text"] + "\n")
            case "email" if rules.email:
                return "no-mail-server"
        return None  # nobody wants it there any more

    async def _webhook(self, tenant: Tenant, url: str, alert: dict[str, Any]) -> str | None:
        rules = tenant.batching
        body = json_text.dumps({"type": "alert", "timestamp": alert["at"], "data": alert})
        try:
            secret = await self._secret(tenant.name, rules.webhook_epoch)
        except Unavailable:
            return "no-secret"
        # A name in an id may have signs that no header holds.
        id = "evt_" + hashlib.sha256(alert["id"].encode()).hexdigest()[:32]
        signature = signing.signed(secret, id, int(self._clock()), body)
        return await self.poster.post(url, body, signature, rules)


def channels_of(rules: AlertRules) -> list[str]:
    """Where a tenant's alerts go, beside the log."""
    wanted = {"webhook": rules.webhook, "slack": rules.slack, "email": rules.email}
    return [name for name, address in wanted.items() if address]


def shown(alert: Alert, now: float) -> dict[str, Any]:
    """An alert as it is kept, shown and sent."""
    return {
        "id": alert.id,
        "kind": alert.kind,
        "tenant": alert.tenant,
        "about": alert.about,
        "period": alert.period,
        "at": round(now, 3),
        "text": alert.text,
        "facts": dict(alert.facts),
    }


def _slack(text: str) -> str:
    """Text that Slack shows as it is: a model's name must not ring a channel's bell."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
