"""Alerts from the ledger's sums to whom they are for, each once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cacheserver.alerts.alert_state import AlertStateStore
from cacheserver.alerts.delivery import Delivery
from cacheserver.alerts.monitor import AlertMonitor, Sources
from cacheserver.alerts.outbox import AlertOutbox
from cacheserver.alerts.rules import Alert
from cacheserver.alerts.smtp import Mailer, MailServer
from cacheserver.alerts.spend_history import SpendHistory
from cacheserver.budgets import rules as budget
from cacheserver.budgets.store import BudgetStore
from cacheserver.cache.budget_verdict import Amount
from cacheserver.core.errors import BadRequest
from cacheserver.core.ledger_row import Row
from cacheserver.core.rules.alerts import AlertRules
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.rules.budgets import BudgetRules, KeyBudget, Limit
from cacheserver.core.single_flight import end
from cacheserver.core.types import Tenant, Usage
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.writer import Ledger
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import Connection, command
from cacheserver.tenants.store import Tenants
from cacheserver.webhooks.safe_post import Poster
from tests.alerts.mail_server import mail_server
from tests.ledger.rows import AT, row
from tests.webhooks.test_webhooks import HERE, listening

SECRET = "whsec_" + base64.b64encode(b"a secret of a tenant's").decode()
USD = 1_000_000_000
HOUR = 3_600


async def secret(tenant: str, epoch: int) -> str:
    return SECRET


@dataclass
class Watch:
    """The watch over a real store; time is moved by hand."""

    redis: Connection
    prefix: str
    now: float = AT
    mail_port: int = 0
    metrics: Metrics = field(default_factory=Metrics)
    poster: Poster = field(default_factory=Poster)

    def __post_init__(self) -> None:
        self.tenants = Tenants(
            self.redis, prefix=self.prefix, defaults=Tenant("default"), clock=lambda: self.now
        )
        self.ledger = Ledger(self.redis, prefix=self.prefix)
        self.budgets = BudgetStore(self.redis, prefix=self.prefix)
        self.store = AlertOutbox(self.redis, prefix=self.prefix)
        self.alerting = self.server()

    def server(self, **given: Any) -> AlertMonitor:
        """One of several servers on this store."""
        mail = MailServer("127.0.0.1", "cache@example.com", self.mail_port, security="none")
        delivery = Delivery(
            self.store,
            states=AlertStateStore(self.redis, prefix=self.prefix),
            poster=self.poster,
            mailer=Mailer(mail) if self.mail_port else None,
            tenants=self.tenants,
            secret=secret,
            metrics=self.metrics,
            clock=lambda: self.now,
            waits_s=(10.0, 100.0),
        )
        return AlertMonitor(
            delivery=delivery,
            spending=SpendHistory(LedgerReports(self.redis, prefix=self.prefix)),
            budgets=self.budgets,
            tenants=self.tenants,
            metrics=self.metrics,
            clock=lambda: self.now,
            **{"flush": self.ledger.flush, **given},
        )

    async def put(self, alerts: AlertRules | None = None, **rules: Any) -> Tenant:
        tenant = replace(
            Tenant("acme"),
            budgets=BudgetRules(alerts=alerts or AlertRules(), **rules),
            batching=replace(BatchRules(), webhook_networks=HERE.webhook_networks),
        )
        await self.tenants.put(tenant)
        return tenant

    async def rows(self, *rows: Row) -> None:
        for one in rows:
            self.ledger.append(one)
        await self.ledger.flush()

    async def look(self) -> list[str]:
        return [alert.kind for alert in await self.alerting.check()]

    async def send(self) -> int:
        return await self.alerting.delivery.send_due()


@asynccontextmanager
async def watching(redis: Connection, prefix: str, **given: Any) -> AsyncIterator[Watch]:
    watch = Watch(redis, prefix, **given)
    try:
        yield watch
    finally:
        await watch.alerting.close()
        await watch.poster.close()
        await watch.ledger.close()


@pytest.fixture
async def watch(redis: Connection, prefix: str) -> AsyncIterator[Watch]:
    async with watching(redis, prefix) as one:
        yield one


@contextmanager
def silent() -> Iterator[str]:
    """Where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"


def alert(**given: Any) -> Alert:
    return Alert(**{"kind": "errors", "tenant": "acme", "about": "", "period": "p"} | given,
                 text="11% of requests fail & <!channel>")  # fmt: skip


async def test_a_budget_is_told_of_once_in_each_period(watch: Watch) -> None:
    await watch.put(daily=Limit(usd=10), monthly=Limit(usd=100))
    rules = (await watch.tenants.get("acme")).budgets
    accounts = budget.accounts("acme", None, rules, AT)
    await watch.budgets.settle("acme", "a", accounts, Amount(8 * USD), AT)
    assert await watch.look() == ["budget-near"]
    assert await watch.look() == []
    await watch.budgets.settle("acme", "b", accounts, Amount(2 * USD), AT)
    assert await watch.look() == ["budget-reached"]
    watch.now += 86_400
    accounts = budget.accounts("acme", None, rules, watch.now)
    await watch.budgets.settle("acme", "c", accounts, Amount(8 * USD), watch.now)
    assert await watch.look() == ["budget-near"]
    shown = await watch.store.recent()
    assert [one["period"] for one in shown] == ["d20261119", "d20261118", "d20261118"]
    assert shown[0]["facts"]["resets_at"] == "2026-11-20T00:00:00Z"


async def test_a_budget_that_will_be_reached_is_told_of_ahead(watch: Watch) -> None:
    await watch.put(monthly=Limit(usd=100))
    await watch.rows(*(row(at=AT - HOUR * h, cost=USD // 2) for h in range(1, 25)))
    accounts = budget.accounts("acme", None, (await watch.tenants.get("acme")).budgets, AT)
    await watch.budgets.settle("acme", "a", accounts, Amount(12 * USD), AT)
    (told,) = await watch.alerting.check()
    assert told.kind == "budget-forecast"
    assert told.facts["forecast"] > 100 * USD


async def test_a_keys_budget_is_watched_too(watch: Watch) -> None:
    key, _ = await watch.tenants.create_key("acme")
    await watch.put(each_key=KeyBudget(daily=Limit(tokens=100)))
    rules = (await watch.tenants.get("acme")).budgets
    accounts = budget.accounts("acme", key.id, rules, AT)
    await watch.budgets.settle("acme", "a", accounts, Amount(1, 100), AT)
    (told,) = await watch.alerting.check()
    assert (told.kind, told.about) == ("budget-reached", f"{key.id}:tokens")


async def test_a_spending_spree_is_told_by_tenant_model_and_task(watch: Watch) -> None:
    """Nobody set anything: the ledger knows the tenant."""
    usual = [row(at=AT - 86_400 * d, cost=USD, task="qa") for d in range(1, 9)]
    await watch.rows(*usual, row(cost=50 * USD, task="qa"))
    told = await watch.alerting.check()
    assert [(one.kind, one.about) for one in told] == [
        ("spend", "tenant:"),
        ("spend", "model:claude-haiku-5-5"),
        ("spend", "task:qa"),
    ]
    assert await watch.look() == []


async def test_a_task_is_held_against_its_usual_hour(watch: Watch) -> None:
    """All day it costs as much as ever; in this hour, many times its usual."""
    usual = [
        row(at=AT - HOUR * (24 * day + h), cost=5 * USD, task="nightly")
        for day in range(1, 9)
        for h in (1, 2, 3)
    ]
    quiet = [row(at=AT - HOUR * h, cost=USD // 10, task="chat") for h in range(1, 9 * 24)]
    await watch.rows(*usual, *quiet, row(cost=6 * USD, task="nightly"), row(task="chat"))
    told = await watch.alerting.check()
    assert "task:nightly" in [one.about for one in told]
    assert "task:chat" not in [one.about for one in told]
    facts = next(one.facts for one in told if one.about == "task:nightly")
    assert facts == {"cost_nanodollars": 6 * USD, "usual_nanodollars": 0}


async def test_one_tenants_fault_leaves_the_others_watched(watch: Watch) -> None:
    class Broken:
        async def bloated(self, tenant: str, now: float) -> int:
            if tenant == "acme":
                raise ZeroDivisionError
            return 1

    await watch.put()
    await watch.tenants.put(Tenant("beta"))
    watching = watch.server(sources=Sources(conversations=Broken()))
    assert [(one.tenant, one.kind) for one in await watching.check()] == [("beta", "conversation")]
    assert b'swallowed_total{site="alerts"} 1.0' in watch.metrics.render()
    await watching.close()


async def test_a_slow_receiver_holds_up_no_other(watch: Watch) -> None:
    """One that never answers waits beside the others, not before them."""
    with silent() as slow:
        async with listening() as listener:
            tenant = await watch.put(AlertRules(webhook=slow, slack=f"{listener.url}/services/x"))
            for number in range(5):
                await watch.alerting.delivery.raise_alert(tenant, alert(period=str(number)), AT)
            sending = asyncio.create_task(watch.send())
            async with asyncio.timeout(30):
                for _ in range(5):
                    await listener.got.get()
            assert not sending.done()
            await end(sending)


async def test_what_cannot_be_sent_at_all_is_given_up_like_the_rest(watch: Watch) -> None:
    class Torn:
        async def send(self, to: Any, subject: str, text: str) -> str | None:
            raise UnicodeError

    tenant = await watch.put(AlertRules(email=("ops@example.com",)))
    watch.alerting.delivery._mailer = Torn()  # type: ignore[assignment]
    await watch.alerting.delivery.raise_alert(tenant, alert(), AT)
    for _ in range(3):
        assert await watch.send() == 1
        watch.now += 100
    assert await watch.send() == 0
    assert b'dropped_total{buffer="alert"} 1.0' in watch.metrics.render()


async def test_errors_and_missing_prices_are_told(watch: Watch) -> None:
    failed = [row(outcome="failed", call=None, cost=0, usage=Usage()) for _ in range(5)]
    unpriced = [row(model="claude-new", cost=None) for _ in range(20)]
    await watch.rows(*failed, *unpriced)
    assert await watch.look() == ["errors", "unpriced"]


async def test_a_tenant_that_wants_no_alerts_gets_none(watch: Watch) -> None:
    await watch.put(AlertRules(enabled=False), daily=Limit(usd=0))
    assert await watch.look() == []
    monday = 1_795_392_000.0  # 2026-11-23
    watch.now = monday + 8 * HOUR
    await watch.put(AlertRules(enabled=False, digest=True), daily=Limit(usd=0))
    assert await watch.look() == ["digest"]


async def test_what_others_watch_is_told_through_here(watch: Watch) -> None:
    class Elsewhere:
        async def alerts(self, tenant: str) -> list[Mapping[str, Any]]:
            return [{"at": AT - 1, "task": "qa", "from_model": "a", "to_model": "b"}]

        async def bloated(self, tenant: str, now: float) -> int:
            return 2

    await watch.put()
    seen = Elsewhere()
    watching = watch.server(sources=Sources(roll_backs=seen, conversations=seen))
    assert [one.kind for one in await watching.check()] == ["downshift", "conversation"]
    await watching.close()


async def test_an_alert_arrives_signed_and_once(watch: Watch) -> None:
    async with listening() as listener:
        tenant = await watch.put(AlertRules(webhook=f"{listener.url}/hook"))
        delivery = watch.alerting.delivery
        assert await delivery.raise_alert(tenant, alert(), AT)
        assert not await delivery.raise_alert(tenant, alert(), AT)
        assert await watch.send() == 1
        headers, body = await listener.got.get()
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        event = json.loads(body)
        assert (event["type"], event["data"]["kind"]) == ("alert", "errors")
        watch.now += 10_000
        assert await watch.send() == 0
        assert listener.got.empty()


async def test_what_does_not_arrive_is_tried_again_and_then_given_up(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening() as listener:
        tenant = await watch.put(AlertRules(webhook=f"{listener.url}/hook"))
        listener.statuses = [500, 302, 500]
        await watch.alerting.delivery.raise_alert(tenant, alert(), AT)
        ids = set()
        for wait in (0, 10, 100):
            watch.now += wait - 0.5
            assert await watch.send() == 0 or wait == 0
            watch.now += 0.5
            await watch.send()
            headers, _ = await listener.got.get()
            ids.add(headers["webhook-id"])
        assert len(ids) == 1
        watch.now += 10_000
        assert await watch.send() == 0
        assert "not delivered by webhook: status-500" in caplog.text
        assert b'dropped_total{buffer="alert"} 1.0' in watch.metrics.render()
        left = await command(watch.redis, "EXISTS", f"{watch.prefix}alm")
        assert left == 0  # nothing stays behind of what is over


async def test_a_server_that_dies_on_the_way_leaves_it_to_another(watch: Watch) -> None:
    async with listening() as listener:
        tenant = await watch.put(AlertRules(webhook=f"{listener.url}/hook"))
        await watch.alerting.delivery.raise_alert(tenant, alert(), AT)
        assert len(await watch.store.take(watch.now, lease_s=60, most=9)) == 1  # and no more
        assert await watch.send() == 0
        watch.now += 61
        assert await watch.send() == 1
        await listener.got.get()


async def test_slack_gets_text_that_rings_nobodys_bell(watch: Watch) -> None:
    async with listening() as listener:
        tenant = await watch.put(AlertRules(slack=f"{listener.url}/services/x"))
        await watch.alerting.delivery.raise_alert(tenant, alert(), AT)
        await watch.send()
        headers, body = await listener.got.get()
        assert json.loads(body) == {"text": "11% of requests fail &amp; &lt;!channel&gt;"}
        assert "webhook-signature" not in headers


async def test_mail_is_handed_in_and_a_refusal_is_tried_again(
    redis: Connection, prefix: str
) -> None:
    async with mail_server() as post, watching(redis, prefix, mail_port=post.port) as watch:
        tenant = await watch.put(AlertRules(email=("ops@example.com", "cfo@example.com")))
        post.refuse = True
        await watch.alerting.delivery.raise_alert(tenant, alert(), AT)
        await watch.send()
        assert post.letters == []
        post.refuse = False
        watch.now += 10
        await watch.send()
        (letter,) = post.letters
        assert "Subject: cacheserver: errors (acme)" in letter
        assert "To: ops@example.com, cfo@example.com" in letter
        assert letter.endswith("11% of requests fail & <!channel>")


async def test_a_test_says_of_every_channel_whether_it_works(watch: Watch) -> None:
    async with listening() as listener:
        given = AlertRules(
            webhook=f"{listener.url}/a", slack="https://127.0.0.2/b", email=("ops@example.com",)
        )
        listener.statuses = [404]
        outcome = await watch.alerting.delivery.test(await watch.put(given))
        assert outcome["webhook"] == "status-404"
        assert outcome["slack"] is not None
        assert outcome["email"] == "no-mail-server"


async def test_alerts_do_not_go_to_private_addresses(watch: Watch) -> None:
    async with listening() as listener:
        tenant = await watch.put(AlertRules(webhook=f"{listener.url}/hook"))
        closed = replace(tenant, batching=BatchRules())
        await watch.tenants.put(closed)
        assert await watch.alerting.delivery.test(closed) == {"webhook": "address-refused"}
        assert listener.got.empty()
        with pytest.raises(BadRequest) as refused:
            await watch.alerting.delivery.poster.check(
                "budgets.alerts.webhook", "https://10.0.0.1/", BatchRules()
            )
        assert refused.value.field == "budgets.alerts.webhook"


async def test_the_log_has_every_alert(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await watch.alerting.delivery.raise_alert(await watch.put(), alert(), AT)
    assert "alert errors/acme//p: 11% of requests fail" in caplog.text


async def test_one_of_several_servers_looks_and_it_arrives_once(watch: Watch) -> None:
    async with listening() as listener:
        await watch.put(AlertRules(webhook=f"{listener.url}/hook"), daily=Limit(usd=0))
        servers = [watch.server(tick_s=0.01) for _ in range(3)]
        for server in servers:
            server.start()
        async with asyncio.timeout(20):
            headers, _ = await listener.got.get()
        for server in servers:
            await server.close()
        assert headers["webhook-id"].startswith("evt_")
        assert listener.got.empty()
        assert len(await watch.store.recent()) == 1


async def test_a_weeks_digest_is_sent_on_its_monday_once(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    monday = 1_795_392_000.0  # 2026-11-23
    await watch.rows(row(at=monday - HOUR, cost=3 * USD), row(at=monday + HOUR, cost=9 * USD))
    async with listening() as listener:
        await watch.put(AlertRules(digest=True, webhook=f"{listener.url}/hook"))
        watch.now = monday + 7 * HOUR - 1
        assert await watch.look() == []
        watch.now += 1
        with caplog.at_level(logging.INFO):
            (made,) = await watch.alerting.check()
        assert (made.kind, made.facts["cost_nanodollars"]) == ("digest", 3 * USD)
        assert [one.levelname for one in caplog.records if "digest" in one.message] == ["INFO"]
        assert await watch.look() == []
        assert await watch.send() == 1
        _, body = await listener.got.get()
        assert json.loads(body)["data"]["facts"]["cost_nanodollars"] == 3 * USD
