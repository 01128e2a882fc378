"""Spend by hour, read once an hour, for forecasts and usual values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cacheserver.alerts.forecast import Forecast, forecast
from cacheserver.budgets.rules import Balance
from cacheserver.cache.budget_verdict import Account
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.time_range import Tile

_HOUR_S = 3_600
_PAST_H = 28 * 24  # hours are kept for 35 days
_MAX_TENANTS = 1_000  # in memory, a few hundred kB for each busy one

TOKENS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")

Sums = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HourlySums:
    """Sums of a tenant's whole hours, by key and model, then by hour number."""

    hour: int  # the first hour not included
    cells: Mapping[tuple[str, str], Mapping[int, Sums]]
    tasks: Mapping[str, Mapping[int, Sums]]  # the same by task

    def by_hour(self, *, key_id: str | None = None, model: str | None = None) -> dict[int, Sums]:
        """Return the sums by hour of the tenant, of one key, or of one model."""
        found: dict[int, dict[str, int]] = {}
        for (key, name), hours in self.cells.items():
            if key_id not in (None, key) or model not in (None, name):
                continue
            for hour, sums in hours.items():
                into = found.setdefault(hour, {})
                for field, number in sums.items():
                    into[field] = into.get(field, 0) + number
        return dict(found)


class SpendHistory:
    """Reader of the ledger's sums by hour. Every method raises `StoreError`."""

    def __init__(self, sums: LedgerReports) -> None:
        self.sums = sums
        self._past: dict[str, HourlySums] = {}
        # By tenant and the hour that they are before.
        self._hours: dict[tuple[str, int], Mapping[int, Sums]] = {}

    async def past(self, tenant: str, now: float) -> HourlySums:
        """Return the last four weeks without this hour."""
        hour = int(now // _HOUR_S)
        past = self._past.pop(tenant, None)
        if past is None or past.hour != hour:
            past = HourlySums(
                hour,
                await self._read(tenant, Tile("h", hour - _PAST_H, hour)),
                await self._tasks(tenant, hour - _PAST_H, hour),
            )
        if len(self._past) >= _MAX_TENANTS:
            del self._past[next(iter(self._past))]
        self._past[tenant] = past
        return past

    async def this_hour(self, tenant: str, now: float) -> dict[str, Sums]:
        """Return the sums of the hour so far, by model."""
        hour = int(now // _HOUR_S)
        return await self.models(tenant, Tile("h", hour, hour + 1))

    async def last_hour(self, tenant: str, now: float) -> dict[str, Sums]:
        """Return the sums of the last 60 minutes, by model."""
        minute = int(now // 60)
        return await self.models(tenant, Tile("m", minute - 59, minute + 1))

    async def models(self, tenant: str, *tiles: Tile) -> dict[str, Sums]:
        """Return the sums over a range, by model."""
        return dict(await self.sums.read([tenant], tiles, lambda cell: cell.model))

    async def tasks_this_hour(self, tenant: str, now: float) -> dict[str, Sums]:
        """Return the sums of the hour so far, by task."""
        hour = int(now // _HOUR_S)
        found = await self._tasks(tenant, hour, hour + 1)
        return {task: hours[hour] for task, hours in found.items()}

    async def ahead(self, account: Account, balance: Balance, now: float) -> dict[str, Forecast]:
        """Forecast an account's total at its period's end, as "usd" (nanodollars) and "tokens"."""
        hours = (await self.past(account.tenant, now)).by_hour(key_id=account.key_id)
        return _ahead(account, balance, hours, now)

    async def ahead_of(
        self, found: Sequence[tuple[Account, Balance]], now: float
    ) -> list[dict[str, Forecast]]:
        """Forecast accounts of many tenants, not of their keys, as `ahead` does, in one reading."""
        hour = int(now // _HOUR_S)
        tenants = {account.tenant for account, _ in found}
        hours = {one: self._hours[one, hour] for one in tenants if (one, hour) in self._hours}
        if left := sorted(tenants - hours.keys()):
            tile = Tile("h", hour - _PAST_H, hour)
            sums = await self.sums.over_time(left, [tile], lambda cell: cell.tenant, _HOUR_S)
            read: dict[str, dict[int, Sums]] = {tenant: {} for tenant in left}
            for (tenant, at), one in sums.items():
                read[tenant][at // _HOUR_S] = one
            self._keep(read, hour)
            hours |= read
        return [_ahead(account, balance, hours[account.tenant], now) for account, balance in found]

    def _keep(self, read: Mapping[str, Mapping[int, Sums]], hour: int) -> None:
        for tenant, hours in read.items():
            if len(self._hours) >= _MAX_TENANTS:
                del self._hours[next(iter(self._hours))]
            self._hours[tenant, hour] = hours

    async def _tasks(self, tenant: str, first: int, end: int) -> dict[str, Mapping[int, Sums]]:
        """Return the sums by task and hour in [first, end); tasks without any are left out."""
        days = first // 24, (end - 1) // 24 + 1
        found: dict[str, Mapping[int, Sums]] = {}
        for task, hours in (await self.sums.tasks_by_hour(tenant, *days)).items():
            if inside := {hour: sums for hour, sums in hours.items() if first <= hour < end}:
                found[task] = inside
        return found

    async def _read(self, tenant: str, tile: Tile) -> dict[tuple[str, str], dict[int, Sums]]:
        found = await self.sums.over_time(
            [tenant], [tile], lambda cell: (cell.key_id, cell.model), _HOUR_S
        )
        cells: dict[tuple[str, str], dict[int, Sums]] = {}
        for (key_and_model, at), sums in found.items():
            cells.setdefault(key_and_model, {})[at // _HOUR_S] = sums
        return cells


def _ahead(
    account: Account, balance: Balance, hours: Mapping[int, Sums], now: float
) -> dict[str, Forecast]:
    end = account.period.end
    nano = {hour: sums.get("cost", 0) + _spent(sums) for hour, sums in hours.items()}
    tokens = {hour: total(sums, TOKENS) for hour, sums in hours.items()}
    return {
        "usd": forecast(balance.spent.nano, nano, now, end),
        "tokens": forecast(balance.spent.tokens, tokens, now, end),
    }


def total(sums: Sums, names: Sequence[str]) -> int:
    return sum(sums.get(name, 0) for name in names)


def add_sums(parts: Mapping[str, Sums]) -> dict[str, int]:
    """Add up the sums of all parts."""
    found: dict[str, int] = {}
    for sums in parts.values():
        for name, number in sums.items():
            found[name] = found.get(name, 0) + number
    return found


def _spent(sums: Sums) -> int:
    """Return the spend of background calls, which counts against budgets too."""
    return sum(number for name, number in sums.items() if name.endswith("_spent"))
