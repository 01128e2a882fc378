"""Scopes of a tenant: traffic, the bar in force, and the curve that it is set by."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import state_of
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.rules.bounds import SCOPE

router = APIRouter(prefix="/admin/v1/scopes", tags=["admin"])

_PARAMETERS = {"tenant": "Whose scopes; must be given.", **lists.PAGE}


@router.get(
    "",
    summary="A tenant's scopes, those with the most requests first",
    openapi_extra=lists.described(_PARAMETERS),
)
async def scopes(request: Request) -> dict[str, Any]:
    """List the scopes that had requests in the last day, or have labels or a bar of their own.

    Each has the beginning of its system prompt, its model, traffic of the day, the bar in force
    with its level and basis, and what labels say of its hits.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = lists.given(request, _PARAMETERS)
    if "tenant" not in given:
        raise BadRequest("tenant", "is missing")
    limit, cursor = lists.page(given)
    tenant = await tenant_of(state, given["tenant"])
    reports = state.parts.calibration.scope_reports
    items, more = await reports.page(tenant, limit=limit, cursor=cursor)
    withheld = {"withheld": NO_CONTENT} if tenant.no_content else {}
    return {"items": items, "next": more, **withheld}


@router.get("/{tenant}/{scope}", summary="One scope, with its curves")
async def scope(request: Request, tenant: str, scope: str) -> dict[str, Any]:
    """Show a scope as in the list, and `curves`: the share of wrong hits, as labels estimate it,
    against the hit rate of the day, by the bar, for `probability` and `similarity`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    found = await tenant_of(state, tenant)
    checked = SCOPE.check("scope", scope)
    report = await state.parts.calibration.scope_reports.one(found, checked)
    return {**report, **({"withheld": NO_CONTENT} if found.no_content else {})}
