"""Alert monitor: checks every tenant once a minute and raises alerts.

One server at a time checks and delivers for all that share a Redis, by lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cacheserver.alerts import budget_rules, store_rules
from cacheserver.alerts import rules as alert_rules
from cacheserver.alerts.delivery import Delivery
from cacheserver.alerts.rules import Alert, Hour
from cacheserver.alerts.spend_history import SpendHistory, add_sums
from cacheserver.alerts.store_rules import StoreState
from cacheserver.alerts.weekly_digest import digest, last_week
from cacheserver.budgets.rules import accounts as accounts_of
from cacheserver.budgets.store import BudgetStore
from cacheserver.cache.ports import Metrics
from cacheserver.calibration.wrong_hit_rate import WrongShare
from cacheserver.claude.circuit_breaker import Opening
from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Nanodollars, Tenant
from cacheserver.ledger.time_range import Tile
from cacheserver.peers.work_lease import ALONE, Lease
from cacheserver.verification.audit_state import AuditState

logger = logging.getLogger(__name__)

_EVERY_S = 60
_TICK_S = 5.0  # for deliveries that are due again
_DAY_S = 86_400
_OPEN = "default"  # the tenant of callers without a key
_DIGEST_H = 7  # hours after the week's end, UTC: all rows are written, and it is day in Europe


class Tenants(Protocol):
    async def get(self, tenant: str) -> Tenant: ...
    async def list_tenants(self) -> list[Tenant]: ...
    async def list_keys(self) -> Sequence[Any]: ...


class WrongHits(Protocol):
    async def share(self, tenants: Sequence[str]) -> WrongShare | None: ...


class RollBacks(Protocol):
    async def alerts(self, tenant: str) -> Iterable[Mapping[str, Any]]: ...


class Conversations(Protocol):
    async def bloated(self, tenant: str, now: float) -> int: ...


class Verdicts(Protocol):
    async def state(self, tenant: str) -> AuditState: ...


class Store(Protocol):
    def state(self) -> StoreState: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Inputs of the monitor beside the ledger. None: not available."""

    wrong_hits: WrongHits | None = None
    roll_backs: RollBacks | None = None
    conversations: Conversations | None = None
    verdicts: Verdicts | None = None
    opening: Callable[[], Opening | None] = lambda: None  # the circuit breaker's last opening
    failing: Callable[[], bool] = lambda: False  # whether the circuit breaker has not closed since
    store: Store | None = None


class AlertMonitor:
    """Monitor of all tenants, from `start` to `close`."""

    def __init__(
        self,
        *,
        delivery: Delivery,
        spending: SpendHistory,
        budgets: BudgetStore,
        tenants: Tenants,
        metrics: Metrics,
        clock: Callable[[], float],
        sources: Sources = Sources(),
        flush: Callable[[], Awaitable[None]] | None = None,
        wrong_price: Nanodollars = 0,
        tick_s: float = _TICK_S,
        lease: Lease = ALONE,
    ) -> None:
        self.delivery = delivery
        self.spending = spending
        self._budgets = budgets
        self._tenants = tenants
        self._metrics = metrics
        self._clock = clock
        self._sources = sources
        self._flush = flush
        self.wrong_price = wrong_price
        self._tick_s = tick_s
        self._lease = lease
        self._checked = -1  # number of the minute of the last check
        self._tasks: list[asyncio.Task[None]] = []
        self._openings = 0  # number of the circuit breaker's last opening with an alert
        self._open_alerts: list[str] = []  # ids, until the circuit breaker closes

    def start(self) -> None:
        # Separate tasks: a slow receiver must not delay a check.
        self._tasks = [
            asyncio.create_task(self._repeat(self._check_in_turn), name="alerts:watch"),
            # Each server has its own breaker; the outbox raises one alert an hour for all.
            asyncio.create_task(self._repeat(self.check_upstream), name="alerts:upstream"),
            asyncio.create_task(self._repeat(self._send_in_turn), name="alerts:send"),
        ]

    async def close(self) -> None:
        """Stop. Queued alerts stay in Redis for another server or the next start."""
        for task in self._tasks:
            await end(task)
        self._tasks = []

    async def check(self) -> list[Alert]:
        """Check every tenant now; returns the new alerts, which are queued. Raises `StoreError`."""
        now = self._clock()
        if self._flush is not None:
            await self._flush()
        keys: dict[str, list[str]] = {}
        for key in await self._tenants.list_keys():
            keys.setdefault(key.tenant, []).append(key.id)
        raised, found = [], list[str]()
        for name in await self._names(now):
            try:
                tenant = await self._tenants.get(name)
                for alert in await self._alerts_of(tenant, keys.get(name, ()), now):
                    found.append(alert.id)
                    if await self.delivery.raise_alert(tenant, alert, now):
                        raised.append(alert)
            except StoreError:
                raise
            except Exception as error:  # a fault with one tenant must not stop the check of others
                self._metrics.swallowed("alerts")
                logger.error("the alert check of a tenant failed: %s", type(error).__name__)
        await self.delivery.states.note_seen(found, now)
        return raised

    async def check_upstream(self) -> list[Alert]:
        """Alert every tenant if the circuit breaker has opened; they are active until it closes.

        Raises `StoreError`.
        """
        opening, now = self._sources.opening(), self._clock()
        raised = []
        if opening is not None and opening.number != self._openings:
            raised = await self._alert_of(opening, now)
        if self._open_alerts:
            holds = self._sources.failing()
            await self.delivery.states.note_upstream(self._open_alerts if holds else (), now)
            if not holds:
                self._open_alerts = []
        return raised

    async def _alert_of(self, opening: Opening, now: float) -> list[Alert]:
        raised, open_alerts = list[Alert](), list[str]()
        for name in await self._names(now):
            tenant = await self._tenants.get(name)
            alert = alert_rules.upstream(name, opening.failed, opening.tries, now)
            if not tenant.budgets.alerts.enabled:
                continue
            open_alerts.append(alert.id)
            if await self.delivery.raise_alert(tenant, alert, now):
                raised.append(alert)
        # Not reached if the store failed: the next round repeats.
        self._openings, self._open_alerts = opening.number, open_alerts
        return raised

    async def _names(self, now: float) -> list[str]:
        """Return the tenants with settings, keys or a request within a day."""
        names = {tenant.name for tenant in await self._tenants.list_tenants()}
        names |= set(await self.spending.sums.tenants(int(now) - _DAY_S, int(now) + 1))
        if self._sources.store is not None:
            names.add(_OPEN)  # an emptied store has no other tenant to alert
        return sorted(names)

    async def _check_in_turn(self) -> None:
        slot = int(self._clock() // _EVERY_S)
        if self._lease.held and slot != self._checked:
            self._checked = slot
            await self.check()

    async def _send_in_turn(self) -> None:
        if self._lease.held:
            await self.delivery.send_due()

    async def _repeat(self, step: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            try:
                with one_round():
                    await step()
            except StoreError:
                self._metrics.swallowed("alerts")
            except Exception as error:  # the task boundary: the next round tries again
                self._metrics.swallowed("alerts")
                logger.error("the alert check failed: %s", type(error).__name__)

    async def _alerts_of(self, tenant: Tenant, keys: Sequence[str], now: float) -> list[Alert]:
        rules, found = tenant.budgets.alerts, list[Alert]()
        if rules.enabled:
            found += await self._of_budgets(tenant, keys, now)
            found += await self._of_use(tenant, now)
            found += await self._of_sources(tenant, now)
            if self._sources.store is not None:
                found += store_rules.store_alerts(tenant.name, self._sources.store.state(), now)
        if rules.digest:
            found += await self._digest(tenant, now)
        return found

    async def _of_budgets(self, tenant: Tenant, keys: Sequence[str], now: float) -> list[Alert]:
        rules = tenant.budgets
        wanted = [None, *keys] if rules.enabled else []
        accounts = [
            account
            for key_id in wanted
            for account in accounts_of(tenant.name, key_id, rules, now)
            if account.limited and account.key_id == key_id
        ]
        if not accounts:
            return []
        balances = await self._budgets.balances(tenant.name, accounts, now)
        found: list[Alert] = []
        for account, balance in zip(accounts, balances, strict=True):
            ahead = await self.spending.ahead(account, balance, now)
            found += budget_rules.budget_alerts(account, balance, ahead, share=rules.alert_at)
        return found

    async def _of_use(self, tenant: Tenant, now: float) -> list[Alert]:
        """Return the alerts from the ledger's sums."""
        name, rules = tenant.name, tenant.budgets.alerts
        past = await self.spending.past(name, now)
        so_far = await self.spending.this_hour(name, now)
        day, number = alert_rules.day_name(now), int(now // 3_600)
        everything = Hour(add_sums(so_far), past.by_hour(), number, day)
        found = alert_rules.spend(name, "tenant", "", everything, rules)
        for model, sums in so_far.items():
            hour = Hour(sums, past.by_hour(model=model), number, day)
            found += alert_rules.spend(name, "model", model, hour, rules)
        if so_far:  # an idle tenant has no tasks to check
            for task, sums in (await self.spending.tasks_this_hour(name, now)).items():
                hour = Hour(sums, past.tasks.get(task, {}), number, day)
                found += alert_rules.spend(name, "task", task or "other", hour, rules)
        recent = await self.spending.last_hour(name, now)
        last = Hour(add_sums(recent), everything.before, number, day)
        ratio = tenant.caching.read_ratio_alert if tenant.caching.enabled else None
        found += alert_rules.habits(name, last, rules, read_ratio=ratio)
        return found + alert_rules.unpriced(name, recent, day)

    async def _of_sources(self, tenant: Tenant, now: float) -> list[Alert]:
        name, sources, day = tenant.name, self._sources, alert_rules.day_name(now)
        found: list[Alert] = []
        if sources.wrong_hits is not None and tenant.bar.target is not None:
            share = await sources.wrong_hits.share([name])
            found += alert_rules.wrong_hits(name, share, tenant.bar.target, day)
        if sources.verdicts is not None and tenant.verify.mode != "off":
            state = await sources.verdicts.state(name)
            found += alert_rules.verification(name, state, tenant.bar.target, now)
        if sources.roll_backs is not None:
            found += alert_rules.downshifts(name, await sources.roll_backs.alerts(name), now)
        if sources.conversations is not None:
            found += alert_rules.conversations(
                name, await sources.conversations.bloated(name, now), day
            )
        return found

    async def _digest(self, tenant: Tenant, now: float) -> list[Alert]:
        start, until = last_week(now)
        if now < until + _DIGEST_H * 3_600:
            return []
        tile = Tile("d", start // _DAY_S, until // _DAY_S)
        models = await self.spending.models(tenant.name, tile)
        share = None
        if self._sources.wrong_hits is not None:
            share = await self._sources.wrong_hits.share([tenant.name])
        return [digest(tenant.name, models, start, share, self.wrong_price, tenant.compare_with)]
