"""Looks once a minute at what only a look can tell: budgets, wrong hits, the size of the store.

Every server looks for itself: each is scraped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cacheserver.budgets import rules as budget
from cacheserver.budgets.rules import Balance
from cacheserver.budgets.store import BudgetStore
from cacheserver.cache.budget_verdict import Account
from cacheserver.calibration.wrong_hit_rate import WrongShare
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Tenant
from cacheserver.observability.gauges import STATES
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.store_sizes import StoreSizes

logger = logging.getLogger(__name__)

_EVERY_S = 60.0  # Prometheus itself looks four times as often
_LABELS_EVERY = 5  # looks: the labels of a scope are up to a megabyte


class Tenants(Protocol):
    async def list_tenants(self) -> list[Tenant]: ...
    async def list_keys(self) -> Sequence[Any]: ...


class WrongHits(Protocol):
    async def share(self, tenants: Sequence[str]) -> WrongShare | None: ...


class GaugeSampler:
    """The look. `start` begins it, `close` ends it."""

    def __init__(
        self,
        *,
        budgets: BudgetStore,
        tenants: Tenants,
        open_tenant: Tenant,
        wrong_hits: WrongHits,
        sizes: StoreSizes,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._budgets = budgets
        self._tenants = tenants
        self._open = open_tenant  # who asks without a key may have no settings either
        self._wrong_hits = wrong_hits
        self._sizes = sizes
        self._metrics = metrics
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="gauges:keep")

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def look(self, *, labels: bool = True) -> None:
        """Set the gauges now. Raises `StoreError`."""
        taken = await self._sizes.read()
        self._metrics.gauges.sizes(taken, self._sizes.limits)
        self._metrics.gauges.stored(taken["answers"])
        tenants = await self._tenants.list_tenants()
        if all(tenant.name != self._open.name for tenant in tenants):
            tenants.append(self._open)
        await self._look_at_budgets(tenants)
        if labels:
            await self._look_at_labels(tenants)

    async def _keep(self) -> None:
        looks = 0
        while True:
            try:
                await self.look(labels=looks % _LABELS_EVERY == 0)
            except StoreError:
                self._metrics.swallowed("gauges")
            except Exception as error:  # the task boundary: the next round looks again
                self._metrics.swallowed("gauges")
                logger.error("the gauges failed: %s", type(error).__name__)
            looks += 1
            await asyncio.sleep(_EVERY_S)

    async def _look_at_budgets(self, tenants: Sequence[Tenant]) -> None:
        now = self._clock()
        keys: dict[str, list[str]] = {}
        for key in await self._tenants.list_keys():
            keys.setdefault(key.tenant, []).append(key.id)
        used: dict[tuple[str, str], float] = {}
        states = dict.fromkeys(STATES, 0)
        for tenant in tenants:
            rules = tenant.budgets
            accounts = [
                account
                for key_id in (None, *keys.get(tenant.name, ()))
                for account in budget.accounts(tenant.name, key_id, rules, now)
                if rules.enabled and account.limited and account.key_id == key_id
            ]
            if not accounts:
                continue
            balances = await self._budgets.balances(tenant.name, accounts, now)
            for account, balance in zip(accounts, balances, strict=True):
                shares = used_of(account, balance)
                for unit, share in shares.items():
                    place = account.period.span, unit
                    used[place] = max(share, used.get(place, 0.0))
                states[_state(max(shares.values()), near=rules.alert_at)] += 1
        self._metrics.gauges.budgets(used, states)

    async def _look_at_labels(self, tenants: Sequence[Tenant]) -> None:
        over, names = 0, [tenant.name for tenant in tenants]
        for tenant in tenants:
            if tenant.bar.target is not None:
                own = await self._wrong_hits.share([tenant.name])
                over += own is not None and own.low > tenant.bar.target
        found = await self._wrong_hits.share(names) if names else None
        shares = None if found is None else (found.low, found.share, found.high)
        self._metrics.gauges.wrong_hits(shares, over=over)


def used_of(account: Account, balance: Balance) -> dict[str, float]:
    """What of an account is spent, by unit, over its limit; of a limit of 0 all is."""
    return {
        unit: spent / limit if limit else 1.0
        for unit, limit, spent in (
            ("usd", account.nano, balance.spent.nano),
            ("tokens", account.tokens, balance.spent.tokens),
        )
        if limit is not None
    }


def _state(share: float, *, near: float) -> str:
    if share >= 1.0:
        return "reached"
    return "near" if share >= near else "within"
