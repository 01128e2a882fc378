"""Admits misses within their budgets before Claude is asked, and books their bills afterwards.

Rule: a request that is answered from the cache never comes here. Settlements are written behind
the answers and tried until they are through: what was spent must not be forgotten.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from cacheserver.budgets import rules as budget
from cacheserver.budgets.estimate import RequestEstimate
from cacheserver.budgets.store import HOLD_S, BudgetStore, Held
from cacheserver.cache.budget_verdict import (
    NOTHING,
    Account,
    Admission,
    Amount,
    Full,
    Reservation,
    Verdict,
)
from cacheserver.cache.ports import Metrics, Pricer
from cacheserver.core import tiers
from cacheserver.core.errors import StoreError
from cacheserver.core.ledger_row import Row
from cacheserver.core.rules.budgets import ACTIONS
from cacheserver.core.single_flight import end
from cacheserver.core.types import Query, Tenant
from cacheserver.storage.deadline import Limit

_SITE = "budget"
_MOST = 10_000  # settlements that wait while the store is away, some 5 MB
_MOST_HELD = 100_000  # far beyond what one process has under way
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
# Bills that nothing was reserved for are summed for so long: each booked alone, they were nine of
# the store's commands of a miss.
_SUMMED_S = 1.0
_BOOKED_S = 0.2  # how long a reservation waits for its tenant's sums to be booked
_PERIOD_S = 900  # of bills in one sum: a day begins at a quarter of an hour in every time zone


class Tenants(Protocol):
    async def get(self, tenant: str) -> Tenant: ...


@dataclass(frozen=True, slots=True)
class _Bill:
    """A bill to be booked. `accounts` None: those of the tenant's rules at `at`."""

    tenant: str
    key_id: str | None
    at: float
    accounts: tuple[Account, ...] | None
    spent: Amount


class Budgets:
    """Reserves the price of calls and books their bills."""

    def __init__(
        self,
        store: BudgetStore,
        *,
        tenants: Tenants,
        pricer: Pricer,
        metrics: Metrics,
        clock: Callable[[], float],
        default_model: str,
    ) -> None:
        self.store = store
        self._tenants = tenants
        self._estimate = RequestEstimate(pricer, default_model)
        self._metrics = metrics
        self._clock = clock
        self._held: dict[str, Reservation] = {}  # by the request's id, until its row comes
        self._waiting: OrderedDict[str, _Bill] = OrderedDict()
        self._sums: dict[tuple[str, str | None, int], str] = {}  # bills that still grow, by id
        self._timer: asyncio.TimerHandle | None = None  # for these
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()  # set after each try
        self._failures = 0
        self._closed = False

    async def admit(self, query: Query, id: str, now: float) -> Admission:
        """Reserve the price of a call to Claude, or return why it may not be made.

        `id` is the request's: its ledger row frees the reservation. Raises nothing.
        """
        rules = query.tenant.budgets
        if not budget.wanted(rules, query.key_id):
            return None
        name = query.tenant.name
        accounts = tuple(budget.accounts(name, query.key_id, rules, now))
        amounts = self._estimate.of(query, now)
        try:
            held = await self._reserve(name, id, accounts, amounts, now)
        except StoreError:
            self._give_back(name, id, now)  # it may have been made all the same
            self._metrics.swallowed(_SITE)
            if rules.store_away == "open":
                return None
            return Verdict("refuse", "what was spent of the budget is not known; try again shortly")
        except asyncio.CancelledError:
            self._give_back(name, id, now)
            raise
        if not held.reserved:
            return _refused(budget.strictest(held.full(accounts)))
        made = _reserved(query, id, accounts, held, amounts)
        self._held[id] = made
        if len(self._held) > _MOST_HELD:
            del self._held[next(iter(self._held))]  # its lease frees it
        return made

    async def hold(self, query: Query, id: str, now: float, *, token: str) -> Admission:
        """Reserve the price of a call in a batch, half of that of a live one.

        The reservation is not tied to this process: the scripts of jobs move it to the ask and
        free it when that ends, on whichever server. A repeated `id` gets the same result. `token`
        is that of the worker of jobs. Raises `StoreError`.
        """
        rules = query.tenant.budgets
        if not budget.wanted(rules, query.key_id):
            return None
        name = query.tenant.name
        accounts = tuple(budget.accounts(name, query.key_id, rules, now))
        amounts = self._estimate.of(query, now, tier="batch")
        held = await self._reserve(name, id, accounts, amounts, now, lease_s=HOLD_S, token=token)
        if not held.reserved:
            return _refused(budget.hardest(held.full(accounts)))
        return _reserved(query, id, accounts, held, amounts)

    async def spent_out(self, tenant: Tenant, key_id: str | None, now: float) -> Verdict | None:
        """Return the budget that refuses every new job because it is spent, not only held.

        None: jobs are accepted. Raises `StoreError`.
        """
        full = await self._hardest(tenant, key_id, now)
        if full is None or full.held or not ACTIONS[full.account.at_limit].refuses_jobs:
            return None
        return _refused(full)

    async def has_room(self, tenant: Tenant, key_id: str | None, now: float) -> bool:
        """Return whether no budget would refuse a call now. Raises `StoreError`."""
        full = await self._hardest(tenant, key_id, now)
        return full is None or ACTIONS[full.account.at_limit].refusal is None

    async def _hardest(self, tenant: Tenant, key_id: str | None, now: float) -> Full | None:
        if not budget.wanted(tenant.budgets, key_id):
            return None
        await self._book_sums(tenant.name)
        accounts = budget.accounts(tenant.name, key_id, tenant.budgets, now)
        balances = await self.store.balances(tenant.name, accounts, now)
        return budget.hardest(
            [one for pair in zip(accounts, balances, strict=True) if (one := budget.full(*pair))]
        )

    def settle(self, row: Row) -> None:
        """Book what a request spent and free its reservation. Never blocks."""
        held = self._held.pop(row.id, None)
        if held is None and row.call is None and not row.spent and row.unknown is None:
            return  # a hit, and whatever else cost nothing
        spent = budget.of_row(row, NOTHING if held is None else held.amount)
        accounts = None if held is None else held.accounts
        bill = _Bill(row.tenant, row.key_id, row.at, accounts, spent)
        # Rows of jobs may be entered again after a crash, so each is booked under its own id.
        if held is None and row.call is not None and row.unknown is None and not row.batched:
            self._sum(row.id, bill)
        else:
            self._add(row.id, bill)

    async def flush(self) -> None:
        """Return once all settlements so far are written, or the store has failed once more."""
        failures = self._failures
        while self._waiting and self._failures == failures:
            self._start()
            self._wake.set()
            self._tried.clear()
            await self._tried.wait()

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Write what is left, for `patience_s` at most; the rest is counted and given up."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting:
            self._start()
        if self._task is not None:
            self._wake.set()
            await asyncio.wait({self._task}, timeout=patience_s)
            await end(self._task)
            self._task = None
        if self._waiting:
            self._metrics.dropped(_SITE, len(self._waiting))
            self._waiting.clear()
            self._sums.clear()
        self._tried.set()

    async def _reserve(
        self,
        tenant: str,
        id: str,
        accounts: tuple[Account, ...],
        amounts: tuple[Amount, Amount],
        now: float,
        *,
        lease_s: float | None = None,
        token: str = "",
    ) -> Held:
        reserve = partial(
            self.store.reserve,
            *(tenant, id, accounts),
            amount=amounts[0],
            cheapest=amounts[1],
            now=now,
            lease_s=lease_s,
            token=token,
        )
        await self._book_sums(tenant)
        held = await reserve()
        if held.freed:
            self._metrics.dropped("budget-lease", held.freed)
        if not held.reserved and self._waiting and all(one.held for one in held.full(accounts)):
            # It is not spent, only held, perhaps by bills that this process has not yet written.
            await self.flush()
            held = await reserve()
        return held

    def _give_back(self, tenant: str, id: str, now: float) -> None:
        self._add(id, _Bill(tenant, None, now, (), Amount()))

    def _add(self, id: str, bill: _Bill) -> None:
        if self._closed:
            self._metrics.dropped(_SITE)
            return
        self._waiting[id] = bill
        if len(self._waiting) > _MOST:
            _, gone = self._waiting.popitem(last=False)
            self._sums.pop(_sum_key(gone), None)
            self._metrics.dropped(_SITE)
        self._start()

    def _sum(self, id: str, bill: _Bill) -> None:
        """Add a bill to the sum of its quarter of an hour, which is booked shortly after."""
        key = _sum_key(bill)
        if (open_id := self._sums.get(key)) is not None:
            before = self._waiting[open_id]
            self._waiting[open_id] = replace(before, spent=before.spent + bill.spent)
        elif self._closed or len(self._waiting) >= _MOST:
            self._add(id, bill)
        else:
            self._sums[key], self._waiting[id] = id, bill
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_SUMMED_S, self._end_sums)

    def _end_sums(self) -> None:
        self._timer = None
        self._start()

    async def _book_sums(self, tenant: str) -> None:
        """Book what is summed of a tenant, before its balances are looked at."""
        if any(key[0] == tenant for key in self._sums):
            with suppress(TimeoutError):
                async with Limit(_BOOKED_S):
                    await self.flush()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="budget:settle")

    async def _write(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._waiting:
            id, bill = next(iter(self._waiting.items()))
            if self._sums.get(_sum_key(bill)) == id:
                del self._sums[_sum_key(bill)]  # on its way it grows no more
            try:
                accounts = bill.accounts
                if accounts is None:
                    rules = (await self._tenants.get(bill.tenant)).budgets
                    accounts = tuple(budget.accounts(bill.tenant, bill.key_id, rules, bill.at))
                await self.store.settle(bill.tenant, id, accounts, bill.spent, self._clock())
            except StoreError:
                self._failures += 1
                self._tried.set()
                self._metrics.swallowed(_SITE)
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            if self._waiting.get(id) is bill:
                del self._waiting[id]
            pause_s = _FIRST_PAUSE_S
            self._tried.set()

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def _sum_key(bill: _Bill) -> tuple[str, str | None, int]:
    return bill.tenant, bill.key_id, int(bill.at // _PERIOD_S)


def _refused(full: Full | None) -> Verdict:
    assert full is not None  # else it would have been reserved
    return Verdict(full.account.at_limit, budget.describe(full), full)


def _reserved(
    query: Query,
    id: str,
    accounts: tuple[Account, ...],
    held: Held,
    amounts: tuple[Amount, Amount],
) -> Reservation:
    amount, cheapest = amounts
    model = tiers.model_of("low", query.tenant.routing)
    # An old model may be cheaper than any tier; one without a price is taken for dearer.
    gains = query.model != model and not 0 < amount.nano <= cheapest.nano
    reserved_amount = cheapest if held.cheapest else amount
    return Reservation(id, accounts, reserved_amount, cheapest=held.cheapest and gains)
