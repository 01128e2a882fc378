"""Alerts and a test of their delivery, for the admin."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.components import Components
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import state_of
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Tenant

router = APIRouter()

_MOST_SHOWN = 1_000


@router.get("/admin/v1/alerts", tags=["admin"], summary="The last alerts, the newest first")
async def recent(request: Request, tenant: str | None = None, limit: int = 100) -> dict[str, Any]:
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= limit <= _MOST_SHOWN:
        raise BadRequest("limit", f"must be 1 to {_MOST_SHOWN}")
    if tenant is not None:
        await tenant_of(state, tenant)
    found = await state.parts.alerts.delivery.store.recent(_MOST_SHOWN if tenant else limit)
    wanted = [alert for alert in found if tenant in (None, alert["tenant"])]
    return {"alerts": wanted[:limit]}


@router.post(
    "/admin/v1/tenants/{name}/alerts/test",
    tags=["admin"],
    summary="Send a test alert everywhere now",
)
async def test(request: Request, name: str) -> dict[str, Any]:
    """Test each alert channel. The reply has `ok` or the error by channel; there is no retry."""
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    tenant = await tenant_of(state, name)
    outcome = await state.parts.alerts.delivery.test(tenant)
    return {"delivered": {channel: why or "ok" for channel, why in outcome.items()}}


async def refuse_closed_addresses(parts: Components, tenant: Tenant) -> None:
    """Raise `BadRequest` for an address of the tenant's that alerts may not be posted to."""
    rules = tenant.budgets.alerts
    for field, url in (("webhook", rules.webhook), ("slack", rules.slack)):
        if url is not None:
            where = f"budgets.alerts.{field}"
            await parts.webhooks.poster.check(where, url, tenant.batching)
