"""Gauges of budget use for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cacheserver.budgets import rules as budget
from cacheserver.budgets.rules import Balance
from cacheserver.budgets.store import BudgetStore
from cacheserver.cache.budget_verdict import Account
from cacheserver.core.types import Tenant
from cacheserver.observability.gauges import STATES, Gauges


class Keys(Protocol):
    async def list_keys(self) -> Sequence[Any]: ...


class BudgetGauges:
    """Reads the balances of all budgets that have a limit."""

    def __init__(
        self, store: BudgetStore, *, keys: Keys, gauges: Gauges, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._keys = keys
        self._gauges = gauges
        self._clock = clock

    async def sample(self, tenants: Sequence[Tenant]) -> None:
        """Set the gauges. Raises `StoreError`."""
        now = self._clock()
        keys: dict[str, list[str]] = {}
        for key in await self._keys.list_keys():
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
            balances = await self._store.balances(tenant.name, accounts, now)
            for account, balance in zip(accounts, balances, strict=True):
                shares = used_of(account, balance)
                for unit, share in shares.items():
                    place = account.period.span, unit
                    used[place] = max(share, used.get(place, 0.0))
                states[_state(max(shares.values()), near=rules.alert_at)] += 1
        self._gauges.budgets(used, states)


def used_of(account: Account, balance: Balance) -> dict[str, float]:
    """Return the used share of an account's limits, by unit; 1 for a limit of 0."""
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
