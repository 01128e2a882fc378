"""What was spent hour by hour: read once an hour, for forecasts and for what is usual."""

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
_REMEMBERED = 1_000  # tenants, a few hundred kB each where they are busy

TOKENS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")

Sums = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HourlySums:
    """The sums of a tenant's whole hours, by key and model, then by the hour's number."""

    hour: int  # up to this one, which is not in it
    cells: Mapping[tuple[str, str], Mapping[int, Sums]]
    tasks: Mapping[str, Mapping[int, Sums]]  # the same by task

    def by_hour(self, *, key_id: str | None = None, model: str | None = None) -> dict[int, Sums]:
        """All of the tenant, or of one key, or of one model."""
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
    """Reads the ledger's sums. Every method raises `StoreError`."""

    def __init__(self, sums: LedgerReports) -> None:
        self.sums = sums
        self._known: dict[str, HourlySums] = {}

    async def past(self, tenant: str, now: float) -> HourlySums:
        """The last four weeks, without this hour."""
        hour = int(now // _HOUR_S)
        known = self._known.pop(tenant, None)
        if known is None or known.hour != hour:
            known = HourlySums(
                hour,
                await self._read(tenant, Tile("h", hour - _PAST_H, hour)),
                await self._tasks(tenant, hour - _PAST_H, hour),
            )
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[tenant] = known
        return known

    async def this_hour(self, tenant: str, now: float) -> dict[str, Sums]:
        """The hour so far, by model."""
        hour = int(now // _HOUR_S)
        return await self.models(tenant, Tile("h", hour, hour + 1))

    async def last_hour(self, tenant: str, now: float) -> dict[str, Sums]:
        """The last 60 minutes, by model."""
        minute = int(now // 60)
        return await self.models(tenant, Tile("m", minute - 59, minute + 1))

    async def models(self, tenant: str, *tiles: Tile) -> dict[str, Sums]:
        """The sums over a range, by model."""
        return dict(await self.sums.read([tenant], tiles, lambda cell: cell.model))

    async def tasks_this_hour(self, tenant: str, now: float) -> dict[str, Sums]:
        """The hour so far, by task."""
        hour = int(now // _HOUR_S)
        found = await self._tasks(tenant, hour, hour + 1)
        return {task: hours[hour] for task, hours in found.items()}

    async def ahead(self, account: Account, balance: Balance, now: float) -> dict[str, Forecast]:
        """What an account will have come to at its period's end, in dollars and tokens."""
        hours = (await self.past(account.tenant, now)).by_hour(key_id=account.key_id)
        end = account.period.end
        nano = {hour: sums.get("cost", 0) + _spent(sums) for hour, sums in hours.items()}
        tokens = {hour: total(sums, TOKENS) for hour, sums in hours.items()}
        return {
            "usd": forecast(balance.spent.nano, nano, now, end),
            "tokens": forecast(balance.spent.tokens, tokens, now, end),
        }

    async def _tasks(self, tenant: str, first: int, end: int) -> dict[str, Mapping[int, Sums]]:
        """The hours from `first` on, before `end`, by task; those that had any."""
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


def total(sums: Sums, names: Sequence[str]) -> int:
    return sum(sums.get(name, 0) for name in names)


def merged(parts: Mapping[str, Sums]) -> dict[str, int]:
    """The sums of all parts together."""
    found: dict[str, int] = {}
    for sums in parts.values():
        for name, number in sums.items():
            found[name] = found.get(name, 0) + number
    return found


def _spent(sums: Sums) -> int:
    """What the cache paid for beside the answers: a budget pays for it too."""
    return sum(number for name, number in sums.items() if name.endswith("_spent"))
