"""`/admin/v1/stats`: counts and money of all tenants, or of one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.cache import shown_stats
from cacheserver.api.state import AppState, state_of

router = APIRouter(prefix="/admin/v1", tags=["admin"])


async def _admitted(request: Request) -> AppState:
    state = state_of(request)
    state.gate.admit_admin(request)
    return state


@router.get("/stats", summary="Counts and money of all tenants, or of one")
async def stats(request: Request, tenant: str | None = None) -> dict[str, Any]:
    state = await _admitted(request)
    if tenant is not None:
        await tenant_of(state, tenant)
    sums = await state.parts.decision_log.stats(tenant)
    sizes = state.parts.sizes
    taken = await sizes.read()
    return {
        **shown_stats(sums),
        "indexed": len(state.parts.entries.index),
        "index": state.parts.index_move.as_json(),
        "embedder": state.parts.reembedding.as_json(),
        "stored_bytes": taken["answers"],
        "store": {
            kind: {"bytes": size, "limit_bytes": sizes.limits[kind]} for kind, size in taken.items()
        },
    }
