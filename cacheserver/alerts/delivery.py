"""Delivery of alerts by signed webhook, Slack and mail, with retries up to a limit.

Rule: an alert contains figures and names, never a prompt or an answer, so it may be sent to any
address that the operator configured. The address is read at delivery, not when the alert is raised.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from cacheserver.alerts.alert_state import AlertStateStore
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

# From ten seconds, for a short outage, to two hours, for a deployment; then only the log has it.
WAITS_S = (10.0, 60.0, 300.0, 1_800.0, 7_200.0)
_LEASE_S = 120.0  # longer than a round: mail takes up to 15 s a step, on a few threads
_AT_ONCE = 20

# A tenant's secret of this epoch, with which its webhooks are signed. Raises `Unavailable`.
Secret = Callable[[str, int], Awaitable[str]]


class Tenants(Protocol):
    async def get(self, tenant: str) -> Tenant: ...


class Delivery:
    """Sender of alerts, from the outbox to a tenant's channels."""

    def __init__(
        self,
        store: AlertOutbox,
        *,
        states: AlertStateStore,
        poster: Poster,
        mailer: Mailer | None,
        tenants: Tenants,
        secret: Secret,
        metrics: Metrics,
        clock: Callable[[], float],
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        self.store = store
        self.states = states
        self.poster = poster
        self._mailer = mailer
        self._tenants = tenants
        self._secret = secret
        self._metrics = metrics
        self._clock = clock
        self._waits_s = waits_s

    async def raise_alert(self, tenant: Tenant, alert: Alert, now: float) -> bool:
        """Log and queue an alert, once in its period. Returns whether it is new.

        One of a silenced kind is logged and listed, and not sent. Raises `StoreError`.
        """
        row = alert_as_json(alert, now)
        channels = channels_of(tenant.budgets.alerts)
        if channels and await self.states.is_silenced(alert.tenant, alert.kind, now):
            channels = []
        new = await self.store.raise_once(row, channels, once_s=alert.once_s, now=now)
        if new:
            self._metrics.alerted(alert.kind)
            level = logging.INFO if alert.kind == "digest" else logging.WARNING
            logger.log(level, "alert %s: %s", alert.id, alert.text.replace("\n", " "))
        return new

    async def send_due(self) -> int:
        """Try all due deliveries concurrently; returns how many. Raises `StoreError`."""
        due = await self.store.take(self._clock(), lease_s=_LEASE_S, most=_AT_ONCE)
        tried = await asyncio.gather(*(self._try(one) for one in due), return_exceptions=True)
        for failed in tried:
            if isinstance(failed, BaseException):
                raise failed  # a store error: what was not recorded is sent again, with its id
        return len(due)

    async def test(self, tenant: Tenant) -> dict[str, str | None]:
        """Send a test alert by each channel of a tenant. Returns None or an error by channel."""
        now = self._clock()
        alert = Alert("test", tenant.name, "", str(int(now)), "A test: alerts arrive here.")
        row = alert_as_json(alert, now)
        found = {}
        for one in channels_of(tenant.budgets.alerts):
            found[one] = await self._send(tenant, one, row)
            await self._note(tenant.name, one, alert.id, found[one])
        return found

    async def _try(self, due: Due) -> None:
        tenant = await self._tenants.get(due.alert["tenant"])
        try:
            why = await self._send(tenant, due.channel, due.alert)
        except Exception as error:  # any failure is retried, then dropped
            why = type(error).__name__
        await self._note(tenant.name, due.channel, due.alert["id"], why)
        if why is None:
            await self.store.remove(due)
            return
        self._metrics.swallowed("alert-delivery")
        if due.tries < len(self._waits_s):
            await self.store.retry(due, self._clock() + self._waits_s[due.tries])
            return
        self._metrics.dropped("alert")
        logger.error("alert %s: not delivered by %s: %s", due.alert["id"], due.channel, why)
        await self.store.remove(due)

    async def _note(self, tenant: str, channel: str, alert_id: str, why: str | None) -> None:
        await self.states.note_delivery(
            tenant, channel, alert_id=alert_id, error=why, now=self._clock()
        )

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
        return None  # the channel was removed since

    async def _webhook(self, tenant: Tenant, url: str, alert: dict[str, Any]) -> str | None:
        rules = tenant.batching
        body = json_text.dumps({"type": "alert", "timestamp": alert["at"], "data": alert})
        try:
            secret = await self._secret(tenant.name, rules.webhook_epoch)
        except Unavailable:
            return "no-secret"
        # The id may contain characters that a header cannot.
        id = "evt_" + hashlib.sha256(alert["id"].encode()).hexdigest()[:32]
        signature = signing.sign(secret, id, int(self._clock()), body)
        return await self.poster.post(url, body, signature, rules)


def channels_of(rules: AlertRules) -> list[str]:
    """Return the channels of a tenant's alerts, beside the log."""
    wanted = {"webhook": rules.webhook, "slack": rules.slack, "email": rules.email}
    return [name for name, address in wanted.items() if address]


def alert_as_json(alert: Alert, now: float) -> dict[str, Any]:
    """Return the JSON form of an alert, as stored, listed and sent."""
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
    """Escape text for Slack: a name in it must not notify a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
