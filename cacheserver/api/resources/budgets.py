"""Budgets: `/v1/budget` for callers, and by key for the admin."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.alerts.forecast import Forecast, no_forecast
from cacheserver.api.components import Components
from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import state_of
from cacheserver.budgets import rules as budget
from cacheserver.budgets.rules import Balance
from cacheserver.cache.budget_verdict import Account
from cacheserver.core.money import usd
from cacheserver.core.times import iso
from cacheserver.core.types import Tenant

router = APIRouter()


@router.get("/v1/budget", tags=["usage"], summary="What you have spent, and what is left")
async def own(request: Request) -> dict[str, Any]:
    """Show the budgets of the calling tenant and key, each with its forecast.

    Without a limit, `limit` and `left` are null; the other fields are present.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    return await _shown(state.parts, caller.tenant, [caller.key_id] if caller.key_id else [])


@router.get("/admin/v1/tenants/{name}/budget", tags=["admin"], summary="A tenant's budgets, by key")
async def of_tenant(request: Request, name: str) -> dict[str, Any]:
    state = state_of(request)
    state.gate.admit_admin(request)
    tenant = await tenant_of(state, name)
    keys = [key.id for key in await state.parts.tenants.list_keys() if key.tenant == tenant.name]
    return await _shown(state.parts, tenant, keys)


@router.get(
    "/admin/v1/budgets",
    tags=["admin"],
    summary="The budgets of all tenants, by name",
    openapi_extra=lists.described(lists.PAGE),
)
async def of_all(request: Request) -> dict[str, Any]:
    """A page of tenants, each with its daily and monthly budget: limit, spent, reserved, left and
    forecast, as `GET /v1/budget` has them; the keys' own are at
    `/admin/v1/tenants/{name}/budget`. Without a limit there is no forecast.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    limit, cursor = lists.page(lists.given(request, lists.PAGE))
    parts, now = state.parts, state.parts.clock()
    found, after = await parts.tenants.page(after=cursor or "", limit=limit)
    await parts.budgets.flush()
    await parts.ledger.flush()
    pairs = await asyncio.gather(*(_balances(parts, one.settings, now) for one in found))
    limited = [pair for accounts in pairs for pair in accounts if pair[0].limited]
    forecasts = iter(await parts.spend_history.ahead_of(limited, now))
    items = [
        {
            "tenant": one.name,
            "enabled": one.settings.budgets.enabled,
            "budgets": [
                _budget(account, balance, next(forecasts) if account.limited else _none(balance))
                for account, balance in accounts
            ],
        }
        for one, accounts in zip(found, pairs, strict=True)
    ]
    return {"items": items, "next": after}


async def _balances(parts: Components, tenant: Tenant, now: float) -> list[tuple[Account, Balance]]:
    accounts = budget.accounts(tenant.name, None, tenant.budgets, now)
    balances = await parts.budgets.store.balances(tenant.name, accounts, now)
    return list(zip(accounts, balances, strict=True))


def _none(balance: Balance) -> dict[str, Forecast]:
    spent = balance.spent
    return {"usd": no_forecast(spent.nano), "tokens": no_forecast(spent.tokens)}


async def _shown(parts: Components, tenant: Tenant, keys: Iterable[str]) -> dict[str, Any]:
    now, rules = parts.clock(), tenant.budgets
    await parts.budgets.flush()
    await parts.ledger.flush()
    accounts = budget.accounts(tenant.name, None, rules, now)
    for key_id in keys:
        accounts += [one for one in budget.accounts(tenant.name, key_id, rules, now) if one.key_id]
    balances = await parts.budgets.store.balances(tenant.name, accounts, now)
    found = []
    for account, balance in zip(accounts, balances, strict=True):
        ahead = await parts.spend_history.ahead(account, balance, now)
        found.append(_budget(account, balance, ahead))
    return {"tenant": tenant.name, "enabled": rules.enabled, "budgets": found}


def _budget(account: Account, balance: Balance, ahead: Mapping[str, Forecast]) -> dict[str, Any]:
    return {
        "key_id": account.key_id,
        "period": account.period.span,
        "starts_at": iso(account.period.start),
        "resets_at": iso(account.period.end),
        "at_limit": account.at_limit if account.limited else None,
        "usd": _money(account, balance, ahead["usd"]),
        "tokens": _tokens(account, balance, ahead["tokens"]),
    }


def _money(account: Account, balance: Balance, ahead: Forecast) -> dict[str, Any]:
    shown = _part(account.nano, balance.spent.nano, balance.reserved.nano, ahead)
    return {name: usd(value) if type(value) is int else value for name, value in shown.items()}


def _tokens(account: Account, balance: Balance, ahead: Forecast) -> dict[str, Any]:
    return _part(account.tokens, balance.spent.tokens, balance.reserved.tokens, ahead)


def _part(limit: int | None, spent: int, reserved: int, ahead: Forecast) -> dict[str, Any]:
    return {
        "limit": limit,
        "spent": spent,
        "reserved": reserved,
        "left": None if limit is None else max(0, limit - spent - reserved),
        "forecast": ahead.total,
        "forecast_low": ahead.low,
        "forecast_high": ahead.high,
        "forecast_method": ahead.method,
    }
