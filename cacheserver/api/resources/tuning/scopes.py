"""Scopes of a tenant: traffic, the bar in force, and the curve that it is set by."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import state_of
from cacheserver.calibration.scopes.reports import SCALES
from cacheserver.calibration.scopes.tuning import MOST_QUESTIONS
from cacheserver.core.errors import BadRequest
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.rules.bounds import SCOPE

_QUESTIONS: Final = 300  # some 200 kB

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


@router.get("/{tenant}/{scope}", summary="One scope")
async def scope(request: Request, tenant: str, scope: str) -> dict[str, Any]:
    """Show a scope as in the list. Its curve is in `tuning`."""
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    found = await tenant_of(state, tenant)
    checked = SCOPE.check("scope", scope)
    day = await state.parts.calibration.scope_reports.scope(found, checked)
    return {**day.report, **({"withheld": NO_CONTENT} if found.no_content else {})}


_TUNING = {
    "scale": "`similarity` or `probability`; else that of the bar in force.",
    "limit": f"Questions, 0 to {MOST_QUESTIONS}: those nearest to the bar in force.",
}


@router.get(
    "/{tenant}/{scope}/tuning",
    summary="What each bar of a scope would serve, and the questions near it",
    openapi_extra=lists.parameters(_TUNING),
)
async def tuning(request: Request, tenant: str, scope: str) -> dict[str, Any]:
    """Show a scope as in the list, and all that a slider for its bar needs, in one answer.

    `steps` are bars from the strictest to the loosest, each with what it would have made of the
    last day; `in_force` is the place of the one that holds. `questions` change sides where a bar
    passes their `score`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = lists.given(request, _TUNING)
    if (scale := given.get("scale")) not in (None, *SCALES):
        raise BadRequest("scale", f"must be one of {', '.join(SCALES)}")
    limit = given.get("limit", str(_QUESTIONS))
    if not (limit.isdecimal() and len(limit) < 4 and int(limit) <= MOST_QUESTIONS):
        raise BadRequest("limit", f"must be 0 to {MOST_QUESTIONS}")
    found = await tenant_of(state, tenant)
    checked = SCOPE.check("scope", scope)
    return await state.parts.calibration.scope_tuning.of(
        found, checked, scale=scale, limit=int(limit)
    )
