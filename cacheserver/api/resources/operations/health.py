"""`/admin/v1/health`: the state of every part, and the canary through the real path."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.resources.operations import canary, checks
from cacheserver.api.state import state_of
from cacheserver.core.errors import BadRequest
from cacheserver.core.times import iso

router = APIRouter(prefix="/admin/v1/health", tags=["admin"])


@router.get("", summary="The state of every part, and what to do")
async def health(request: Request) -> dict[str, Any]:
    """Check store, disk, room, index, embedder, upstream, ledger and background tasks of the server
    that answers. Of several workers the worst is shown. Each is `ok`, `degraded` or `failed`, with
    what was `found` and what to `do`.
    `canary` says what a run of it asks, and the most that it costs.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    found = await checks.server_checks(state)
    return {
        "status": checks.worst(found),
        "at": iso(state.parts.clock()),
        "checks": found,
        "versions": await checks.versions(state.parts),
        "canary": canary.estimate(state.parts),
    }


@router.post("/canary", summary="Send a question through the real path")
async def run_canary(request: Request) -> dict[str, Any]:
    """Ask a question, ask it again, and ask it in other words; show each step with its time and
    reason, and remove what was stored. It is one call to Claude of the server's default model, two
    if the server's bar does not serve the third by similarity; its cost is in the ledger, of the
    tenant `~canary`. It takes no body. At most once in ten seconds; then 429.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    if state.gate.credentials == "caller":
        raise BadRequest(
            "canary", "needs the server's own key for Claude; here callers bring theirs"
        )
    found = await canary.run(state.parts)
    note_change(request, tenant=canary.TENANT, after={"status": found["status"]})
    return found
