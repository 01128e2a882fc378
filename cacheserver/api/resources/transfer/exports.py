"""`/admin/v1/exports`: what a tenant has, in pages, for an import elsewhere."""

from __future__ import annotations

import asyncio

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import state_of
from cacheserver.core.errors import Withheld
from cacheserver.transfer.exporter import Exporter

router = APIRouter(prefix="/admin/v1/exports", tags=["admin"])

_CURSOR = {"cursor": "The `next` of the page before."}


@router.get(
    "/{tenant}", summary="Labels and entries of a tenant", openapi_extra=lists.described(_CURSOR)
)
async def export(request: Request, tenant: str) -> Response:
    """Export labels, scope by scope, then entries that have not expired, the newest first.

    Each item has its `kind`, and all that `/admin/v1/imports` needs to store it on another server;
    no key, no setting, no vector. What is stored throughout is exported; what comes or goes
    meanwhile may be left out.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = lists.given(request, _CURSOR)
    found = await tenant_of(state, tenant)
    if found.no_content:
        raise Withheld(f"tenant {found.name} keeps no content: there is nothing to export")
    parts = state.parts
    exporter = Exporter(parts.entries.entries.search, parts.labels)
    page = await exporter.page(found.name, given.get("cursor"), parts.clock())
    body = await asyncio.to_thread(orjson.dumps, {"items": page.items, "next": page.next})
    return Response(body, media_type="application/json")
