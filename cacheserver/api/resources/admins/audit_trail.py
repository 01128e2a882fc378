"""The audit trail of what admins have changed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.state import state_of
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.tenants.audit_trail import AuditFilter

router = APIRouter(prefix="/admin/v1", tags=["admin"])

_MOST = 200  # changes on a page
_USUAL = 50
_FILTERS = ("who", "tenant", "route", "since", "until")
_PARAMETERS = frozenset({*_FILTERS, "limit", "cursor"})
_QUERY = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in (
            ("who", {"type": "string", "description": "The name of an admin key."}),
            ("tenant", {"type": "string"}),
            ("route", {"type": "string", "example": "/admin/v1/tenants/{name}/bars"}),
            ("since", {"type": "number", "description": "Unix seconds, included."}),
            ("until", {"type": "number", "description": "Unix seconds, not included."}),
            ("limit", {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _USUAL}),
            ("cursor", {"type": "string", "description": "The `next` of the page before."}),
        )
    ]
}


@router.get("/audit-trail", summary="What admins have changed, newest first", openapi_extra=_QUERY)
async def audit_trail(request: Request) -> dict[str, Any]:
    """List the last 10,000 changes by admins: who, when, by which route, of which tenant, and of
    settings the values before and after. Questions, answers and secrets are not in it. Requests
    that were refused and dry runs changed nothing, and are not in it either.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = dict(request.query_params)
    if unknown := given.keys() - _PARAMETERS:
        raise Unknown(min(unknown)[:64], "parameter", min(unknown), _PARAMETERS)
    wanted = AuditFilter(
        who=given.get("who"),
        tenant=given.get("tenant"),
        route=given.get("route"),
        since=_time(given, "since"),
        until=_time(given, "until"),
    )
    text = given.get("limit", str(_USUAL))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    if not 1 <= limit <= _MOST:
        raise BadRequest("limit", f"must be 1 to {_MOST}")
    items, cursor = await state.admins.trail.page(wanted, limit=limit, cursor=given.get("cursor"))
    return {"items": items, "next": cursor}


def _time(given: dict[str, str], name: str) -> float | None:
    """Read a time. Raises `BadRequest`; not a number is no time either."""
    if name not in given:
        return None
    try:
        at = float(given[name])
    except ValueError:
        at = -1.0
    if not 0 <= at < 1e12:
        raise BadRequest(name, "must be Unix seconds")
    return at
